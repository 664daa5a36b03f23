"""The representations of one version of a file: the file as it is, and in content codings.

All fields that do not change from response to response are made here, once for each version of a
file, and kept with its entry in the open file cache. A representation is stored beside the file (a
precompressed sibling), made on demand (see compressed_cache.py), or the file itself.
"""

from collections.abc import Callable, Sequence
from typing import Final

from reactor.files.file import File
from reactor.messages.headers import Fields
from reactor.messages.response import Response
from reactor.protocol.dates import http_date
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.compression.encoders import IDENTITY, LEAST_BYTES, MADE, shrinks
from reactor.web.semantics.uploaded_files import policy_for
from reactor.web.semantics.validators import encoded_tag, entity_tag, last_modified
from reactor.web.static.open_file_cache import SIBLINGS, Found, OpenFile

VARY: Final = ("Vary", "Accept-Encoding")
_PREFERENCE: Final = tuple(SIBLINGS)  # the codings, the best one first


class Representation:
    """The file as it is, or in one coding."""

    __slots__ = ("coding", "ok", "stored", "tag", "unchanged", "whole")

    def __init__(
        self, coding: str, tag: str, stored: OpenFile | None, common: list[tuple[str, str]]
    ) -> None:
        """`common` are the fields of every response, 304 too (RFC 9110, section 15.4.5)."""
        self.coding = coding
        self.tag = tag
        self.stored = stored  # not None if it is stored; otherwise it must be made
        self.ok = FieldBlock([("ETag", tag), *common])
        self.unchanged = Response(304, b"", self.ok)
        self.whole: Response | None = None  # that of a small file, which all requests get


class Representations:
    """All representations of one version of a file."""

    __slots__ = (
        *("common", "encoded", "media_type", "modified", "offered", "plain", "possible", "source"),
        *("trusted", "young"),
    )

    def __init__(
        self, source: OpenFile, plain: Representation, media_type: str, modified: float
    ) -> None:
        self.common: Fields = ()  # fields of every response, errors included
        self.source = source
        self.trusted = True  # False: a client may have uploaded the file
        self.plain = plain
        self.media_type = media_type
        self.modified = modified
        self.encoded: dict[str, Representation] = {}
        self.offered: tuple[str, ...] = ()
        self.possible: tuple[str, ...] = ()  # `offered` and, for a small text, the other codings
        self.young = False  # whether tags are weak now and will be strong


class Representer:
    """Makes the representations of the files of one mount."""

    def __init__(
        self,
        media_type: Callable[[str], str],
        cache_control: Callable[[str], str],
        headers: Fields,
        small: int,
    ) -> None:
        """`media_type` is called with a file's name, `cache_control` with its path in the mount.

        `headers` are on every response. Files of at most `small` bytes are kept in memory, if the
        page cache has them.
        """
        self._media_type = media_type
        self._cache_control = cache_control
        self._headers = headers
        self._small = small

    def represent(self, segments: Sequence[str], found: Found, now: float) -> Representations:
        """Make all representations of a file that was examined at `now`, the time of day."""
        status = found.plain.status
        media_type = self._media_type(segments[-1])
        modified = last_modified(status, now)
        cache_control = self._cache_control("/".join(segments))
        common = [("Cache-Control", cache_control)] if cache_control else []
        own = self._headers if found.trusted else (*self._headers, *self._policy(media_type))
        common += own
        content = [
            ("Content-Type", media_type),
            ("X-Content-Type-Options", "nosniff"),
            ("Last-Modified", http_date(modified)),
        ]
        possible = offered = list(found.siblings)
        if "no-transform" not in cache_control.lower() and shrinks(media_type):
            possible = [*offered, *(coding for coding in MADE if coding not in offered)]
            if status.st_size >= LEAST_BYTES:
                offered = possible
        tag = entity_tag(status, now)
        plain = Representation(IDENTITY, tag, found.plain, [VARY, *common] if offered else common)
        plain.ok = FieldBlock([*content, ("Accept-Ranges", "bytes"), *plain.ok])
        if not tag.startswith("W/"):  # a young file may be written again, and look the same
            data = self._content(found.plain.file)
            plain.whole = None if data is None else Response(200, data, plain.ok)
        made = Representations(found.plain, plain, media_type, modified)
        made.common, made.trusted = own, found.trusted
        made.young = tag.startswith("W/")
        for coding in possible:
            stored = found.siblings.get(coding)
            tag_of_coding = _encoded_tag(tag, coding, stored, now)
            made.young = made.young or tag_of_coding.startswith("W/")
            one = Representation(coding, tag_of_coding, stored, [VARY, *common])
            one.ok = FieldBlock([*content, ("Content-Encoding", coding), *one.ok])
            made.encoded[coding] = one
        made.offered = tuple(sorted(offered, key=_PREFERENCE.index))
        made.possible = tuple(sorted(possible, key=_PREFERENCE.index))
        return made

    def _policy(self, media_type: str) -> Fields:
        kinds = (value for name, value in self._headers if name.lower() == "content-type")
        return policy_for((media_type, *kinds))

    def _content(self, file: File) -> bytes | None:
        """Return all of a small file that is in memory."""
        if file.size > self._small:
            return None
        data = bytearray(file.size)
        return bytes(data) if file.look(0, memoryview(data)) else None


def _encoded_tag(tag: str, coding: str, sibling: OpenFile | None, now: float) -> str:
    """Return the tag of a coding; that of a sibling includes the sibling's own.

    The same file may be compressed anew, with other bytes.
    """
    if sibling is None:
        return encoded_tag(tag, coding)
    own = entity_tag(sibling.status, now)
    both = encoded_tag(tag, f"{coding}-{own.removeprefix('W/')[1:-1]}")
    return both if both.startswith("W/") or not own.startswith("W/") else f"W/{both}"
