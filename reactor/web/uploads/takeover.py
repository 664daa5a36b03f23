"""Takeover: the newest request that wants a resource works on it, one request at a time.

A connection can be gone long before the server notices, while its request still waits for bytes.
Its client has come back meanwhile, and is right: the newest request takes over. The one before it
is notified, stops waiting and releases its lease; then the newer one has its turn, so that it finds
a settled state. If a third arrives, the second releases its lease at once, and the third still
waits for the first.

All of this happens on the loop's thread and needs no lock. It knows nothing of uploads.
"""

from collections.abc import Callable

from reactor.messages.body import Body
from reactor.tasks.combinators import first_of
from reactor.tasks.futures import Future


class TakenOver(Exception):
    """A newer request wants the resource."""


class Lease:
    """One request's lease: wait for the `turn`, work, and leave (see Leases)."""

    __slots__ = ("_before", "_lost", "_over")

    def __init__(self, before: "Lease | None") -> None:
        self._before = None if before is None else before._over
        self._lost: Future[bytes] = Future()  # fails with TakenOver
        self._over: Future[None] = Future()
        if before is not None:
            before._lost.set_exception(TakenOver())

    async def turn(self) -> None:
        """Wait until the request before this one has released its lease."""
        if self._before is not None:
            await self._before
            self._before = None

    async def read(self, body: Body, most: int) -> bytes:
        """Return `body.read(most)`. Raises TakenOver as soon as a newer request wants the turn."""
        if self._lost.done:
            raise TakenOver
        return await first_of(body.read(most), self._lost)

    def let_go(self, over: Callable[[], None]) -> None:
        """Let the next request have its turn, and call `over` then.

        A request that has not had its own turn yet passes it on when the one before it is done.
        """
        self._over.add_callback(lambda _: over())
        if self._before is None:
            self._over.set_result(None)
        else:
            self._before.add_callback(lambda _: self._over.set_result(None))


class Leases:
    """The newest lease on each name."""

    def __init__(self) -> None:
        self._newest: dict[str, Lease] = {}

    def __contains__(self, name: object) -> bool:
        """Return whether a request works on this name, or waits for its turn."""
        return name in self._newest

    def enter(self, name: str) -> Lease:
        """Take over from the request that has the name. `leave` must follow in any case."""
        lease = self._newest[name] = Lease(self._newest.get(name))
        return lease

    def leave(self, name: str, lease: Lease) -> None:
        """Release the lease; the name is forgotten with its last lease."""
        lease.let_go(lambda: self._forget(name, lease))

    def _forget(self, name: str, lease: Lease) -> None:
        if self._newest.get(name) is lease:
            del self._newest[name]
