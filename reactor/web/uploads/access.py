"""Access to the partial uploads of one directory: created, opened and closed, with their quota.

A request works on one upload at a time, in its turn (see takeover.py), through these methods. They
keep the quota true: what a request has found or changed on the disk is counted when it is closed.
A name that may mean another file by then is reported (`forget`).
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from reactor.errors import ProtocolError
from reactor.net.client_network import client_network
from reactor.tasks.operations import in_pool
from reactor.web.storage.disk_errors import WHEN_WRITING, DiskFull, on_disk
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.disk_room import append_with_room, with_room
from reactor.web.uploads.limits import UploadLimits
from reactor.web.uploads.metadata import Record
from reactor.web.uploads.partial_store import FinishedUpload, PartialStore
from reactor.web.uploads.partial_upload import PartialUpload
from reactor.web.uploads.quota import UploadQuota
from reactor.web.uploads.takeover import Leases

T = TypeVar("T")

log = logging.getLogger("reactor")


class UploadAccess:
    """The partial uploads of one directory, for the requests that work on them."""

    def __init__(
        self,
        root: Root,
        leases: Leases,
        limits: UploadLimits,
        forget: Callable[[Place], None],
        wall: Callable[[], float],
    ) -> None:
        """`forget` is called, on the loop, with each name that means another file now."""
        self._store = PartialStore(root)
        self._quota = UploadQuota(self._store, leases, limits)
        self._forget = forget
        self._wall = wall
        self._age = limits.resumable_age

    async def take_stock(self) -> None:
        """Count the uploads on the disk and remove old ones. Raises ProtocolError, OSError."""
        await self._quota.take_stock(self._wall(), self._age)

    async def count(self) -> None:
        """Take stock, the first time."""
        if not self._quota.counted:
            await self.take_stock()

    async def create(self, name: str, record: Record, address: str) -> PartialUpload:
        """Create an upload without bytes, for a client at this address.

        Raises ProtocolError: 507 where there is no room.
        """
        client = client_network(address)
        self._quota.check(name, record.length or 0, self._wall(), client)
        await self._quota.reserve(name, 0, self._wall(), client)
        return await self._write(self._store.create, name, record, self._wall())

    async def open(self, name: str, *, to_append: bool = False) -> PartialUpload | FinishedUpload:
        """Open an upload. Raises ProtocolError: 404, or 503 while another process uses it."""
        upload = await on_disk(WHEN_WRITING, partial(self._store.open, name, to_append=to_append))
        if upload is None:
            self._quota.drop(name)
            raise ProtocolError(404, "There is no such upload.")
        if isinstance(upload, FinishedUpload):
            await self._quota.finish(name)
        else:  # it may be new to this process: another one may have made it
            self._quota.note(upload)
        return upload

    async def using(self, part: PartialUpload, work: Awaitable[T]) -> T:
        """Return the result of the work, and close the part, however the work ends."""
        try:
            result = await work
        except GeneratorExit:
            self._settle(part)
            raise  # nothing can be awaited any more: PartialUpload.__del__ closes it
        except BaseException:
            await self._close(part)
            raise
        await self._close(part)
        return result

    def check(self, part: PartialUpload, size: int) -> None:
        """Raise ProtocolError(507) where `size` bytes in all could not find room."""
        self._quota.check(part.name, size, self._wall())

    async def write(self, part: PartialUpload, piece: bytes) -> None:
        """Append the piece. Raises ProtocolError: 507 where there is no room; OSError."""
        await self._quota.reserve(part.name, part.size + len(piece), self._wall())
        try:
            await append_with_room(self.make_room, None, part, piece)
        except DiskFull:
            self._quota.refuse(part.name)
            raise

    async def sync(self, part: PartialUpload) -> None:
        """Bring all written bytes of the part to the disk. Raises ProtocolError, OSError."""
        await self._write(part.sync, self._wall())

    async def save(self, part: PartialUpload, record: Record) -> None:
        """Replace the record of the part. Raises ProtocolError, OSError."""
        await self._write(part.save, record, self._wall())

    async def make_room(self, place: Place | None) -> bool:
        """Evict an idle upload, for a step that finds the disk of this place full.

        Returns whether there was one. Errors are logged.
        """
        try:
            return await self._quota.make_room(place, self._wall())
        except (OSError, ProtocolError) as error:
            log.warning("Cannot make room on a full disk: %s", error)
            return False

    async def finish(self, part: PartialUpload) -> None:
        """Count the upload as finished: its bytes have become the file."""
        await self._quota.finish(part.name)

    async def remove(self, part: PartialUpload) -> None:
        """Remove all of the upload. Raises ProtocolError, OSError."""
        await on_disk(WHEN_WRITING, part.remove)
        self._quota.drop(part.name)

    async def forget_finished(self, name: str) -> None:
        """Remove the record of a finished upload. Raises ProtocolError, OSError."""
        await on_disk(WHEN_WRITING, self._store.forget, name)
        self._quota.drop(name)

    def drop(self, name: str) -> None:
        """Return the room of an upload that was not made."""
        self._quota.drop(name)

    async def _write(self, function: Callable[..., T], *arguments: Any) -> T:
        return await with_room(self.make_room, None, function, *arguments)

    async def _close(self, part: PartialUpload) -> None:
        """Close it after its running job."""
        try:
            await in_pool(part.close)
        except ProtocolError:
            pass  # the pool is full: PartialUpload.__del__ closes it
        finally:
            self._settle(part)

    def _settle(self, part: PartialUpload) -> None:
        self._quota.see(part, self._wall())
        if part.place is not None:
            self._forget(part.place)
