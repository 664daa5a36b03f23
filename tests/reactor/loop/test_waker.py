"""The wake-up of the loop by other threads: none is lost, and one byte is enough for many."""

import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor.loop.reactor import Reactor
from reactor.loop.waker import Waker
from tests.support.raw_client import TIMEOUT


@pytest.fixture
def real() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


class Meddling(socket.socket):
    """Something happens right before or right after its recv has read."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def recv(self, *arguments: Any) -> bytes:
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before is not None:
            before()
        try:
            return super().recv(*arguments)
        finally:
            if after is not None:
                after()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wake_up_around_the_read_is_not_lost(when: str) -> None:
    """A thread calls when the byte is about to be read, or is read and the flag not yet cleared:
    its own byte is eaten, or not sent. Its callback must run all the same, and so must the next.
    """
    reader, writer = socket.socketpair()
    meddling = Meddling(fileno=reader.detach())
    reactor = Reactor(waker=Waker((meddling, writer)))
    seen: list[str] = []
    try:
        setattr(meddling, when, lambda: reactor.call_soon_threadsafe(seen.append, "second"))
        reactor.call_soon_threadsafe(seen.append, "first")
        reactor.run_once(0)
        assert seen == ["first", "second"]
        reactor.run_once(0)  # a byte too many is no harm
        reactor.call_soon_threadsafe(seen.append, "third")
        assert reactor.selector.select(0), "the waker sends no bytes any more"
        reactor.run_once(TIMEOUT)
        assert seen[-1] == "third"
    finally:
        reactor.close()


def test_one_byte_on_its_way_is_enough(real: Reactor) -> None:
    for _ in range(100_000):  # more than the socket pair would hold
        real.call_soon_threadsafe(len, "")
    real.run_once(0)
    assert not real._foreign
    assert real.selector.select(0) == []


def test_a_waker_that_is_closed_or_full_does_not_raise() -> None:
    waker = Waker()
    while True:  # until the socket pair has no room
        try:
            waker.writer.send(bytes(4096))
        except BlockingIOError:
            break
    waker.wake()
    waker.close()
    other = Waker()
    other.close()
    other.wake()


def test_a_signal_right_before_the_wait_ends_it() -> None:
    """The wait of a selector that Python does not interrupt: only the byte is left to end it."""
    reactor = Reactor()
    handled: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: handled.append(number))
    waits: list[int] = []

    def wait(timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        signal.raise_signal(signal.SIGUSR1)
        handled.clear()  # its handler was called now; with worse luck it would be called later
        ready = reactor.selector.select(5.0)
        waits.append(len(ready))
        reactor.stop()
        return ready

    reactor._wait = wait
    try:
        reactor.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
        reactor.close()
    assert waits == [1]
    assert signal.set_wakeup_fd(-1) == -1  # as it was
