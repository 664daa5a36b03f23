"""A Reactor whose time and ready sockets the test decides, and handlers for it."""

from collections.abc import Callable
from typing import Any

from reactor.loop.reactor import Reactor
from tests.support.worlds import Clock, Selector


class FakeHandler:
    """Runs `action` when it has its turn, and counts its aborts."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.aborted = 0

    def on_events(self, mask: int) -> None:
        self.action()

    def end_turn(self) -> None:
        self.action()

    def abort(self) -> None:
        self.aborted += 1


class LoopWorld:
    """A loop, its clock, its selector, and `seen`: what the test has noted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.selector = Selector(self.clock)
        self.reactor = Reactor(self.selector, self.clock)
        self.seen: list[Any] = []

    def note(self, what: object) -> Callable[[], None]:
        return lambda: self.seen.append(what)
