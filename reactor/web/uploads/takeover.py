"""Whose turn it is: what one request works on at a time belongs to the newest that wants it.

A connection can be gone long before the server notices, with a request that still waits for bytes.
Its client has come back meanwhile, and is right: the newest request takes over. It tells the one
before, which gives up waiting, and has its turn when that one has let go; so what it finds is
settled. Of three, the second lets go as soon as it is asked to, and the third still waits for the
first.

All of this happens on the loop's thread and needs no lock. It knows nothing of uploads.
"""

from collections.abc import Callable, Generator
from typing import Any

from reactor.messages.body import Body
from reactor.tasks.futures import Future


class TakenOver(Exception):
    """A newer request wants what this one has."""


class Lease:
    """One request's: wait for the turn, use it, let go."""

    __slots__ = ("_before", "_lost", "_over")

    def __init__(self, before: "Lease | None") -> None:
        self._before = None if before is None else before._over
        self._lost: Future[None] = Future()
        self._over: Future[None] = Future()
        if before is not None:
            before._lost.set_result(None)

    async def turn(self) -> None:
        """Wait until the request before this one has let go."""
        if self._before is not None:
            await self._before
            self._before = None

    async def read(self, body: Body, most: int) -> bytes:
        """`body.read(most)`. Raises TakenOver as soon as somebody newer wants the turn."""
        if self._lost.done:
            raise TakenOver
        return await _Pull(body, most, self._lost)

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


class _Pull:
    """An awaitable: the next bytes of a body, or TakenOver, whichever comes first."""

    __slots__ = ("_lost", "_steps")

    def __init__(self, body: Body, most: int, lost: Future[None]) -> None:
        self._steps = body.read(most).__await__()
        self._lost = lost

    def __await__(self) -> Generator[Any, Any, bytes]:
        try:
            try:
                either = _Either(next(self._steps), self._lost)
            except StopIteration as stop:  # the bytes were there
                return bytes(stop.value)
            try:
                yield either
            finally:
                either.give_up()
            if not either.came:
                raise TakenOver
            try:
                next(self._steps)  # a Future wants no value back
            except StopIteration as stop:
                return bytes(stop.value)
            raise AssertionError("a pull waits once")
        finally:
            self._steps.close()


class _Either:
    """A wish: one of two futures, the first of which is a wish itself."""

    __slots__ = ("_first", "_lost", "_wish")

    def __init__(self, wish: Any, lost: Future[None]) -> None:
        self._wish = wish
        self._lost = lost
        self._first: Future[None] = Future()

    @property
    def came(self) -> bool:
        return bool(self._wish.done)

    def start(self, runtime: Any) -> Future[None]:
        self._wish = self._wish.start(runtime)
        self._wish.add_callback(self._end)
        self._lost.add_callback(self._end)
        return self._first

    def give_up(self) -> None:
        self._wish.remove_callback(self._end)
        self._lost.remove_callback(self._end)

    def _end(self, _: Future[Any]) -> None:
        self._first.set_result(None)
