"""Paths of URLs as lists of segments, and references from one path to another.

A path is that of a request: decoded, with the escapes that protocol/paths.py keeps. Its segments
are decoded to the end; bytes that are not UTF-8 become surrogate escapes (PEP 383) where the caller
asks for names of files, and an error otherwise.

A proxy may add a prefix to our paths or remove one, so a Location that this server makes is a
relative reference (RFC 9110, section 10.2.2): the client resolves it against the URL that it has
asked for.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from reactor.errors import ProtocolError
from reactor.protocol.grammar import SEGMENT_SAFE
from reactor.protocol.paths import MALFORMED, write_bytes

_DOTS: Final = frozenset((".", ".."))


def segments(path: str) -> list[str]:
    """The decoded segments of a path, the first of them empty.

    Raises ProtocolError (400) for a path that cannot be decoded.
    """
    try:
        return _decoded(path, "strict")
    except UnicodeDecodeError:
        raise ProtocolError(400, "The path is not UTF-8.") from None


def name_segments(path: str) -> list[str]:
    """The same, with surrogate escapes in the place of bytes that are not UTF-8.

    Raises ProtocolError (400) for a "%" without two digits.
    """
    return _decoded(path, "surrogateescape")


def _decoded(path: str, errors: str) -> list[str]:
    found = path.split("/")
    if "%" not in path:
        return found
    if MALFORMED.search(path):
        raise ProtocolError(400, "A '%' in the path is not followed by two hexadecimal digits.")
    return [unquote_to_bytes(one).decode("utf-8", errors) if "%" in one else one for one in found]


def is_text(segment: str) -> bool:
    """Whether the segment is UTF-8: it has no surrogate escapes."""
    try:
        segment.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of(segments: Sequence[str]) -> str:
    """The path of these segments, in the form in which a request has it."""
    text = "/".join(one.replace("%", "%25").replace("/", "%2F") for one in segments)
    return text if is_text(text) else write_bytes(text)


def resolve(segments: Sequence[str]) -> list[str] | None:
    """The segments without dot segments and without empty ones; None where ".." leads above.

    Dot segments go first, as in a client that removes them (RFC 3986, section 5.2.4). So both get
    the same file. An empty segment at the end stays: it makes the path that of a directory.
    """
    found: list[str] = []
    for one in segments:
        if one == "..":
            if not found:
                return None
            found.pop()
        elif one != ".":
            found.append(one)
    names = [one for one in found if one]
    return [*names, ""] if not segments[-1] or segments[-1] in _DOTS else names


def relative_reference(path: str, target: Sequence[str], query: str = "") -> str:
    """The reference that leads from a request's path, as the client sent it, to other segments.

    Both begin with the empty segment. The reference leaves out their common beginning, and so any
    prefix before both. No part of the target can be taken for a scheme or for a host's name.
    """
    base = _base(path)
    shared = 0
    most = min(len(base), len(target) - 1)
    while shared < most and base[shared] == target[shared]:
        shared += 1
    rest = "/".join(quote_segment(one) for one in target[shared:])
    reference = "../" * (len(base) - shared) + rest
    # A colon in the first segment would end a scheme (RFC 3986, section 4.2).
    if not reference or reference[0] == "/" or ":" in reference.partition("/")[0]:
        reference = f"./{reference}"
    return f"{reference}?{query}" if query else reference


def quote_segment(segment: str) -> str:
    """The segment, percent-encoded, with the bytes that its surrogate escapes stand for."""
    return quote(segment, SEGMENT_SAFE, "utf-8", "surrogateescape")


def _base(path: str) -> list[str]:
    """The directory of a path, as a client sees it that resolves a reference (section 5.2.4)."""
    found: list[str] = []
    for one in name_segments(path)[:-1]:
        if one == "..":
            del found[max(1, len(found) - 1) :]
        elif one != ".":
            found.append(one)
    return found
