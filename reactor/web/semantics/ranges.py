"""Range requests: RFC 9110, section 14.

A Range becomes pairs of offset and length, each inside the file, none empty. Ranges that touch or
overlap are merged: no request has a byte sent twice, and the response is never much
longer than the file.

Several parts are sent as multipart/byteranges, with a small head before each. The body of such a
response is a list of bytes and regions of the file, so its length is known before any of it is
read.

All of this is arithmetic that knows neither file nor request; semantics/preconditions.py decides
whether the field applies.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.files.region import FileRegion

# ranges-specifier (section 14.1.1, with the white space of erratum 7306), of the unit "bytes". As
# in any list that is received (section 5.6.1.2), members may be empty, but not all of them.
_RANGES: Final = re.compile(
    r"[Bb][Yy][Tt][Ee][Ss]=[ \t,]*+"
    r"(?>(?:(?:[0-9]++-[0-9]*+|-[0-9]++)[ \t]*+(?:,[ \t,]*+|\Z))+)"
)
_RANGE: Final = re.compile(r"([0-9]*+)-([0-9]*+)")

# No file has a size of more digits, and int() accepts no more than 4,300.
_DIGITS: Final = 19
_HUGE: Final = 10**_DIGITS

Range: TypeAlias = tuple[int, int]  # offset and length


class Unsatisfiable(ProtocolError):
    """416: no range covers a byte of the file. The response carries the file's length."""

    def __init__(self, size: int) -> None:
        sentence = f"No requested range is within the {size} bytes of the file."
        super().__init__(416, sentence, [("Content-Range", f"bytes */{size}")])


def parse_ranges(value: str, size: int, most: int) -> list[Range] | None:
    """Return the (offset, length) of each range in a Range field, for a file of `size` bytes.

    Returns None if the field is to be ignored: another unit, malformed, or more than `most` ranges.
    The ranges keep the order of the field, unless some overlap or touch: then these are merged and
    all are sorted. Raises Unsatisfiable.
    """
    if not _RANGES.fullmatch(value):
        return None
    pairs = _RANGE.findall(value)
    if len(pairs) > most or any(_is_invalid(first, last) for first, last in pairs):
        return None
    found = [one for first, last in pairs if (one := _resolve(first, last, size))]
    if not found:
        if any(not first and _number(last) for first, last in pairs):
            # The last bytes of an empty file: satisfiable (section 14.1.2), but there is no
            # Content-Range for zero bytes. That part is the whole file, so the file is sent as a
            # whole.
            return None
        raise Unsatisfiable(size)
    return _merge(found)


def content_range(offset: int, length: int, size: int) -> str:
    """Return the Content-Range (section 14.4) of a part of `length` bytes, at least one."""
    return f"bytes {offset}-{offset + length - 1}/{size}"


def multipart(
    ranges: Sequence[Range],
    size: int,
    media_type: str,
    region: Callable[[int, int], FileRegion],
    boundary: str,
) -> tuple[str, list[bytes | FileRegion]]:
    """Return the Content-Type and the pieces of a multipart/byteranges body (section 14.6).

    `region` is called with each offset and length. `boundary` is a token of at most 70 characters
    (RFC 2046, section 5.1.1) that does not occur in the file: the caller makes it at random,
    because searching the file would be too slow. Without a `media_type` the parts have none.

    CRLF also precedes the first boundary (section 14.6 permits it): zsync, written for servers that
    send it, drops the first line of a body and would never find the first part.
    """
    pieces: list[bytes | FileRegion] = []
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    for offset, length in ranges:
        line = f"Content-Range: {content_range(offset, length, size)}\r\n"
        pieces.append(f"\r\n--{boundary}\r\n{kind}{line}\r\n".encode("latin-1"))
        pieces.append(region(offset, length))
    pieces.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    return f"multipart/byteranges; boundary={boundary}", pieces


def _is_invalid(first: str, last: str) -> bool:
    """Return whether it ends before it begins, compared as digits: the numbers may be huge."""
    if not first or not last:
        return False
    first, last = first.lstrip("0"), last.lstrip("0")
    return (len(last), last) < (len(first), first)


def _resolve(first: str, last: str, size: int) -> Range | None:
    """Return the part of the file that a range means; None if that is empty."""
    if first:
        start = _number(first)
        end = min(_number(last) + 1, size) if last else size
    else:
        start, end = max(0, size - _number(last)), size
    return (start, end - start) if start < end else None


def _merge(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for offset, length in sorted(ranges):
        if merged and offset <= (end := sum(merged[-1])):
            start = merged[-1][0]
            merged[-1] = start, max(end, offset + length) - start
        else:
            merged.append((offset, length))
    return ranges if len(merged) == len(ranges) else merged


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else _HUGE
