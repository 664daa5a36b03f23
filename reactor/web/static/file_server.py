"""What is below a directory, to be read: GET and HEAD.

A file that is open already (see static/open_file_cache.py) is answered at once, in a plain
function: that is the hot path, and it waits for nothing. Otherwise the path is walked on the pool.
Either way `_answer` chooses a representation, looks at the conditions, then at the range: RFC 9110
wants this order, since a condition is about the representation that would be sent, and a range
about its bytes.

What does not change from answer to answer, the fields, is made once for each version of a file and
kept with it (`_Representations`). The bytes of an answer are the connection's to send; they are
never held here, except for those that were compressed.

A path is what a directory has: a file; a directory with its slash, which is its index.html or a
listing; a directory without, which is redirected. A single-page application answers the rest.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOENT
from typing import Final
from urllib.parse import quote

from reactor.errors import ProtocolError
from reactor.files.file import File
from reactor.files.region import FileRegion
from reactor.limits import Limits
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.messages.response import Response, plain_response
from reactor.protocol.dates import http_date
from reactor.protocol.response_encoder import FieldBlock
from reactor.tasks.guard import Shared, exclusive
from reactor.web.compression.encoders import LEAST_BYTES, MADE, shrinks
from reactor.web.compression.responses import compress
from reactor.web.endpoint import may_wait
from reactor.web.semantics.file_names import is_plain
from reactor.web.semantics.negotiation import choose_coding, refuses_identity
from reactor.web.semantics.preconditions import (
    PRECONDITION_FAILED,
    check_read,
    range_applies,
)
from reactor.web.semantics.ranges import Unsatisfiable
from reactor.web.semantics.validators import encoded_tag, entity_tag, last_modified
from reactor.web.static.compressed_cache import STREAMED_BYTES, CompressedCache, stream
from reactor.web.static.listing import ListingOptions, list_directory
from reactor.web.static.open_file_cache import SIBLINGS, Entry, Found, Key, OpenFile, OpenFileCache
from reactor.web.static.partial_content import partial_response
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_READING
from reactor.web.storage.safe_path import Place, Root

INDEX: Final = "index.html"
_PREFERENCE: Final = tuple(SIBLINGS)  # of codings; the best one first
_VARY: Final = ("Vary", "Accept-Encoding")


@dataclass(frozen=True, slots=True)
class Mount:
    """How a directory is served."""

    directory: str
    prefix: str  # of its paths: begins and ends with a slash
    media_type: Callable[[str], str]  # of a name
    headers: Fields = ()  # on every answer
    cache_control: Callable[[str], str] = lambda path: ""  # of a path below the prefix; "": none
    listing: bool = True
    spa: str = ""  # the file, below the directory, that answers for unknown paths
    uploads: bool = False  # a listing offers them; they are received elsewhere
    deletes: bool = False


class _Variant:
    """A representation: the file as it is, or coded."""

    __slots__ = ("coding", "data", "not_modified", "ok", "stored", "tag")

    def __init__(
        self, coding: str, tag: str, stored: OpenFile | None, page_fields: list[tuple[str, str]]
    ) -> None:
        """`page_fields` are those of every answer, 304 too (RFC 9110, section 15.4.5)."""
        self.coding = coding
        self.tag = tag
        self.stored = stored  # None: it has to be made
        self.data: bytes | None = None  # all of a small one
        self.not_modified = FieldBlock([("ETag", tag), *page_fields])
        self.ok = self.not_modified


class _Representations:
    """All the representations of one version of a file."""

    __slots__ = ("coded", "media_type", "modified", "offered", "plain", "possible", "young")

    def __init__(self, plain: _Variant, media_type: str, modified: float) -> None:
        self.plain = plain
        self.media_type = media_type
        self.modified = modified
        self.coded: dict[str, _Variant] = {}
        self.offered: tuple[str, ...] = ()
        self.possible: tuple[str, ...] = ()  # for a small text, even those that save nothing
        self.young = False  # the tags are weak, and will be strong


class Files(Shared):
    """The endpoint. The router leaves the path's decoded segments in `params["name"]`."""

    def __init__(
        self,
        mount: Mount,
        limits: Limits,
        *,
        mounts: int = 1,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`mounts` of a server share its limits. Raises OSError for an unusable directory."""
        super().__init__()
        self.root = Root(mount.directory)
        self._mount = mount
        self._ranges = limits.ranges
        self._small = limits.small_file_bytes
        self._clock = clock
        self._wall = wall
        self._open = OpenFileCache(
            self.root,
            most=max(1, limits.open_files // mounts),
            age=limits.open_file_age,
            idle=limits.open_file_idle,
            share=mounts,
            clock=clock,
            prepare=self._prepare,
        )
        self._coded = CompressedCache(max(1, limits.coded_bytes // mounts))
        self._spa: Key = tuple(mount.spa.split("/")) if mount.spa else ()
        fields = tuple(mount.headers)
        self._listing = ListingOptions(
            prefix=mount.prefix,
            uploads=mount.uploads,
            deletes=mount.deletes,
            resumable=mount.uploads,
            most=limits.listing_entries,
            headers=fields,
        )

    @exclusive
    @may_wait
    def get(self, request: Request) -> Response | Awaitable[Response]:
        """The file, or what its directory has to say."""
        key: Key = request.params["name"]
        opened = self._open.fresh(key)
        if opened is None:
            return self._find_and_answer(request, key)
        return self._answer(request, key, opened)

    @exclusive
    def forget(self, place: Place) -> None:
        """This name in this directory has changed: nobody is served what was there before."""
        self._open.forget(place)

    @exclusive
    def close_idle(self) -> None:
        """To be called now and then: close files that nobody asks for any more."""
        self._open.close_idle()

    # --- from a path to a file --------------------------------------------------------------------

    async def _find_and_answer(self, request: Request, key: Key) -> Response:
        began = self._clock()
        try:
            opened = await self._find(key)
        except OSError as error:
            return await self._without_file(request, key, error)
        answer = self._answer(request, key, opened, new=opened.checked >= began)
        return answer if isinstance(answer, Response) else await answer

    async def _find(self, key: Key) -> Entry:
        """Raises OSError."""
        directory = key[-1] == ""
        segments = (*key[:-1], INDEX) if directory else key
        if not is_plain(segments):
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        return await self._open.find(key, segments)

    def _prepare(self, segments: Sequence[str], entry: Entry) -> None:
        """Make the representations of an entry; those of a young file anew after each walk."""
        if entry.prepared is None or entry.prepared.young:
            # A tag is true of the time of the walk, which a slow disk makes a past one.
            examined = self._wall() - (self._clock() - entry.checked)
            entry.prepared = self._represent(segments, entry.found, examined)

    async def _without_file(self, request: Request, key: Key, error: OSError) -> Response:
        """A directory, the application of a single page, or nothing."""
        if isinstance(error, IsADirectoryError) and key[-1]:
            return self._redirect(request, key)
        answer = WHEN_READING.get(error.errno)
        if answer is NOT_FOUND and not key[-1] and self._mount.listing:
            try:
                return await self._list(request, key)
            except OSError as other:
                # Without a name for it: it knows this frame, and the two would be a cycle, which
                # keeps open what the errors' other frames have.
                answer = WHEN_READING.get(other.errno)
                if answer is None:
                    raise
        if answer is NOT_FOUND and self._spa and key != self._spa:
            return await self._find_and_answer(request, self._spa)
        if answer is None:
            raise error
        raise self._error(*answer) from error

    async def _list(self, request: Request, key: Key) -> Response:
        """Raises OSError."""
        try:
            answer = compress(
                request, await list_directory(request, self.root, key[:-1], self._listing)
            )
            return answer if isinstance(answer, Response) else await answer
        except ProtocolError as error:
            raise self._error(error.status, error.reason, *error.headers) from None

    def _redirect(self, request: Request, key: Key) -> Response:
        """A directory's links are relative to its path, which ends with a slash."""
        # Made anew of its segments: it begins with the prefix's slash, and with no other.
        path = self._mount.prefix + "/".join(quote(segment, safe="") for segment in key) + "/"
        location = f"{path}?{request.query}" if request.query else path
        fields = (("Location", location), *self._mount.headers)
        return plain_response(301, f"This is a directory: {location}", fields)

    # --- from a file to an answer -----------------------------------------------------------------

    def _answer(
        self, request: Request, key: Key, opened: Entry, *, new: bool = False
    ) -> Response | Awaitable[Response]:
        """`new`: the file was opened for this request."""
        page: _Representations = opened.prepared
        fields = request.headers.folded()
        # Ranges are of the file as it is; with HEAD they mean nothing (RFC 9110, section 14.2).
        ranged = "\r\nrange:" in fields and request.method == "GET"
        variant = page.plain
        # Without one of these words nobody refuses the file as it is.
        if not ranged and (
            page.offered
            or ("identity" in fields or "*;" in fields or "* " in fields or "*\t" in fields)
        ):
            variant = self._choose(request, page)
        # A part is put together with others of the version that its tag says.
        if ranged and not new and self._open.changed(key, opened):
            return self._find_and_answer(request, key)
        conditional = "\r\nif-" in fields
        if conditional or ranged:
            return self._answer_if(request, page, variant, conditional, ranged)
        if variant.data is not None:
            return Response(200, variant.data, variant.ok)
        return self._whole(request, page, variant)

    def _answer_if(
        self,
        request: Request,
        page: _Representations,
        variant: _Variant,
        conditional: bool,
        ranged: bool,
    ) -> Response | Awaitable[Response]:
        """The same for a request with conditions or ranges."""
        headers = request.headers
        if conditional:
            now = self._wall()
            status = check_read(headers, variant.tag, page.modified, now)
            if status == 304:
                return Response(304, b"", variant.not_modified)
            if status is not None:
                raise self._error(*PRECONDITION_FAILED)
            ranged = ranged and range_applies(headers, variant.tag, page.modified, now)
        if ranged:
            assert page.plain.stored is not None
            file, fields = page.plain.stored.file, page.plain.ok
            try:
                part = partial_response(
                    headers.get("range"), file, page.media_type, fields, self._ranges
                )
            except Unsatisfiable as error:
                raise self._error(error.status, error.reason, *error.headers) from None
            if part is not None:
                return part
        return self._whole(request, page, variant)

    def _whole(
        self, request: Request, page: _Representations, variant: _Variant
    ) -> Response | Awaitable[Response]:
        stored = variant.stored
        if stored is None:
            return self._made(request, page, variant)
        return Response(200, FileRegion(stored.file.hold(), 0, stored.file.size), variant.ok)

    def _made(
        self, request: Request, page: _Representations, variant: _Variant
    ) -> Response | Awaitable[Response]:
        """A coding that nobody has stored."""
        stored = page.plain.stored
        assert stored is not None
        if stored.file.size <= STREAMED_BYTES:
            data = self._coded.get((stored.version, page.young), variant.coding)
            if data is not None:
                return Response(200, data, variant.ok)
        if request.method == "HEAD":
            nothing: Iterator[bytes] = iter(())
            return Response(200, nothing, variant.ok)  # its length is not known
        if stored.file.size > STREAMED_BYTES:
            body = stream(stored.file, stored.file.size, variant.coding)
            return Response(200, body, variant.ok)
        return self._make(request, page, variant, stored)

    async def _make(
        self, request: Request, page: _Representations, variant: _Variant, stored: OpenFile
    ) -> Response:
        file = stored.file.hold()  # the cache may let go of it meanwhile
        try:
            # Two versions of a young file may look the same: what was made of it is not kept for
            # the time when it is none any more.
            version = (stored.version, page.young)
            data = await self._coded.make(file, version, variant.coding)
            if data is not None:
                return Response(200, data, variant.ok)
            if refuses_identity(request.headers.get("accept-encoding")):
                raise self._error(503, "The server is too busy to compress the response.", _VARY)
            return _stored_whole(page.plain, stored)
        finally:
            file.release()

    def _choose(self, request: Request, page: _Representations) -> _Variant:
        """The one to send. For who refuses the file as it is, a coding need not save anything."""
        accepted = request.headers.get("accept-encoding")
        try:
            try:
                coding = choose_coding(accepted, page.offered)
            except ProtocolError:
                coding = choose_coding(accepted, page.possible)
        except ProtocolError as error:
            raise self._error(error.status, error.reason, *error.headers, _VARY) from None
        return page.plain if coding == "identity" else page.coded[coding]

    def _content(self, file: File) -> bytes | None:
        """All of a small file that is in memory."""
        if file.size > self._small:
            return None
        data = bytearray(file.size)
        return bytes(data) if file.look(0, memoryview(data)) else None

    def _represent(self, segments: Sequence[str], found: Found, now: float) -> _Representations:
        """For answers until the file changes; `now` is when it was looked at."""
        mount = self._mount
        status = found.plain.status
        media_type = mount.media_type(segments[-1])
        modified = last_modified(status, now)
        possible = offered = list(found.siblings)
        cache_control = mount.cache_control("/".join(segments))
        may_be_coded = "no-transform" not in cache_control.lower()
        if may_be_coded and shrinks(media_type):
            possible = [*offered, *(coding for coding in MADE if coding not in offered)]
            if status.st_size >= LEAST_BYTES:
                offered = possible
        common = []
        if cache_control:
            common.append(("Cache-Control", cache_control))
        common += mount.headers
        content = [
            ("Content-Type", media_type),
            ("X-Content-Type-Options", "nosniff"),
            ("Last-Modified", http_date(modified)),
        ]
        tag = entity_tag(status, now)
        plain = _Variant("identity", tag, found.plain, [_VARY, *common] if offered else common)
        if not tag.startswith("W/"):  # a young one may be written again, and look the same
            plain.data = self._content(found.plain.file)
        plain.ok = FieldBlock([*content, ("Accept-Ranges", "bytes"), *plain.not_modified])
        page = _Representations(plain, media_type, modified)
        page.young = tag.startswith("W/")
        for coding in possible:
            stored = found.siblings.get(coding)
            tag_of_coded = _tag_of_coded(tag, coding, stored, now)
            page.young = page.young or tag_of_coded.startswith("W/")
            variant = _Variant(coding, tag_of_coded, stored, [_VARY, *common])
            variant.ok = FieldBlock([*content, ("Content-Encoding", coding), *variant.not_modified])
            page.coded[coding] = variant
        page.offered = tuple(sorted(offered, key=_PREFERENCE.index))
        page.possible = tuple(sorted(possible, key=_PREFERENCE.index))
        return page

    def _error(self, status: int, sentence: str, *fields: tuple[str, str]) -> ProtocolError:
        return ProtocolError(status, sentence, [*fields, *self._mount.headers])


def _stored_whole(variant: _Variant, stored: OpenFile) -> Response:
    return Response(200, FileRegion(stored.file.hold(), 0, stored.file.size), variant.ok)


def _tag_of_coded(tag: str, coding: str, sibling: OpenFile | None, now: float) -> str:
    """Of a sibling it tells which one: it may be made anew of the same file."""
    if sibling is None:
        return encoded_tag(tag, coding)
    own = entity_tag(sibling.status, now)
    told = encoded_tag(tag, f"{coding}-{own.removeprefix('W/')[1:-1]}")
    return told if told.startswith("W/") or not own.startswith("W/") else f"W/{told}"
