"""Readiness, as epoll reports it: level-triggered, in any order, and sometimes of nothing wanted.

When nothing is ready the world goes on: the next entry of the agenda happens, or the time that the
loop was ready to wait is over at once. Two rules are watched here, since only the selector sees
them broken: a socket that is reported ready again and again while no byte moves on it is a spin,
and a loop that sleeps while a thread has something for it has lost a wake-up.
"""

import selectors
from collections.abc import Callable, Mapping
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import Any, Final, TypeAlias

from reactor.simulator.network import SimNetwork, Violation
from reactor.simulator.sockets import SimListener, SimSocket

SPIN_REPORTS: Final = 16  # reports of one socket, nothing having moved on it
SPIN_TURNS: Final = 300  # without waiting, nothing having moved anywhere

Ready: TypeAlias = list[tuple[SelectorKey, int]]


class SimSelector(selectors.BaseSelector):
    """`empty_interest`: whether it knows one (epoll), or raises ValueError (kqueue, select)."""

    def __init__(self, network: SimNetwork, empty_interest: bool = True) -> None:
        self.spin_turns = SPIN_TURNS
        self.has_wakeup: Callable[[], bool] = lambda: False  # whether a thread has left something
        self.has_work: Callable[[], bool] = lambda: False  # whether bulk work is queued
        self._network = network
        self._empty_interest = empty_interest
        self._keys: dict[int, tuple[SelectorKey, SimSocket | SimListener]] = {}
        self._moves = 0
        self._hasty = 0  # turns in a row that did not wait, nothing having moved

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if not events:
            raise ValueError("no events")
        number = fileobj.fileno()
        if number in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        network = self._network
        end = network.descriptors[number]
        assert isinstance(end, SimSocket | SimListener)
        key = SelectorKey(fileobj, number, events, data)
        self._keys[number] = key, end
        network.watched.add(number)
        end.barren = 0
        network.changed = True
        network.moves += 1  # a client was connected, which may take many turns for a crowd
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        key, _ = self._keys.pop(fileobj.fileno())
        self._network.watched.discard(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        if not events and not self._empty_interest:
            self.unregister(fileobj)
            raise ValueError("no events")
        _, end = self._keys[fileobj.fileno()]
        key = SelectorKey(fileobj, fileobj.fileno(), events, data)
        self._keys[key.fd] = key, end
        end.barren = 0
        self._network.changed = True
        return key

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return {key.fileobj: key for key, _ in self._keys.values()}

    def close(self) -> None:
        self._network.watched.clear()
        self._keys.clear()

    def interest(self, descriptor: int) -> int:
        """The events that are waited for there; -1: it is not registered."""
        return self._keys[descriptor][0].events if descriptor in self._keys else -1

    def is_ready(self) -> bool:
        """Whether `select` would report something without waiting."""
        return bool(self._ready())

    def select(self, timeout: float | None = None) -> Ready:
        network = self._network
        network.tick()
        if timeout != 0 and self.has_work():
            raise Violation("the loop sleeps while bulk work waits for its turn")
        ready = self._ready()
        if not ready and (timeout is None or timeout > 0):
            self._hasty = 0
            ready = self._wait(float("inf") if timeout is None else network.time + timeout)
        else:
            self._watch_for_spin(ready)
        if not network.calm:
            network.random.shuffle(ready)
        return ready

    def _ready(self) -> Ready:
        network = self._network
        network.changed = False
        ready: Ready = []
        for key, end in self._keys.values():
            mask = 0
            hung_up = end.hung_up
            if key.events & EVENT_READ and (hung_up or end.readable):
                mask = EVENT_READ
            if key.events & EVENT_WRITE and (hung_up or end.writable):
                mask |= EVENT_WRITE
            if mask or hung_up:
                ready.append((key, mask))
        return ready

    def _wait(self, until: float) -> Ready:
        network = self._network
        while network.advance(until):
            if network.changed and (ready := self._ready()):
                return ready
            if self.has_wakeup():
                raise Violation("a wake-up was lost: the loop sleeps and a thread has called it")
        return []

    def _watch_for_spin(self, ready: Ready) -> None:
        for key, _ in ready:
            end = self._keys[key.fd][1]
            end.barren += 1
            if end.barren > SPIN_REPORTS:
                raise Violation(f"spin: {end} is ready again and again, and no byte moves")
        moves, self._moves = self._moves, self._network.moves
        self._hasty = self._hasty + 1 if moves == self._network.moves else 0
        if self._hasty > self.spin_turns:
            raise Violation("spin: the loop turns without waiting, and nothing moves")
