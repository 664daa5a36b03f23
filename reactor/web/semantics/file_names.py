"""The names of files: which may be served or stored, and how a download is named."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

# The directory for files about a whole host (RFC 8615). It is read, and nothing is stored in it: a
# client that stores there may prove to others that the host is its own (RFC 8555, section 8.3).
WELL_KNOWN: Final = b".well-known"

_NAME: Final = re.compile(rb"[^./\0][^/\0]*+")


def name_of(segment: str) -> bytes:
    """Return the name in the file system; surrogate escapes stand for its bytes (PEP 383)."""
    return segment.encode("utf-8", "surrogateescape")


def is_name(name: bytes) -> bool:
    """Return whether the name may be served.

    It is not empty, does not begin with a dot, and contains neither a slash nor a NUL.
    """
    return _NAME.fullmatch(name) is not None


def is_served(segments: Sequence[str]) -> bool:
    """Return whether every segment may be served, or the first is WELL_KNOWN."""
    names = [name_of(segment) for segment in segments]
    return all(map(is_name, names[1:] if names[:1] == [WELL_KNOWN] else names))


def is_plain(segments: Sequence[str]) -> bool:
    """Return whether files may be stored by these names: they may be served, and all can read them.

    They are UTF-8 and contain no backslash, which separates names elsewhere.
    """
    try:
        return all(is_name(one.encode()) and "\\" not in one for one in segments)
    except UnicodeEncodeError:
        return False


def attachment(name: str) -> str:
    """The value of a Content-Disposition with which a browser saves a file as `name`.

    Slashes, backslashes and control characters become underscores. A name beyond ASCII is given
    twice, plain and encoded (RFC 6266, section 4).
    """
    name = re.sub(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", name)
    # A percent sign might be taken for an encoding (appendix D).
    plain = re.sub(r'[^ -~]|["%]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
