"""Content negotiation: which representation a client prefers (RFC 9110, section 12).

A field is a list of preferences, each with a weight from 0.000 to 1.000 (section 12.4.2), here in
thousandths. Weight 0 is a refusal. A malformed preference is ignored as if it were absent; of
several for the same thing the heaviest counts, so that their order does not matter.

The functions are pure. Browsers send few different values, always the same ones, so results for
short values are cached; long values are parsed each time, in time linear in their length.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Final

from reactor.errors import ProtocolError
from reactor.protocol.grammar import QUOTED_TEXT, TOKEN_TEXT, list_members

_SHORT: Final = 256  # characters; results for values up to this length are cached

_TOKEN: Final = TOKEN_TEXT + "++"  # in a value in lower case
_QUALITY: Final = r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?"
_CODING: Final = re.compile(rf"[ \t]*+({_TOKEN})(?:[ \t]*+;[ \t]*+q=({_QUALITY}))?[ \t]*+")
_PARAMETER: Final = re.compile(rf"({_TOKEN})=({_TOKEN}|{QUOTED_TEXT})")
_MEDIA_RANGE: Final = re.compile(
    rf"[ \t]*+({_TOKEN}/{_TOKEN})((?>(?:[ \t]*+;[ \t]*+(?:{_PARAMETER.pattern})?)*))[ \t]*+"
)

# The media ranges that match a type, the most specific first.
_JSON: Final = ("application/json", "application/*", "*/*")
_HTML: Final = ("text/html", "text/*", "*/*")
_TEXT: Final = ("text/plain", "text/*", "*/*")
_PROBLEM: Final = ("application/problem+json", "application/*", "*/*")
_ANYTHING: Final = -2  # the rank of "*/*"
_RANGES: Final = (*_JSON, *_HTML, _TEXT[0], _PROBLEM[0])


class ErrorForm(Enum):
    """The forms of an error response."""

    TEXT = "text/plain"
    PAGE = "text/html"
    PROBLEM = "application/problem+json"


def choose_coding(accept_encoding: str, offered: tuple[str, ...]) -> str:
    """Return the content coding to send: one of `offered`, or "identity" for none (section 12.5.3).

    The client's weights decide; at equal weights the order of `offered` does, and any coding beats
    identity. "" also stands for a missing field: a client that does not ask for codings gets
    identity. Raises ProtocolError(406) if the client refuses every available coding and identity.
    """
    if len(accept_encoding) <= _SHORT:
        return _choose_and_remember(accept_encoding, offered)
    return _choose(accept_encoding, offered)


def refuses_identity(accept_encoding: str) -> bool:
    """Return whether the client refuses the plain bytes (`identity;q=0`, or `*;q=0` alone)."""
    try:
        choose_coding(accept_encoding, ())
    except ProtocolError:
        return True
    return False


def prefers_json(accept: str) -> bool:
    """Return whether the client prefers JSON to HTML (section 12.5.1).

    For each of the two the most specific matching range counts. JSON must weigh more, or weigh the
    same and be named more exactly: `application/json, */*` prefers JSON, `*/*` does not.
    """
    if len(accept) <= _SHORT:
        return _weigh_and_remember(accept)
    return _weigh(accept)


def prefers_html(accept: str) -> bool:
    """Return whether the client expects a page, as a browser that sends a form does."""
    return "text/html" in accept.lower() and not prefers_json(accept)


def error_form(accept: str) -> ErrorForm:
    """Return the form of an error response that the client prefers (section 12.5.1).

    JSON and problem details count as one. They must outrank HTML, as with `prefers_json`, and weigh
    no less than plain text; a client that names problem details prefers them to HTML of the same
    weight. HTML must outrank plain text: `text/html, */*;q=0.8` gets a page, `*/*` a sentence.
    """
    return _choose_form_and_remember(accept) if len(accept) <= _SHORT else _choose_form(accept)


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
    # Identity is acceptable unless it is refused; "*" covers it, too. Without a weight of its own
    # it ranks below any coding that the client names.
    identity = qualities.get("identity", qualities.get("*"))
    if identity is not None and identity > heaviest:
        return "identity"
    if identity == 0 and heaviest == 0:
        raise ProtocolError(406, "Accept-Encoding refuses every content coding that is available.")
    return best


def _coding_qualities(accept_encoding: str, known: set[str]) -> dict[str, int]:
    """Return the weights of the known codings; a head has room for ten thousand others."""
    qualities: dict[str, int] = {}
    for member in set(accept_encoding.lower().split(",")):
        if member.partition(";")[0].strip(" \t") in known and (match := _CODING.fullmatch(member)):
            coding = "gzip" if match[1] == "x-gzip" else match[1]  # section 8.4.1.3
            qualities[coding] = max(_thousandths(match[2]), qualities.get(coding, 0))
    return qualities


def _weigh(accept: str) -> bool:
    qualities = _media_qualities(accept)
    json, html = _rank(qualities, _JSON), _rank(qualities, _HTML)
    return json[0] > 0 and json > html


def _choose_form(accept: str) -> ErrorForm:
    qualities = _media_qualities(accept)
    html, plain = _rank(qualities, _HTML), _rank(qualities, _TEXT)
    problem = _rank(qualities, _PROBLEM)
    json = max(problem, _rank(qualities, _JSON))
    named = qualities.get(_PROBLEM[0], 0) > 0 and problem >= html
    if (named or json > html) and json >= plain and json[1] > _ANYTHING:
        return ErrorForm.PROBLEM
    return ErrorForm.PAGE if html[0] > 0 and html > plain else ErrorForm.TEXT


def _media_qualities(accept: str) -> dict[str, int]:
    """Return the weights of the ranges that can match our types."""
    qualities: dict[str, int] = {}
    for media_range, quality in _media_ranges(accept.lower()):
        qualities[media_range] = max(quality, qualities.get(media_range, 0))
    return qualities


def _rank(qualities: dict[str, int], ranges: tuple[str, ...]) -> tuple[int, int]:
    """Return the weight of the first range that matches, and minus its place in `ranges`."""
    for place, media_range in enumerate(ranges):
        if media_range in qualities:
            return qualities[media_range], -place
    return 0, -len(ranges)


def _media_ranges(accept: str) -> Iterator[tuple[str, int]]:
    """Yield the ranges that can match our types, whose only parameter is `charset=utf-8`."""
    for member in set(list_members(accept)):
        if member.startswith(_RANGES) and (match := _MEDIA_RANGE.fullmatch(member)):
            # No parameter of a media type is called q, so q is the weight, wherever it stands.
            parameters = _PARAMETER.findall(match[2])
            weights = [value for name, value in parameters if name == "q"]
            others = {name: value.strip('"') for name, value in parameters if name != "q"}
            if len(weights) <= 1 and others in ({}, {"charset": "utf-8"}):
                weight = weights[0] if weights else ""
                if not weight or re.fullmatch(_QUALITY, weight):
                    yield match[1], _thousandths(weight)


def _thousandths(quality: str | None) -> int:
    """Return `0.25` as 250; a missing weight as 1000."""
    if not quality:
        return 1000
    whole, _, fraction = quality.partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


_choose_and_remember: Final = lru_cache(maxsize=256)(_choose)
_weigh_and_remember: Final = lru_cache(maxsize=256)(_weigh)
_choose_form_and_remember: Final = lru_cache(maxsize=256)(_choose_form)
