"""Whose turn it is: what one request works on at a time belongs to the newest that wants it.

A connection can be gone long before the server notices, with a request that still waits for bytes.
Its client has come back meanwhile, and is right: the newest request takes over. It tells the one
before, which gives up waiting, and has its turn when that one has let go; so what it finds is
settled. Of three, the second lets go as soon as it is asked to, and the third still waits for the
first.

All of this happens on the loop's thread and needs no lock. It knows nothing of uploads.
"""

from collections.abc import Callable

from reactor.messages.body import Body
from reactor.tasks.combinators import first_of
from reactor.tasks.futures import Future


class TakenOver(Exception):
    """A newer request wants what this one has."""


class Lease:
    """One request's: wait for the turn, use it, let go."""

    __slots__ = ("_before", "_lost", "_over")

    def __init__(self, before: "Lease | None") -> None:
        self._before = None if before is None else before._over
        self._lost: Future[bytes] = Future()  # fails with TakenOver
        self._over: Future[None] = Future()
        if before is not None:
            before._lost.set_exception(TakenOver())

    async def turn(self) -> None:
        """Wait until the request before this one has let go."""
        if self._before is not None:
            await self._before
            self._before = None

    async def read(self, body: Body, most: int) -> bytes:
        """`body.read(most)`. Raises TakenOver as soon as somebody newer wants the turn."""
        if self._lost.done:
            raise TakenOver
        return await first_of(body.read(most), self._lost)

    def let_go(self, over: Callable[[], None]) -> None:
        """The next one's turn; where this one had none itself, as soon as the one before has gone.

        `over` is called then.
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
        """Whether a request works on it, or waits to."""
        return name in self._newest

    def enter(self, name: str) -> Lease:
        """Take over from whoever has it. To be followed by `leave`, whatever happens."""
        lease = self._newest[name] = Lease(self._newest.get(name))
        return lease

    def leave(self, name: str, lease: Lease) -> None:
        """The name is forgotten with its last lease: one that waited in vain stands for others."""
        lease.let_go(lambda: self._forget(name, lease))

    def _forget(self, name: str, lease: Lease) -> None:
        if self._newest.get(name) is lease:
            del self._newest[name]
