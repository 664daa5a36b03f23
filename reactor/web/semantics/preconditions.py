"""Evaluates the preconditions of a request: RFC 9110, section 13.

The fields are evaluated in the order of section 13.2.2: a field with tags takes precedence over the
corresponding field with a date. `tag` and `modified` are the validators of the file that would be
sent or changed, as semantics/validators.py makes them; `now` is the time of day, in seconds.

An unreadable date is ignored (sections 13.1.3 and 13.1.4). For malformed lists of tags the RFC has
no rule, so the harmless side is taken: a malformed list matches nothing. An If-Match then fails; an
If-None-Match lets a client read the file but not change it, because a client that sends one with a
change wants to avoid overwriting.

No function here raises or looks anything up; the caller decides when to ask, and about which file.
"""

from collections.abc import Callable
from typing import Final

from reactor.messages.headers import Headers
from reactor.protocol.dates import parse_date
from reactor.web.semantics.validators import identity_tag, parse_tags

PRECONDITION_FAILED: Final = (
    412,
    "The file does not meet the request's If-Match, If-None-Match or If-Unmodified-Since.",
)
_ABSENT: Final = "\0"  # occurs in no field's value (section 5.5), unlike ""


def has_conditions(headers: Headers) -> bool:
    """Return whether the request has any precondition other than If-Range."""
    return headers.has_prefix("if-") and (
        "if-none-match" in headers
        or "if-modified-since" in headers
        or "if-match" in headers
        or "if-unmodified-since" in headers
    )


def check_read(headers: Headers, tag: str, modified: float | None, now: float) -> int | None:
    """Evaluate the preconditions of a GET or HEAD of a file that exists.

    `modified` is None for content without a date, such as a listing; then fields with dates are
    ignored (sections 13.1.3 and 13.1.4).

    Returns 304 (Not Modified), 412 (Precondition Failed), or None: respond as if there were none.
    """
    if "if-match" in headers:
        value = headers.get("if-match")
        if value != "*" and not _matches(value, tag):
            return 412
    elif (
        modified is not None
        and "if-unmodified-since" in headers
        and _is_newer(modified, headers.get("if-unmodified-since"), now)
    ):
        return 412
    value = headers.get("if-none-match", _ABSENT)
    if value != _ABSENT:
        # A cache usually sends back the one tag that we sent: then no parsing is needed.
        return 304 if value == tag or value == "*" or _matches_weakly(value, tag) else None
    if modified is None:
        return None
    since = parse_date(headers.get("if-modified-since"), now)
    return 304 if since is not None and modified <= since else None


def check_write(headers: Headers, tag: str | None, modified: float | None, now: float) -> bool:
    """Return whether a PUT, POST or DELETE may go on; if not, the response is 412.

    `tag` and `modified` are None where there is no file. The tag of any content coding of the file
    counts as the file's: a client wants to replace what it has read, in whichever coding that came.
    """
    value = headers.get("if-match", _ABSENT)
    if value != _ABSENT:
        if tag is None or (value != "*" and not _matches(value, tag, identity_tag)):
            return False
    elif modified is not None and _is_newer(modified, headers.get("if-unmodified-since"), now):
        return False
    value = headers.get("if-none-match", _ABSENT)
    if value == _ABSENT or tag is None:  # without a file, every If-None-Match holds
        return True
    return value != "*" and _matches_weakly(value, tag, identity_tag) is False


def range_applies(headers: Headers, tag: str, modified: float, now: float) -> bool:
    """Return whether Range is to be honoured, by If-Range (section 13.1.5) or its absence.

    The client will combine the parts with others, so the validator must be exact to the byte: a
    strong tag, or a date whose second had passed when the file was examined (section 8.8.2.2).
    """
    value = headers.get("if-range", _ABSENT)
    if value == _ABSENT:
        return True
    if value == tag:
        return tag.startswith('"')
    return now - modified >= 1.0 and parse_date(value, now) == modified


def _is_newer(modified: float, value: str, now: float) -> bool:
    """Return whether the file changed after the date in a field; False for an unreadable date."""
    since = parse_date(value, now)
    return since is not None and modified > since


def _matches(value: str, tag: str, read: Callable[[str], str] = str) -> bool:
    """Return whether the tag is in the list, by the strong comparison (section 8.8.3.2).

    `read` converts each member before it is compared.
    """
    listed = _listed(value, tag)
    return listed is not None and tag.startswith('"') and tag in map(read, listed)


def _matches_weakly(value: str, tag: str, read: Callable[[str], str] = str) -> bool | None:
    """Return whether the tag is in the list, by the weak comparison; None for a malformed list."""
    listed = _listed(value, tag)
    if listed is None:
        return None
    return tag.removeprefix("W/") in (read(one).removeprefix("W/") for one in listed)


def _listed(value: str, tag: str) -> list[str] | None:
    """Return the members that may match, encoded or not: a head has room for ten thousand tags."""
    listed = parse_tags(value)
    if listed is None:
        return None
    opaque = tag.removeprefix("W/")[:-1]
    return [one for one in listed if opaque in one]
