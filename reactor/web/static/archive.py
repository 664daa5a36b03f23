"""A directory as a download: `?archive=tar` in place of its listing.

The archive is made as the client reads it (see archive_reader.py), in jobs on the pool of which two
run at a time. So a large archive takes neither the memory nor the threads of others. It has no
length, no validators and no ranges, and no content coding: most of what is large is compressed
already.
"""

from collections import Counter
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.net.client_network import client_network
from reactor.tasks.guard import Shared, exclusive
from reactor.tasks.operations import in_pool
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.web.semantics.file_names import attachment
from reactor.web.static.archive_reader import ArchiveReader
from reactor.web.static.limits import FileLimits
from reactor.web.storage.safe_path import Root
from reactor.web.streams import BodyStream

READERS: Final = 2  # jobs at a time
CLIENT_SHARE: Final = 4  # one client gets one archive in so many

_COMMON: Final = (
    ("Content-Type", "application/x-tar"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
    ("Accept-Ranges", "none"),
)
_OURS: Final = frozenset({"content-type", "x-content-type-options", "content-disposition"})


def asks_for_archive(query: str) -> bool:
    """Return whether the query asks for an archive. Raises ProtocolError(400) for another kind."""
    if "archive=" not in query:
        return False
    kind = dict(pair.partition("=")[::2] for pair in query.split("&")).get("archive")
    if kind not in (None, "tar"):
        raise ProtocolError(400, "A directory is archived as tar: ?archive=tar.")
    return kind is not None


class Archives(Shared):
    """The archives of one mount that clients are reading."""

    def __init__(self, limits: FileLimits, mounts: int, headers: Fields) -> None:
        """`mounts` of a server share its limits. `headers` are on every response."""
        super().__init__()
        self._most = max(1, limits.archives // mounts)
        self._depth = limits.archive_depth
        self._entries = limits.archive_entries
        self._theirs = [field for field in headers if field[0].lower() not in _OURS]
        self._clients: Counter[str] = Counter()
        self._jobs = WeightedSemaphore(READERS)

    @property
    def reading(self) -> int:
        """The number of archives that are being read."""
        return self._clients.total()

    async def respond(
        self, request: BaseRequest, root: Root, segments: tuple[str, ...], name: str
    ) -> Response:
        """Return the archive of a directory; all its paths begin with `name`.

        Raises OSError if it is not a directory or cannot be read, ProtocolError(503) where too many
        archives are being read.
        """
        given = {field.lower() for field, _ in self._theirs}
        ours = [field for field in _COMMON if field[0].lower() not in given]
        fields = (*ours, ("Content-Disposition", attachment(f"{name}.tar")), *self._theirs)
        client = client_network(str(request.client[0]))
        self._check(client)
        self._clients[client] += 1
        stream = None
        try:
            reader = await in_pool(ArchiveReader, root, segments, name, self._depth, self._entries)
            if request.method != "HEAD":
                stream = _ArchiveStream(self, reader, client)
                return Response(200, stream, fields)
            return Response(200, iter(()), fields)
        finally:
            if stream is None:
                self.release(client)

    @exclusive
    async def piece(self, reader: ArchiveReader) -> tuple[bytes, bool]:
        """Return what `reader.read` returns."""
        async with self._jobs.hold():
            return await in_pool(reader.read)

    @exclusive
    def release(self, client: str) -> None:
        """Count one archive of this client less."""
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def _check(self, client: str) -> None:
        each = max(1, self._most // CLIENT_SHARE)
        if self._clients[client] >= each or self.reading >= self._most:
            reason = "Too many archives are being read; try again when one has ended."
            raise ProtocolError(503, reason, [("Retry-After", "5")])


class _ArchiveStream(BodyStream):
    """The body of one archive."""

    def __init__(self, archives: Archives, reader: ArchiveReader, client: str) -> None:
        self._archives = archives
        self._reader: ArchiveReader | None = reader
        self._client = client

    async def next_piece(self) -> bytes:
        while self._reader is not None:
            piece, more = await self._archives.piece(self._reader)
            if not more:
                await self.aclose()
            if piece:
                return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._archives.release(self._client)
