"""Runs a handler without a server: steps its coroutine and carries out its operations here and now.

A Stage is the runtime: jobs run when they are submitted, or, while it is `holding`, when the test
says so and in the order that the test wants. A Feed is where a request's body comes from.
"""

import os
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar, cast

import pytest

from reactor import Body, Fields, Future, Headers
from reactor.files.file import SCRATCH, File
from reactor.messages.request import BaseRequest
from reactor.tasks.futures import Cancellable, Drainable, Lane, TimerLike
from reactor.tasks.task import Runtime, Task

T = TypeVar("T")


class _Never:
    """A timer that never fires."""

    def cancel(self) -> None:
        pass


class Stage:
    """A runtime without a loop and without threads."""

    in_memory = staticmethod(File.in_memory)
    scratch = SCRATCH
    cancel_timeout = 30.0  # seconds, which never pass here

    def __init__(self) -> None:
        self.is_draining = False
        self.endless: dict[Drainable, None] = {}
        self.holding = False
        self.jobs: list[Callable[[], None]] = []
        self._soon: deque[Callable[[], object]] = deque()
        self._calling = False

    def now(self) -> float:
        return 0.0

    def spawn(
        self, coroutine: Coroutine[Any, Any, T], context: Context | None = None
    ) -> Cancellable[T]:
        """A task whose steps follow at once upon what it waits for."""
        return Task(cast(Runtime, self), coroutine, context or copy_context())

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call at once, or after the call that is under way: long tasks must not nest."""
        self._soon.append(partial(callback, *arguments))
        if self._calling:
            return
        self._calling = True
        try:
            while self._soon:
                self._soon.popleft()()
        finally:
            self._calling = False

    def call_later(
        self, seconds: float, callback: Callable[..., object], *arguments: Any
    ) -> TimerLike:
        """A timer that never fires: no time passes on a stage."""
        return _Never()

    def sleep(self, seconds: float) -> Future[None]:
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def job() -> None:
            try:
                result = function(*arguments)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.holding:
            self.jobs.append(job)
        else:
            job()
        return future

    def perform(self, order: Sequence[int]) -> None:
        """Run the jobs that were held, in this order; afterwards none is held any more."""
        jobs, self.jobs = self.jobs, []
        self.holding = False
        for place in order:
            jobs[place]()


class Play:
    """A coroutine that is stepped from operation to operation."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], stage: Stage) -> None:
        self._coroutine = coroutine
        self._stage = stage
        self.operation: Any = None  # the one that it awaits; None once it has returned
        self.result: Any = None
        self._advance(coroutine.send, None)

    def step(self) -> None:
        """Carry out the operation and go on to the next."""
        future = self.operation.start(self._stage)
        assert future.done, "this would wait for ever"
        self._advance(self._coroutine.send, future)

    def throw(self, error: BaseException) -> None:
        self._advance(self._coroutine.throw, error)

    def resume(self, future: Future[Any]) -> None:
        self._advance(self._coroutine.send, future)

    def close(self) -> None:
        self._coroutine.close()

    def _advance(self, call: Callable[[Any], Any], value: Any) -> None:
        self.operation = None
        try:
            self.operation = call(value)
        except StopIteration as stop:
            self.result = stop.value


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Returns or raises the coroutine's result."""
    play = Play(coroutine, Stage())
    while play.operation is not None:
        play.step()
    result: T = play.result
    return result


class _Arriving(Future[bytes]):
    """Bytes that come when they are waited for."""

    __slots__ = ("_piece",)

    def __init__(self, piece: bytes | BaseException) -> None:
        super().__init__()
        self._piece = piece

    def start(self, runtime: object) -> Future[bytes]:
        if isinstance(self._piece, bytes):
            self.set_result(self._piece)
        else:
            self.set_exception(self._piece)
        return self


class Feed:
    """A body's source: its pieces, and at the end an error or b"". Every other one is late."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self._pieces = [*pieces, b""]
        self.pulls = 0
        self.informed: list[tuple[Any, ...]] = []  # the 1xx responds: status and fields
        self.held = 0  # bytes of memory

    def pull(self, most: int) -> bytes | Future[bytes]:
        self.pulls += 1
        piece = self._pieces.pop(0)
        if isinstance(piece, bytes) and len(piece) > most:
            self._pieces.insert(0, piece[most:])
            piece = piece[:most]
        if self.pulls % 2 == 0 and isinstance(piece, bytes):
            return piece
        return _Arriving(piece)

    def inform(self, status: int, headers: Fields) -> bool:
        self.informed.append((status, *headers))
        return True

    def hold(self, size: int) -> Future[None] | None:
        """There is always room."""
        self.held = size
        return None

    def release(self) -> None:
        self.held = 0


def make_request(method: str, path: str, feed: Feed | None = None, **headers: str) -> BaseRequest:
    """A request for `path`; a header's underscores become hyphens."""
    lines = [f"\r\n{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    request = BaseRequest(method, path, path, "", 1, Headers("".join(lines)))
    request.host = "example.com"
    if feed is not None:
        request.length = None
        request.body = Body(feed, None, 0)
    return request


def open_descriptors() -> dict[str, str]:
    """This process's descriptors, and what they are of."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass  # the listing's own
    return found


def opened_since(before: dict[str, str]) -> dict[str, str]:
    """The descriptors that are open now and were not; what somebody else has let go is nobody's."""
    return {
        number: path for number, path in open_descriptors().items() if before.get(number) != path
    }


def fail(call: str, code: int, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Have a call of the operating system fail, but not the first `after` times."""
    real, left = getattr(os, call), [after]

    def failing(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            return real(*arguments, **named)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)
