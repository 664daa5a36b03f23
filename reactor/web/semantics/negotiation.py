"""What a client would rather have: RFC 9110, section 12.

A field is a list of wishes, each with a weight from 0.000 to 1.000 (section 12.4.2), here in
thousandths. Weight 0 is a refusal. A wish that is malformed is passed over, as if it were not
there; of several for the same thing the heaviest counts, so that their order is of no account.

Both functions are pure. The fields of browsers are few and the same all the time, so that short
ones are remembered; long ones are parsed each time, in time that grows with their length only.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from reactor.errors import ProtocolError

_SHORT: Final = 256  # characters of a field's value that is remembered

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9a-z]++"  # of a value in lower case (section 5.6.2)
_QUALITY: Final = r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?"
# Repeated groups are atomic ones: see reactor/protocol/grammar.py.
_QUOTED: Final = r'"(?>(?:[\t !#-\[\]-~\x80-\xff]++|\\[\t\x20-\x7e\x80-\xff])*)"'
_CODING: Final = re.compile(rf"[ \t]*+({_TOKEN})(?:[ \t]*+;[ \t]*+q=({_QUALITY}))?[ \t]*+")
# A member of a list whose members may have quoted commas; one that is never closed goes to the end.
_MEMBER: Final = re.compile(r'(?>(?:[^",]++|"(?>(?:[^"\\]++|\\.?)*)(?:"|\Z))+)', re.DOTALL)
_PARAMETER: Final = re.compile(rf"({_TOKEN})=({_TOKEN}|{_QUOTED})")
_MEDIA_RANGE: Final = re.compile(
    rf"[ \t]*+({_TOKEN}/{_TOKEN})((?>(?:[ \t]*+;[ \t]*+(?:{_PARAMETER.pattern})?)*))[ \t]*+"
)

# The ranges that have a type, the most specific first.
_JSON: Final = ("application/json", "application/*", "*/*")
_HTML: Final = ("text/html", "text/*", "*/*")
_RANGES: Final = _JSON + _HTML


def choose_coding(accept_encoding: str, offered: tuple[str, ...]) -> str:
    """The content coding to send, one of `offered` or "identity": none (section 12.5.3).

    The client's weights decide; where they are equal, the order of `offered` does, and any coding
    is better than none. "" stands for a missing field, too: nothing is coded for a client that
    does not ask for it. Raises ProtocolError(406) if the client refuses all that there is.
    """
    if len(accept_encoding) <= _SHORT:
        return _choose_and_remember(accept_encoding, offered)
    return _choose(accept_encoding, offered)


def refuses_identity(accept_encoding: str) -> bool:
    """Whether the plain bytes are not wanted (`identity;q=0`, or `*;q=0` alone)."""
    try:
        choose_coding(accept_encoding, ())
    except ProtocolError:
        return True
    return False


def prefers_json(accept: str) -> bool:
    """Whether JSON is wanted rather than HTML (section 12.5.1).

    For each of the two the most specific range that has it counts. JSON has to be heavier, or of
    the same weight and named more exactly: `application/json, */*` is for it, `*/*` is not.
    """
    if len(accept) <= _SHORT:
        return _weigh_and_remember(accept)
    return _weigh(accept)


def _choose(accept_encoding: str, offered: tuple[str, ...]) -> str:
    if not accept_encoding:
        return "identity"
    qualities = _coding_qualities(accept_encoding, {*offered, "x-gzip", "identity", "*"})
    others = qualities.get("*", 0)
    best, heaviest = "identity", 0
    for coding in offered:
        quality = qualities.get(coding, others)
        if quality > heaviest:
            best, heaviest = coding, quality
    # What is not coded may be sent unless it is refused; "*" speaks of it, too. Where neither says
    # how much it is wanted, a coding that is named is wanted more.
    identity = qualities.get("identity", qualities.get("*"))
    if identity is not None and identity > heaviest:
        return "identity"
    if identity == 0 and heaviest == 0:
        raise ProtocolError(406, "There is no form of this that Accept-Encoding allows.")
    return best


def _coding_qualities(accept_encoding: str, known: set[str]) -> dict[str, int]:
    """The weights of those that are known; a head has room for ten thousand others."""
    qualities: dict[str, int] = {}
    for member in set(accept_encoding.lower().split(",")):
        if member.partition(";")[0].strip(" \t") in known and (match := _CODING.fullmatch(member)):
            coding = "gzip" if match[1] == "x-gzip" else match[1]  # section 8.4.1.3
            qualities[coding] = max(_thousandths(match[2]), qualities.get(coding, 0))
    return qualities


def _weigh(accept: str) -> bool:
    qualities: dict[str, int] = {}
    for media_range, quality in _media_ranges(accept.lower()):
        qualities[media_range] = max(quality, qualities.get(media_range, 0))
    json, html = _rank(qualities, _JSON), _rank(qualities, _HTML)
    return json[0] > 0 and json > html


def _rank(qualities: dict[str, int], ranges: tuple[str, ...]) -> tuple[int, int]:
    """The weight that the first of the ranges gives, and the more the earlier that is."""
    for place, media_range in enumerate(ranges):
        if media_range in qualities:
            return qualities[media_range], -place
    return 0, -len(ranges)


def _media_ranges(accept: str) -> Iterator[tuple[str, int]]:
    """Those that can be about what we have: its only parameter is `charset=utf-8`."""
    for member in set(_MEMBER.findall(accept)):
        if member.lstrip(" \t").startswith(_RANGES) and (match := _MEDIA_RANGE.fullmatch(member)):
            # No parameter of a media type is called q, so that is the weight, wherever it stands.
            parameters = _PARAMETER.findall(match[2])
            weights = [value for name, value in parameters if name == "q"]
            others = {name: value.strip('"') for name, value in parameters if name != "q"}
            if len(weights) <= 1 and others in ({}, {"charset": "utf-8"}):
                weight = weights[0] if weights else ""
                if not weight or re.fullmatch(_QUALITY, weight):
                    yield match[1], _thousandths(weight)


def _thousandths(quality: str | None) -> int:
    """`0.25` as 250; no weight is the heaviest."""
    if not quality:
        return 1000
    whole, _, fraction = quality.partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


_choose_and_remember: Final = lru_cache(maxsize=256)(_choose)
_weigh_and_remember: Final = lru_cache(maxsize=256)(_weigh)
