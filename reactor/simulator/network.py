"""Time, chance, an agenda and a trace: what everything simulated has in common.

Nothing here waits. Time stands still while code runs and jumps to the next entry of the agenda when
the server's selector has nothing to report. All chance comes from one generator with one seed, so a
seed is a whole history, and the trace of a seed is always the same.

Everything that acts beside the server is a script: a generator that yields how long it sleeps, or
the socket or client whose news it waits for. Threads of the pool are different: they may end at any
time, also in the middle of one of the server's turns, so a simulated system call gives them a
chance to (`preempt`).

A rule that is broken raises Violation. It is a FatalError, so that no handler of errors catches it.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, Final, TypeAlias

from reactor.errors import FatalError

FIRST_DESCRIPTOR: Final = 1_000_000  # nobody's real one
TICK: Final = 20e-6  # seconds that a turn of the loop takes
PREEMPTION: Final = 0.5  # how probably a thread ends within a system call

Script: TypeAlias = Generator[Any, None, None]
Action: TypeAlias = Callable[[], object]


class Violation(FatalError):
    """The server has broken a rule, and this seed shows it."""

    network: "SimNetwork"  # where it happened, once somebody has caught it


@dataclass
class Work:
    """The work of a server, counted where the simulated kernel and the handler see it."""

    reads: int = 0  # that returned bytes
    received: int = 0  # bytes
    sends: int = 0
    sent: int = 0  # bytes
    accepts: int = 0
    closes: int = 0  # sockets
    requests: int = 0  # see fairness.py
    handshakes: int = 0  # steps of them

    def since(self, earlier: "Work") -> "Work":
        """The work that was done after `earlier`."""
        before = vars(earlier)
        return Work(**{name: count - before[name] for name, count in vars(self).items()})


class SimNetwork:
    """One simulated world's time and chance. `calm`: no chance in sizes and order, for examples."""

    def __init__(self, seed: int, calm: bool = False) -> None:
        self.random = random.Random(seed)
        self.calm = calm
        self.time = 0.0
        self.trace: list[tuple[float, str, str]] = []
        self.changed = True  # some socket may have become ready
        self.moves = 0  # bytes, connections, results: progress, and so no spin
        self.work = Work()  # the server's, since it began
        self.scripts = 0  # that have not ended
        self.threads: list[Action] = []  # the action that ends the job of each running thread
        self.descriptors: dict[int, object] = {}
        self.watched: set[int] = set()  # descriptors that a selector knows
        self._free: list[int] = []
        self._agenda: list[tuple[float, int, Action]] = []
        self._serial = 0
        self._preempted = False

    def clock(self) -> float:
        """The simulated time, in seconds."""
        return self.time

    def note(self, who: str, what: str) -> None:
        """Append an entry to the trace."""
        self.trace.append((self.time, who, what))

    # --- the agenda ------------------------------------------------------------------------------

    def after(self, seconds: float, action: Action) -> None:
        """Put an action on the agenda, so many seconds from now."""
        self._serial += 1
        heappush(self._agenda, (self.time + seconds, self._serial, action))

    def advance(self, until: float) -> bool:
        """Do the next thing that is due by `until`; False: there is none, and it is `until` now."""
        agenda = self._agenda
        if agenda and agenda[0][0] <= until:
            when, _, action = heappop(agenda)
            self.time = max(self.time, when)
            action()
            return True
        if until == float("inf"):
            raise Violation("deadlock: the loop waits, and nothing will ever happen")
        self.time = max(self.time, until)
        return False

    @property
    def idle(self) -> bool:
        """Nothing is on the agenda."""
        return not self._agenda

    def tick(self) -> None:
        """A turn takes its time, and the world does not wait for it."""
        self.time += TICK
        while self._agenda and self._agenda[0][0] <= self.time:
            self.advance(self.time)

    def start(self, script: Script) -> None:
        """Run the script from now on."""
        self.scripts += 1
        self.after(0.0, lambda: self._step(script))

    def _step(self, script: Script) -> None:
        wanted = next(script, None)
        if wanted is None:
            self.scripts -= 1
        elif isinstance(wanted, float | int):
            self.after(wanted, lambda: self._step(script))
        else:
            wanted.watchers.append(lambda: self._step(script))

    def preempt(self) -> None:
        """Within a system call another thread may run, and end what it does."""
        if self.threads and not self._preempted and self.chance(PREEMPTION):
            self._preempted = True
            self.random.choice(self.threads)()
            self._preempted = False

    # --- chance ----------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """True with this probability, from 0 to 1; never in a calm network."""
        return not self.calm and self.random.random() < probability

    def some(self, most: int) -> int:
        """1 to `most`: often all, sometimes a few, anything in between."""
        if self.calm or most <= 1:
            return most
        dice = self.random.random()
        if dice < 0.6:
            return most
        return self.random.randint(1, most if dice < 0.9 else min(most, 8))

    # --- descriptors -----------------------------------------------------------------------------

    def allocate(self, owner: object) -> int:
        """The lowest free number, as the kernel does it: what was closed comes back at once."""
        number = FIRST_DESCRIPTOR + len(self.descriptors)
        if self._free:
            number = heappop(self._free)
        self.descriptors[number] = owner
        return number

    def release(self, number: int) -> None:
        """Free a descriptor. Raises Violation while a selector still has it."""
        if number in self.watched:
            raise Violation(f"{self.descriptors[number]} was closed, but the selector has it still")
        del self.descriptors[number]
        heappush(self._free, number)
