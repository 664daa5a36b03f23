"""Which content coding a client accepts: RFC 9110, section 12.5.3."""

import re
from functools import lru_cache

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip (or x-gzip) may be sent; a coding with `q=0` is refused.

    `*` stands for every coding that is not named. A member that is malformed is passed over.
    """
    qualities: dict[str, float] = {}
    for member in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip(" \t") for part in member.split(";"))
        quality = _quality(parameters)
        if coding and quality is not None:
            qualities["gzip" if coding == "x-gzip" else coding] = quality
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _quality(parameters: list[str]) -> float | None:
    """The weight (section 12.4.2); None where it is malformed."""
    if not parameters:
        return 1.0
    name, _, value = parameters[0].partition("=")
    if len(parameters) > 1 or name.strip(" \t") != "q" or not _QUALITY.fullmatch(value):
        return None
    return float(value)
