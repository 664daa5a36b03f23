"""`--reload`: starts a new child when files that the application has imported change.

A version that cannot be loaded prints its error and ends, and the previous version goes on
serving. A child that dies is replaced: soon after the first time, and later each further time,
since it may die of the same cause again. It is not replaced while the files on the disk are known
to be broken. supervisor.py has the children, their sockets and their signals.
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from reactor.loop.timers import Timer
from reactor.process.file_watcher import Watch
from reactor.process.ipc import Seen
from reactor.process.listening import Listening
from reactor.process.serve import say
from reactor.process.supervisor import LOADING, SERVING, Child, Supervisor

POLL_SECONDS: Final = 0.25  # between two checks of the files
SETTLE_SECONDS: Final = 0.1  # the same, while changes settle
WATCH_SHARE: Final = 0.05  # the most of the time that checks take; the pauses grow for it
CRASH_SECONDS: Final = 0.25  # until a child that died is replaced; doubled each time
CRASH_SECONDS_MOST: Final = 16.0  # the longest such pause; a child that lived longer resets it
NAMES_MOST: Final = 3  # changed files that are named in one line


class Reloader(Supervisor):
    """Starts `python -m reactor` with the same arguments again whenever its application changes."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: Sequence[Listening],
        ending_seconds: float,
    ) -> None:
        """The sockets are bound; the first signal closes them."""
        super().__init__(arguments, listening, ending_seconds)
        self._watch = Watch()
        self._check_timer: Timer | None = None
        self._crash_timer: Timer | None = None
        self._crashes = 0  # in a row
        self._broken = False  # the files on the disk could not be loaded

    def begin(self) -> None:
        """Begin to check the files, and start the first child."""
        self._check_files()
        super().begin()

    def start(self, changes: Iterable[str]) -> None:
        """Start a child that loads the files on the disk."""
        _cancel(self._crash_timer)
        self._broken = False
        super().start(changes)

    def imports(self, child: Child, seen: Seen) -> None:
        """Watch the file, if the newest child imports it."""
        if child is (self.one(LOADING) or self.one(SERVING)):
            self._watch.add(seen.path, seen.mark)

    def took_over(self, child: Child) -> None:
        """Watch the files of this child only, and print why it was started."""
        self._watch.keep(child.files)
        if self.first:
            count = self._watch.count()
            say(f"Watching {count} file{'' if count == 1 else 's'} for changes")
        elif child.changes:
            say(f"Reloaded, changed: {_names(child.changes)}")
        else:
            say("Started again")

    def not_loaded(self, child: Child | None) -> None:
        """Print what goes on; the child has printed its own error."""
        if child is not None:
            if child.status is None:
                say(f"The application has ended while it was loaded, {_how(child.process)}")
            self._broken = True
        self._go_on_without()

    def died(self, child: Child) -> None:
        """Start another child after a pause, unless the files are known to be broken."""
        say(f"The application has ended by itself, {_how(child.process)}")
        if self.reactor.clock() - child.began > CRASH_SECONDS_MOST:
            self._crashes = 0
        if self._broken:
            self._go_on_without()
        elif self.one(LOADING) is None:
            pause = min(CRASH_SECONDS_MOST, CRASH_SECONDS * 2**self._crashes)
            self._crashes += 1
            say(f"It is started again in {pause:g} s, or when a file changes")
            self._crash_timer = self.reactor.call_later(pause, self.start, ())

    def ending(self) -> None:
        """Stop the timers."""
        _cancel(self._check_timer)
        _cancel(self._crash_timer)

    def _go_on_without(self) -> None:
        if self.one(SERVING) is not None:
            say("The previous version goes on serving")
        else:
            say("Nothing is served until a file changes")

    def _check_files(self) -> None:
        """Check all watched files, now and again and again."""
        began = self.reactor.clock()
        changes = self._watch.look(began)
        pause = SETTLE_SECONDS if self._watch.restless() else POLL_SECONDS
        took = self.reactor.clock() - began
        self._check_timer = self.reactor.call_later(
            max(pause, took / WATCH_SHARE), self._check_files
        )
        if changes:
            self._crashes = 0
            self.start(changes)


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()


def _how(process: subprocess.Popen[bytes]) -> str:
    """How the process has ended."""
    status = process.returncode
    if status >= 0:
        return f"with exit status {status}"
    return f"by signal {-status} ({signal.strsignal(-status)})"


def _names(paths: Sequence[str]) -> str:
    """The first few paths, relative to the current directory."""
    here = os.path.join(os.getcwd(), "")
    names = [path.removeprefix(here) for path in sorted(paths)]
    shown = [name if name.isprintable() else repr(name) for name in names[:NAMES_MOST]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
