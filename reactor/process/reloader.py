"""The parent of `--reload`: holds the listening sockets, and starts a child for each version.

It imports nothing of the application, so nothing of an old version can stay behind. When watched
files have changed, a new child loads the application while the old one serves; only when the new
one is ready is the old one told to drain. Both accept from the same sockets for a moment, so no
connection is refused. A version that cannot be loaded ends with its error, and whichever served
before goes on.

A child is LOADING, then SERVING, then LEAVING; one at most is loading and one serving. One that
dies by itself is replaced: soon the first time, then later and later, as it may die of what it
always does; but not while what is on the disk is known to be broken.

Whatever is told to end has a time to do so in, and is killed then. The parent ends when all of its
children have.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from selectors import EVENT_READ
from typing import Any, Final

from reactor.loop.reactor import Reactor
from reactor.loop.timers import Timer
from reactor.process.child import MARGIN, Ended, Inheritance, MessageDecoder, Ready, Seen
from reactor.process.file_watcher import Watch

POLL_SECONDS: Final = 0.25  # between two looks at the files,
SETTLE_SECONDS: Final = 0.1  # when some have changed,
WATCH_SHARE: Final = 0.05  # and longer where looking would take more of the time than this
CRASH_SECONDS: Final = 0.25  # until a child that died is replaced, doubled each time,
CRASH_SECONDS_MOST: Final = 16.0  # and as at first for one that has lived longer than this
LEAVING_MOST: Final = 4  # old versions that drain; more: the oldest is killed
PATIENCE_AFTER_SECOND_SIGNAL: Final = 1.5  # seconds; a child has 0.8 of its own
NAMES_MOST: Final = 3  # changed files that are named


class State(IntEnum):
    """Of a child."""

    LOADING = 0
    SERVING = 1
    LEAVING = 2


LOADING, SERVING, LEAVING = State


class Child:
    """A child: the application as it was on the disk when it was loaded."""

    def __init__(
        self,
        supervisor: "Supervisor",
        process: subprocess.Popen[bytes],
        reports: int,
        changes: Iterable[str],
    ) -> None:
        """Owns `reports`, the reading end of the child's pipe."""
        self.process = process
        self.state: State = LOADING
        self.began = supervisor.reactor.clock()
        self.changes = list(changes)  # why it was started
        self.files: set[str] = set()
        self.missed: list[int] = []  # signals to be passed on that came while it was loading
        self.status: int | None = None  # None: it has not said that it ends
        self._supervisor = supervisor
        self._descriptor = reports
        self._reports = MessageDecoder()
        os.set_blocking(reports, False)
        supervisor.reactor.selector.register(reports, EVENT_READ, self)

    def on_events(self, mask: int) -> None:
        self._read()

    def abort(self) -> None:
        """An error of ours with one report may not end what has been told to end by nobody."""

    def close(self) -> None:
        """It has ended. Read what it still said."""
        while self._read():
            pass
        self._stop_reading()

    def _read(self) -> bool:
        """Whether there may be more. What the application has forked may hold the pipe open."""
        if self._descriptor < 0:
            return False
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return False
        for report in self._reports.feed(data):
            self._supervisor.take(self, report)
        if not data:
            self._stop_reading()
        return bool(data)

    def _stop_reading(self) -> None:
        if self._descriptor >= 0:
            self._supervisor.reactor.selector.unregister(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


class Supervisor:
    """Restarts `python -m reactor` with the same arguments while its application changes."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: Sequence[socket.socket],
        shutdown_timeout: float,
    ) -> None:
        """The sockets are bound, and closed at the first signal."""
        self.reactor = Reactor()
        self._command = _command(arguments)
        self._listening = listening
        self._patience = shutdown_timeout + MARGIN
        self._watch = Watch()
        self._versions: list[Child] = []  # that run, in the order of their start
        self._look_timer: Timer | None = None
        self._crash_timer: Timer | None = None
        self._crashes = 0  # one after the other
        self._signals = 0
        self._last: Child | None = None  # that served when the first of them came
        self._status = 0
        self._first = True  # none has served yet
        self._broken = False  # what is on the disk could not be loaded

    def run(self) -> int:
        """Until SIGINT or SIGTERM; the exit status: 0 if what served has ended in order."""
        self._lifeline, mine = os.pipe()  # `mine` is never used, and closed by our end
        self._obey_signals()
        self._look()
        self._start(())
        self.reactor.run()
        self.reactor.close()
        for descriptor in (self._lifeline, mine):
            os.close(descriptor)
        return self._status

    def take(self, version: Child, report: Seen | Ready | Ended) -> None:
        """What a child has reported."""
        if isinstance(report, Seen):
            version.files.add(report.path)
            if version is (self._one(LOADING) or self._one(SERVING)):
                self._watch.add(report.path, report.mark)
        elif isinstance(report, Ended):
            version.status = report.status
        elif version.state is LOADING:
            self._take_over(version)

    # --- versions --------------------------------------------------------------------------------

    def _one(self, state: State) -> Child | None:
        return next((one for one in self._versions if one.state is state), None)

    def _start(self, changes: Iterable[str]) -> None:
        """Load what is on the disk now."""
        _cancel(self._crash_timer)
        self._broken = False
        loading = self._one(LOADING)
        if loading is not None:
            self._dismiss(loading)
        try:
            self._versions.append(self._spawn(changes))
        except OSError as error:
            _say(f"cannot start a process: {error.strerror}")
            self._go_on_without()

    def _spawn(self, changes: Iterable[str]) -> Child:
        """Raises OSError."""
        reading, writing = os.pipe()
        given = Inheritance(
            [one.fileno() for one in self._listening], writing, self._lifeline, self._first
        )
        # Blocked until the child says what it means to it: Ctrl-C would end Python's start.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                self._command, pass_fds=given.descriptors, env=given.environment()
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(writing)
        return Child(self, process, reading, changes)

    def _take_over(self, version: Child) -> None:
        old = self._one(SERVING)
        version.state = SERVING
        for number in version.missed:
            version.process.send_signal(number)
        self._watch.keep(version.files)
        if self._first:
            _say(f"{self._watch.count()} files are watched for changes")
        elif version.changes:
            _say(f"reloaded, changed: {_names(version.changes)}")
        else:
            _say("started again")
        self._first = False
        if old is not None:
            self._dismiss(old)

    def _dismiss(self, version: Child) -> None:
        """Let it drain; the time for that is bounded, and so is how many do."""
        version.state = LEAVING
        version.process.terminate()
        self.reactor.call_later(self._patience, self._kill, version, f"{self._patience:g} s")
        leaving = [one for one in self._versions if one.state is LEAVING]
        if len(leaving) > LEAVING_MOST:
            self._kill(leaving[0], f"the next {LEAVING_MOST} reloads")

    def _kill(self, version: Child, within: str) -> None:
        if version in self._versions and version.process.poll() is None:
            _say(f"process {version.process.pid} did not end within {within}, and is killed")
            version.process.kill()

    def _reap(self) -> None:
        """A child has ended, or several."""
        for version in tuple(self._versions):
            if version.process.poll() is not None:
                version.close()
                self._versions.remove(version)
                self._ended(version)

    def _ended(self, version: Child) -> None:
        if self._signals:
            if version is self._last and version.process.returncode != 0:
                self._status = 1
            self._stop_if_done()
        elif version.state is LOADING:
            self._not_loaded(version)
        elif version.state is SERVING:
            self._died(version)

    def _not_loaded(self, version: Child) -> None:
        if version.status == 1 and self._first:
            self._status = 1  # no change of the application makes that good
            self._end()
            return
        if version.status is None:
            _say(f"the application has ended while it was loaded, {_how(version.process)}")
        self._broken = True
        self._go_on_without()

    def _go_on_without(self) -> None:
        if self._one(SERVING) is not None:
            _say("what was loaded before goes on")
        else:
            _say("nothing is served until a file changes")

    def _died(self, version: Child) -> None:
        _say(f"the application has ended by itself, {_how(version.process)}")
        if self.reactor.clock() - version.began > CRASH_SECONDS_MOST:
            self._crashes = 0
        if self._broken:
            self._go_on_without()
        elif self._one(LOADING) is None:
            pause = min(CRASH_SECONDS_MOST, CRASH_SECONDS * 2**self._crashes)
            self._crashes += 1
            _say(f"it is started again in {pause:g} s, or when a file changes")
            self._crash_timer = self.reactor.call_later(pause, self._start, ())

    # --- what happens outside --------------------------------------------------------------------

    def _look(self) -> None:
        """At all files that are watched, and again."""
        began = self.reactor.clock()
        changes = self._watch.look(began)
        pause = SETTLE_SECONDS if self._watch.restless() else POLL_SECONDS
        took = self.reactor.clock() - began
        self._look_timer = self.reactor.call_later(max(pause, took / WATCH_SHARE), self._look)
        if changes:
            self._crashes = 0
            self._start(changes)

    def _obey_signals(self) -> None:
        def obey(number: int, method: Any, *arguments: Any) -> None:
            signal.signal(number, lambda *_: self.reactor.call_soon_threadsafe(method, *arguments))

        obey(signal.SIGCHLD, self._reap)
        for number in (signal.SIGINT, signal.SIGTERM):
            obey(number, self._end)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            obey(number, self._pass_on, number)

    def _pass_on(self, number: int) -> None:
        for version in self._versions:
            if version.state is LOADING:
                version.missed.append(number)
            else:
                version.process.send_signal(number)

    def _end(self) -> None:
        """The first signal drains, the second ends, and a third does not wait for that."""
        self._signals += 1
        self._last = self._last or self._one(SERVING)
        for listening in self._listening:
            listening.close()  # a child does the same when it drains
        _cancel(self._look_timer)
        _cancel(self._crash_timer)
        for version in self._versions:
            if self._signals > 2:
                version.process.kill()
            elif self._signals == 2:
                version.process.terminate()
                pause = PATIENCE_AFTER_SECOND_SIGNAL
                self.reactor.call_later(pause, self._kill, version, f"{pause:g} s")
            elif version.state is not LEAVING:
                self._dismiss(version)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if not self._versions:
            self.reactor.stop()


def _command(arguments: Sequence[str]) -> list[str]:
    """Python as it was started here, with its own options (`-X`, `-W`, ...)."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
    options = before[:-2] if before[-2:] == ["-m", "reactor"] else []
    return [sys.executable, *options, "-m", "reactor", *arguments]


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()


def _how(process: subprocess.Popen[bytes]) -> str:
    """How it has ended."""
    status = process.returncode
    if status >= 0:
        return f"with exit status {status}"
    return f"by signal {-status} ({signal.strsignal(-status)})"


def _names(paths: Sequence[str]) -> str:
    """The first few, as they are called from here."""
    here = os.path.join(os.getcwd(), "")
    names = [path.removeprefix(here) for path in sorted(paths)]
    shown = [name if name.isprintable() else repr(name) for name in names[:NAMES_MOST]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _say(sentence: str) -> None:
    try:
        print(f"reactor: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody reads it, which is no reason to stop serving
