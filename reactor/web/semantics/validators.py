"""Makes a file's validators, entity tag and date; parses tags (RFC 9110, section 8.8).

A tag is made of what the file system changes with every write: both times, the size, and the inode
number, which is another one after a rename. The clock of a file system is coarse, though: a file
that is written twice within one tick looks the same. So the tag is weak while the file is younger
than a second, and has another text between its quotes: once the second has passed, the strong tag
matches no tag that was sent before, not even by the weak comparison.

Each content coding of a file is a representation with a tag of its own: the file's tag followed by
the name of the coding (section 8.8.3.3). The rest of a tag is hexadecimal, so two such tags never
coincide.

The parsers accept exactly the grammar and return None for everything else;
semantics/preconditions.py says what follows from None. Nothing here looks at a disk, or reads a
clock where the caller passes the time.
"""

import os
import re
from typing import Final

# Codings in which a file may be sent, made here or found beside it.
CODINGS: Final = ("gzip", "br", "zstd")

_YOUNG: Final = 1.0  # seconds; file systems have ticks of up to one, and HTTP has no finer dates
_NANOSECONDS: Final = 10**9
_CODING_SUFFIX: Final = re.compile(rf'-(?:{"|".join(CODINGS)})(?:-[^"]*+)?"$')

# Section 8.8.3; bytes that are not ASCII (obs-text) arrive as Latin-1. "W/" is case-sensitive.
_OPAQUE: Final = r'"[\x21\x23-\x7e\x80-\xff]*+"'
_TAG: Final = re.compile(rf"(?:W/)?{_OPAQUE}")
# `#entity-tag` as a recipient must accept it (section 5.6.1.2): members may be empty, even all.
_TAGS: Final = re.compile(rf"[ \t,]*+(?>(?:(?:W/)?{_OPAQUE}[ \t]*+(?:,[ \t,]*+|\Z))*)")


def entity_tag(status: os.stat_result, now: float) -> str:
    """Return the file's ETag: `"..."`, or `W/"..."` if it changed less than a second before `now`.

    `now` is in seconds since the epoch, by the clock that the file system uses.
    """
    # The change time counts: any write sets it and, unlike st_mtime, no program can set it.
    opaque = f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return f'W/"{opaque}-w"' if now - status.st_ctime < _YOUNG else f'"{opaque}"'


def encoded_tag(tag: str, coding: str) -> str:
    """Return the tag of the same state in a content coding: `"abc"` in gzip is `"abc-gzip"`."""
    return tag if coding == "identity" else f'{tag[:-1]}-{coding}"'


def identity_tag(tag: str) -> str:
    """Return the tag of the file of which this is an encoded one's tag.

    Everything from the coding's name on is removed.
    """
    # Without the quote at its end it is no tag, and the search for one would take long.
    return _CODING_SUFFIX.sub('"', tag, count=1) if tag[-1:] == '"' else tag


def last_modified(status: os.stat_result, now: float) -> int:
    """Return the file's Last-Modified: whole seconds since the epoch, between 0 and `now`.

    A date in the future would claim that the file will not change until then (section 8.8.2.1);
    dates before 1970 have no use, and some cannot be written down.
    """
    return max(0, min(status.st_mtime_ns // _NANOSECONDS, int(now)))


def parse_tags(value: str) -> list[str] | None:
    """Return the members of a list of entity tags, unchanged; None for a malformed list."""
    return _TAG.findall(value) if _TAGS.fullmatch(value) else None
