"""Writing to a disk that may be full: idle partial uploads are evicted, and the step is repeated.

A partial upload whose client does not come back may have taken the last bytes of the disk, and all
uploads would fail for as long as it is kept. So a step that finds no room has one such upload
evicted after the other (see quota.py), until it succeeds or none is left.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from reactor.errors import ProtocolError
from reactor.web.storage.disk_errors import (
    WHEN_WRITING,
    DiskFull,
    StatusTable,
    attempt_on_disk,
    record_refusal,
)
from reactor.web.storage.safe_path import Place

T = TypeVar("T")
# Evicts an upload on the disk of this place (None: any) and returns whether there was one.
MakeRoom: TypeAlias = Callable[[Place | None], Awaitable[bool]]

_FULL: Final = 507


class Appendable(Protocol):
    """A file that is written, whose `size` is right after an error as well."""

    size: int

    def write(self, piece: bytes | memoryview) -> None:
        """Append all of the piece. Raises OSError."""


async def append_with_room(
    make_room: MakeRoom, place: Place | None, file: Appendable, piece: bytes
) -> None:
    """Append all of the piece on the pool; while the disk is full, make room and go on.

    Raises ProtocolError and OSError, as `on_disk` does.
    """
    await with_room(make_room, place, _append_rest, file, piece, file.size)


def _append_rest(file: Appendable, piece: bytes, offset: int) -> None:
    """Append the piece, which begins at the offset of the file, from where it has broken off."""
    file.write(piece if file.size == offset else memoryview(piece)[file.size - offset :])


async def with_room(
    make_room: MakeRoom,
    place: Place | None,
    function: Callable[..., T],
    *arguments: Any,
    table: StatusTable = WHEN_WRITING,
) -> T:
    """Run the function on the pool, as `on_disk` does; while the disk is full, make room.

    The function must go on where it has failed. Another 507 is raised once there is more room, for
    the client to try again: what the function has written may be lost.
    """
    while True:
        try:
            return await attempt_on_disk(table, function, *arguments)
        except ProtocolError as error:
            has_room = error.status == _FULL and await make_room(place)
            if not has_room or not isinstance(error, DiskFull):
                record_refusal(error)
                raise
