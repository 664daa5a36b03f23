"""Parts of a file: RFC 9110, section 14.

What a Range asks for becomes pairs of an offset and a length, all of them inside the file, none of
them empty. Where two of them touch or overlap they are made one: whatever is asked, no byte is sent
twice, and the answer is never much longer than the file.

Several parts are sent as multipart/byteranges, with a small head before each. Such an answer is a
list of bytes and regions of the file, so that its length is known before any of it is read.

All of this is arithmetic: whether the field applies at all is said in semantics/preconditions.py,
and it knows neither file nor request.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.files.region import FileRegion

# ranges-specifier (section 14.1.1, with the white space of erratum 7306), of the unit that we have
# and as a list is to be taken (section 5.6.1.2): members may be empty, but not all of them.
_RANGES: Final = re.compile(
    r"[Bb][Yy][Tt][Ee][Ss]=[ \t,]*+"
    r"(?>(?:(?:[0-9]++-[0-9]*+|-[0-9]++)[ \t]*+(?:,[ \t,]*+|\Z))+)"
)
_RANGE: Final = re.compile(r"([0-9]*+)-([0-9]*+)")

# No file is as long as a number of more digits, and int() takes no more than 4,300.
_DIGITS: Final = 19
_HUGE: Final = 10**_DIGITS

Range: TypeAlias = tuple[int, int]  # offset and length


class Unsatisfiable(ProtocolError):
    """None of the ranges has a byte of the file: 416, with the file's length."""

    def __init__(self, size: int) -> None:
        sentence = f"None of these ranges is in the {size} bytes that there are."
        super().__init__(416, sentence, [("Content-Range", f"bytes */{size}")])


def parse_ranges(value: str, size: int, most: int) -> list[Range] | None:
    """The (offset, length) of each range in a Range field, for a file of `size` bytes.

    None if the field is to be ignored: another unit, malformed, or more than `most` ranges. They
    are in the order of the field, unless some overlap or touch: then these are merged and all are
    sorted. Raises Unsatisfiable.
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
            # Content-Range for no bytes. The file, which is that part, is sent as a whole.
            return None
        raise Unsatisfiable(size)
    return _merge(found)


def content_range(offset: int, length: int, size: int) -> str:
    """The Content-Range (section 14.4) of a part of `length` bytes, at least one."""
    return f"bytes {offset}-{offset + length - 1}/{size}"


def multipart(
    ranges: Sequence[Range],
    size: int,
    media_type: str,
    region: Callable[[int, int], FileRegion],
    boundary: str,
) -> tuple[str, list[bytes | FileRegion]]:
    """Content-Type and pieces of a multipart/byteranges body (section 14.6).

    `region` is called with each offset and length. `boundary` is a token of at most 70 characters
    (RFC 2046, section 5.1.1) that is not in the file: the caller makes it of chance, since nobody
    wants to look. Without a `media_type` the parts have none.
    """
    pieces: list[bytes | FileRegion] = []
    kind = f"Content-Type: {media_type}\r\n" if media_type else ""
    before = "--"
    for offset, length in ranges:
        line = f"Content-Range: {content_range(offset, length, size)}\r\n"
        pieces.append(f"{before}{boundary}\r\n{kind}{line}\r\n".encode("latin-1"))
        pieces.append(region(offset, length))
        before = "\r\n--"
    pieces.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    return f"multipart/byteranges; boundary={boundary}", pieces


def _is_invalid(first: str, last: str) -> bool:
    """Whether it ends before it begins, compared digit by digit: they may be any number."""
    if not first or not last:
        return False
    first, last = first.lstrip("0"), last.lstrip("0")
    return (len(last), last) < (len(first), first)


def _resolve(first: str, last: str, size: int) -> Range | None:
    """The part of the file that it means; None if that is empty."""
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
