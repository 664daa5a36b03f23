"""Takeover: the newest request that wants a resource works on it, one request at a time.

A connection can be gone long before the server notices, while its request still waits for bytes.
Its client has come back meanwhile, and is right: the newest request takes over. The one before it
is notified, stops waiting and releases its lease; then the newer one has its turn, so that it finds
a settled state. If a third arrives, the second releases its lease at once, and the third still
waits for the first.

Each name has a queue: a semaphore of one, which its requests acquire in the order of their arrival.
So a crowd of requests that have left while they waited is skipped in a loop, however many they are.

All of this happens on the loop's thread and needs no lock. It knows nothing of uploads.
"""

from reactor.errors import Cancelled
from reactor.messages.body import Body
from reactor.tasks.combinators import first_of
from reactor.tasks.futures import Future
from reactor.tasks.semaphore import WeightedSemaphore


class TakenOver(Exception):
    """A newer request wants the resource."""


class Lease:
    """One request's lease: wait for the `turn`, work, and leave (see Leases)."""

    __slots__ = ("_lost", "_place", "_queue")

    def __init__(self, queue: WeightedSemaphore) -> None:
        self._lost: Future[None] = Future()  # done when a newer request wants the turn
        self._queue = queue
        self._place = queue.acquire()

    async def turn(self) -> None:
        """Wait until all requests before this one have left."""
        if self._place is not None:
            await self._place

    async def read(self, body: Body, most: int) -> bytes:
        """Return `body.read(most)`. Raises TakenOver as soon as a newer request wants the turn.

        Bytes that have arrived in the same turn of the loop may be dropped then. The newer request
        learns the offset after this one has left, so its client sends them again.
        """
        if self._lost.done:
            raise TakenOver
        piece = await first_of(body.read(most), self._lost)
        if piece is None:
            raise TakenOver  # here, since a Future that kept the error would be in a cycle with it
        return piece

    def take_over(self) -> None:
        """For Leases: a newer request has arrived."""
        self._lost.set_result(None)

    def release(self) -> None:
        """For Leases: this request has left. The next one has its turn, if it was this one's."""
        if self._place is None or self._place.done:
            self._queue.release()
        else:
            self._place.set_exception(Cancelled())


class Leases:
    """The newest lease on each name, and the queue behind it."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[WeightedSemaphore, Lease]] = {}

    def __contains__(self, name: object) -> bool:
        """Return whether a request works on this name, or waits for its turn."""
        return name in self._newest

    def enter(self, name: str) -> Lease:
        """Take over from the request that has the name. `leave` must follow in any case."""
        queue, newest = self._newest.get(name) or (WeightedSemaphore(1), None)
        if newest is not None:
            newest.take_over()
        lease = Lease(queue)
        self._newest[name] = (queue, lease)
        return lease

    def leave(self, name: str, lease: Lease) -> None:
        """Release the lease; the name is forgotten with its last lease."""
        lease.release()
        queue, _ = self._newest[name]
        if not queue.used:
            del self._newest[name]
