"""Serves the files below a directory, for GET and HEAD.

A file that is open already (see static/open_file_cache.py) is served at once, by a plain function:
that is the hot path, and it never waits. Otherwise the path is walked on the pool. Either way
`_respond` chooses a representation, evaluates the preconditions, then the range: RFC 9110 requires
this order (section 13.2.2), since a precondition is about the representation that would be sent,
and a range about its bytes.

The fields that do not change from response to response are made once for each version of a file
(see static/representations.py). The bytes of a response are the connection's to send; they are
never held here, except for compressed ones and those of small files.

A path leads to a file; to a directory, with its slash, which is its index.html or a listing; or to
a directory without its slash, which is redirected. All other paths are left to the single-page
application, if there is one.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOENT
from typing import Final

from reactor.errors import ProtocolError
from reactor.files.region import FileRegion
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.tasks.guard import Shared, exclusive
from reactor.web.compression.encoders import IDENTITY
from reactor.web.compression.responses import compress
from reactor.web.endpoint import may_wait
from reactor.web.semantics.file_names import is_name, is_served, name_of
from reactor.web.semantics.negotiation import choose_coding, refuses_identity
from reactor.web.semantics.paths import name_segments, relative_reference
from reactor.web.semantics.preconditions import (
    PRECONDITION_FAILED,
    check_read,
    range_applies,
)
from reactor.web.semantics.ranges import Unsatisfiable
from reactor.web.semantics.upload_protocols import TUS_LINE, refuse_tus, tus_refusal
from reactor.web.semantics.uploaded_files import asks_for_worker, worker_refusal
from reactor.web.static.archive import Archives, asks_for_archive
from reactor.web.static.compressed_cache import STREAMED_BYTES, CompressedCache, stream
from reactor.web.static.limits import FileLimits
from reactor.web.static.listing import ListingOptions, Listings, list_directory, unless_known
from reactor.web.static.open_file_cache import Entry, Key, OpenFileCache
from reactor.web.static.partial_content import partial_response
from reactor.web.static.representations import (
    VARY,
    Representation,
    Representations,
    Representer,
)
from reactor.web.static.shared_windows import SharedWindows
from reactor.web.storage.disk_errors import NOT_FOUND, WHEN_READING
from reactor.web.storage.safe_path import Place, Root
from reactor.web.storage.trust import Trust
from reactor.web.streams import BodyStream

INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Mount:
    """How a directory is served."""

    directory: str
    media_type: Callable[[str], str]  # called with a file's name
    headers: Fields = ()  # on every response
    # Called with a path below the mount; "" for none.
    cache_control: Callable[[str], str] = lambda path: ""
    listing: bool = True
    spa: str = ""  # the file, below the directory, that is served for unknown paths
    uploads: bool = False  # a listing offers them; uploads/ receives them
    deletes: bool = False
    trust: Trust = Trust()  # whether clients may have uploaded its files  # noqa: RUF009


class FileServer(Shared):
    """The endpoint. The router leaves the path's decoded segments in `params["name"]`."""

    def __init__(
        self,
        mount: Mount,
        limits: FileLimits,
        *,
        mounts: int = 1,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`mounts` of a server share its limits. Raises OSError for an unusable directory."""
        super().__init__()
        self.root = Root(mount.directory, well_known=True)
        self._mount = mount
        self._ranges = limits.ranges
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
            trust=mount.trust,
        )
        self._compressed = CompressedCache(max(1, limits.compressed_bytes // mounts))
        self._windows = SharedWindows(self._compressed)
        self._spa: Key = tuple(mount.spa.split("/")) if mount.spa else ()
        fields = tuple(mount.headers)
        self._representer = Representer(
            mount.media_type, mount.cache_control, fields, limits.small_file_bytes
        )
        self._archives = Archives(limits, mounts, fields)
        self._listing = _listing_options(mount, limits, mounts, clock, wall)

    @exclusive
    @may_wait
    def get(self, request: BaseRequest) -> Response | Awaitable[Response]:
        """The response with the file, the index or the listing of the request's path.

        It raises, or the awaitable does, ProtocolError: 404, 403, 406, 412, 416, or 503.
        """
        key: Key = request.params["name"]
        entry = self._open.fresh(key)
        if entry is None:
            return self._find_and_respond(request, key)
        return self._respond(request, key, entry)

    @exclusive
    def forget(self, place: Place) -> None:
        """Drop all that depends on this name: no later request gets the old file."""
        self._open.forget(place)

    @exclusive
    def close_idle(self) -> None:
        """Drop the files and listings that nobody has requested; to be called now and then."""
        self._open.close_idle()
        self._listing.listings.drop_idle()

    # --- from a path to a file -------------------------------------------------------------------

    async def _find_and_respond(self, request: BaseRequest, key: Key) -> Response:
        if not self._mount.trust.own and asks_for_worker(request):
            raise worker_refusal(self._mount.headers)
        began = self._clock()
        try:
            entry = await self._find(key)
        except OSError as error:
            return await self._respond_without_file(request, key, error)
        response = self._respond(request, key, entry, new=entry.checked >= began)
        return response if isinstance(response, Response) else await response

    async def _find(self, key: Key) -> Entry:
        """Raises OSError."""
        segments = key if key[-1] else (*key[:-1], INDEX)
        if not is_served(segments):
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
        return await self._open.find(key, segments)

    def _prepare(self, segments: Sequence[str], entry: Entry) -> None:
        """Make the representations of an entry; those of a young file anew after each walk."""
        if entry.prepared is None or entry.prepared.young:
            # A tag is true of the time of the walk, which a slow disk makes a past one.
            examined = self._wall() - (self._clock() - entry.checked)
            entry.prepared = self._representer.represent(segments, entry.found, examined)

    async def _respond_without_file(
        self, request: BaseRequest, key: Key, error: OSError
    ) -> Response:
        """Redirect, list a directory, serve the single-page application, or raise."""
        if self._mount.uploads:
            refuse_tus(request.headers)
        if isinstance(error, IsADirectoryError) and key[-1]:
            return redirect_to_directory(request, self._mount.headers)
        status = WHEN_READING.get(error.errno)
        if status is NOT_FOUND and not key[-1] and self._mount.listing:
            try:
                return await self._list(request, key)
            except OSError as other:
                # No variable keeps `other`: it refers to this frame, and the two would be a cycle,
                # which keeps open what the other frames of the error have opened.
                status = WHEN_READING.get(other.errno)
                if status is None:
                    raise
        if status is NOT_FOUND and self._spa and key != self._spa:
            return await self._find_and_respond(request, self._spa)
        if status is None:
            raise error
        raise self._error(*status) from error

    async def _list(self, request: BaseRequest, key: Key) -> Response:
        """A listing of the directory or, where the query asks for it, its archive.

        Raises OSError.
        """
        try:
            if asks_for_archive(request.query):
                name = name_segments(request.path)[-2]
                name = name if is_name(name_of(name)) else "archive"  # a parameter of the mount
                return await self._archives.respond(request, self.root, key[:-1], name)
            listing = await list_directory(request, self.root, key[:-1], self._listing)
            response = compress(request, listing)
            encoded = response if isinstance(response, Response) else await response
            return unless_known(request, encoded)
        except ProtocolError as error:
            raise self._error(error.status, error.reason, *error.headers) from None

    # --- from a file to a response ---------------------------------------------------------------

    def _respond(
        self, request: BaseRequest, key: Key, entry: Entry, *, new: bool = False
    ) -> Response | Awaitable[Response]:
        """`new`: the file was opened for this request."""
        known: Representations = entry.prepared
        fields = request.headers.folded()
        if self._mount.uploads and TUS_LINE in fields:
            raise tus_refusal()
        if not known.trusted and "\r\nservice-worker:" in fields:
            raise worker_refusal(known.common)
        # Ranges apply to the plain file; with HEAD they mean nothing (RFC 9110, section 14.2).
        ranged = "\r\nrange:" in fields and request.method == "GET"
        chosen = known.plain
        if not ranged and "\r\naccept-encoding:" in fields:
            chosen = self._choose(request, known)
        # A client combines parts: they must all be of the version that the tag names.
        if ranged and not new and self._open.changed(key, entry):
            return self._find_and_respond(request, key)
        conditional = "\r\nif-" in fields
        if conditional or ranged:
            return self._respond_if(request, known, chosen, conditional, ranged)
        whole = chosen.whole
        return self._whole(request, known, chosen) if whole is None else whole

    def _respond_if(
        self,
        request: BaseRequest,
        known: Representations,
        chosen: Representation,
        conditional: bool,
        ranged: bool,
    ) -> Response | Awaitable[Response]:
        """Respond to a request with preconditions or a range."""
        headers = request.headers
        if conditional:
            now = self._wall()
            status = check_read(headers, chosen.tag, known.modified, now)
            if status == 304:
                return chosen.unchanged
            if status is not None:
                raise self._error(*PRECONDITION_FAILED, known=known)
            ranged = ranged and range_applies(headers, chosen.tag, known.modified, now)
        if ranged:
            file, value = known.source.file, headers.get("range")
            try:
                part = partial_response(value, file, known.media_type, known.plain.ok, self._ranges)
            except Unsatisfiable as error:
                raise self._error(error.status, error.reason, *error.headers, known=known) from None
            if part is not None:
                return part
        return self._whole(request, known, chosen)

    def _whole(
        self, request: BaseRequest, known: Representations, chosen: Representation
    ) -> Response | Awaitable[Response]:
        stored = chosen.stored
        if stored is None:
            return self._compress(request, known, chosen)
        return Response(200, FileRegion(stored.file.hold(), 0, stored.file.size), chosen.ok)

    def _compress(
        self, request: BaseRequest, known: Representations, chosen: Representation
    ) -> Response | Awaitable[Response]:
        """Respond in a coding for which no file is stored."""
        source = known.source
        if source.file.size <= STREAMED_BYTES:
            data = self._compressed.get((source.version, known.young), chosen.coding)
            if data is not None:
                return Response(200, data, chosen.ok)
        if request.method == "HEAD":
            nothing: Iterator[bytes] = iter(())
            return Response(200, nothing, chosen.ok)  # its length is not known
        if source.file.size > STREAMED_BYTES:
            return Response(200, self._stream(known, chosen.coding), chosen.ok)
        return self._compress_whole(request, known, chosen)

    def _stream(self, known: Representations, coding: str) -> BodyStream:
        """A large file in a coding. Readers share windows of gzip, except of a young file, whose
        bytes may change while its version looks the same.
        """
        source = known.source
        if coding == "gzip" and not known.young:
            return self._windows.stream(source.file, source.version)
        return stream(source.file, source.file.size, coding)

    async def _compress_whole(
        self, request: BaseRequest, known: Representations, chosen: Representation
    ) -> Response:
        file = known.source.file.hold()  # the cache may release it meanwhile
        try:
            # Two versions of a young file may look the same: bytes made of a young file are not
            # used any more when it is young no longer.
            version = (known.source.version, known.young)
            data = await self._compressed.make(file, version, chosen.coding)
            if data is not None:
                return Response(200, data, chosen.ok)
            if refuses_identity(request.headers.get("accept-encoding")):
                sentence = "The server is too busy to compress the response."
                retry = ("Retry-After", "1")
                raise self._error(503, sentence, VARY, retry, known=known)
            return Response(200, FileRegion(file.hold(), 0, file.size), known.plain.ok)
        finally:
            file.release()

    def _choose(self, request: BaseRequest, known: Representations) -> Representation:
        """Negotiate. For a client that refuses the plain file, a coding need not save anything."""
        accepted = request.headers.get("accept-encoding")
        try:
            try:
                coding = choose_coding(accepted, known.offered)
            except ProtocolError:
                coding = choose_coding(accepted, known.possible)
        except ProtocolError as error:
            fields = (*error.headers, VARY)
            raise self._error(error.status, error.reason, *fields, known=known) from None
        return known.plain if coding == IDENTITY else known.encoded[coding]

    def _error(
        self,
        status: int,
        sentence: str,
        *fields: tuple[str, str],
        known: Representations | None = None,
    ) -> ProtocolError:
        """`known` is the file that the error is about."""
        own = known.common if known is not None else self._mount.headers
        return ProtocolError(status, sentence, [*fields, *own])


def redirect_to_directory(request: BaseRequest, headers: Fields) -> Response:
    """Add the slash to the path of a directory: the links in a listing are relative to it."""
    target = [*name_segments(request.path), ""]
    location = relative_reference(request.raw_path, target, request.query)
    fields = (("Location", location), *headers)
    return plain_response(301, f"This is a directory: {location}", fields)


def _listing_options(
    mount: Mount,
    limits: FileLimits,
    mounts: int,
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> ListingOptions:
    return ListingOptions(
        uploads=mount.uploads,
        deletes=mount.deletes,
        resumable=mount.uploads,
        archives=True,
        most=limits.listing_entries,
        page=limits.listing_page,
        headers=tuple(mount.headers),
        listings=Listings(max(1, limits.listing_bytes // mounts), clock=clock, wall=wall),
    )
