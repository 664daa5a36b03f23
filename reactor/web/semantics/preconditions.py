"""Whether a request's conditions let it go on: RFC 9110, section 13.

The fields are looked at in the order of section 13.2.2, and each that has a tag makes the one with
a date go unseen. `tag` and `modified` are the validators of what would be sent or changed, as
semantics/validators.py makes them; `now` is the time of day, in seconds.

A date that cannot be read is no condition at all (sections 13.1.3 and 13.1.4). For lists of tags
nothing is said, and the harmless side is taken: what is malformed is fulfilled by nothing. So an
If-Match fails, and an If-None-Match lets a client have the file but not change it: whoever sends
one with a change is afraid of overwriting something.

Whatever the fields have, nothing is raised and nothing is looked up; when to ask, and of which
file, is the caller's business.
"""

from collections.abc import Callable
from typing import Final

from reactor.messages.headers import Headers
from reactor.web.semantics.validators import identity_tag, parse_date, parse_tags

_ABSENT: Final = "\0"  # in no field's value (section 5.5), unlike ""


def has_conditions(headers: Headers) -> bool:
    """Whether there is anything to check here, If-Range aside."""
    return headers.has_prefix("if-") and (
        "if-none-match" in headers
        or "if-modified-since" in headers
        or "if-match" in headers
        or "if-unmodified-since" in headers
    )


def check_read(headers: Headers, tag: str, modified: float, now: float) -> int | None:
    """What the conditions make of a GET or HEAD of a file that is there.

    304 (Not Modified), 412 (Precondition Failed), or None: answer as if there were none.
    """
    if headers.has_prefix("if-match:"):
        value = headers.get("if-match")
        if value != "*" and not _matches(value, tag):
            return 412
    elif headers.has_prefix("if-unmodified-since:") and _is_newer(
        modified, headers.get("if-unmodified-since"), now
    ):
        return 412
    value = headers.get("if-none-match", _ABSENT)
    if value != _ABSENT:
        # What a cache has is one tag, as we have sent it: most need no parsing.
        return 304 if value == tag or value == "*" or _matches_weakly(value, tag) else None
    since = parse_date(headers.get("if-modified-since"), now)
    return 304 if since is not None and modified <= since else None


def check_write(
    headers: Headers, tag: str | None, modified: float | None, now: float | None = None
) -> bool:
    """Whether a PUT, POST or DELETE may go on; if not, the answer is 412.

    `tag` and `modified` are None where there is no file. The tag of any content coding of the file
    counts as the file's: what a client wants to replace is what it has read, however it was sent.
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
    """Whether a Range is to be looked at: what If-Range says (section 13.1.5), or its absence.

    It asks for parts to be put together with others, so only what is the same byte by byte will
    do: a strong tag, or a date whose second was over when it was looked at (section 8.8.2.2).
    """
    value = headers.get("if-range", _ABSENT)
    if value == _ABSENT:
        return True
    if value == tag:
        return tag.startswith('"')
    return now - modified >= 1.0 and parse_date(value, now) == modified


def _is_newer(modified: float, value: str, now: float | None) -> bool:
    """Whether a file has changed since the date in a field; not if that is none."""
    since = parse_date(value, now)
    return since is not None and modified > since


def _matches(value: str, tag: str, read: Callable[[str], str] = str) -> bool:
    """Whether the tag is in the list, by the strong comparison (section 8.8.3.2).

    `read` is what is made of each member before it is compared.
    """
    listed = _listed(value, tag)
    return listed is not None and tag.startswith('"') and tag in map(read, listed)


def _matches_weakly(value: str, tag: str, read: Callable[[str], str] = str) -> bool | None:
    """The same by the weak comparison; None for a malformed list."""
    listed = _listed(value, tag)
    if listed is None:
        return None
    return tag.removeprefix("W/") in (read(one).removeprefix("W/") for one in listed)


def _listed(value: str, tag: str) -> list[str] | None:
    """Those of a list that may match, coded or not: a head has room for ten thousand tags."""
    listed = parse_tags(value)
    if listed is None:
        return None
    opaque = tag.removeprefix("W/")[:-1]
    return [one for one in listed if opaque in one]
