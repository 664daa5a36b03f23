"""The parent of `--reload`: it holds the listening sockets and starts a child for each child.

The parent imports nothing of the application, so nothing of an old version can stay behind. When
watched files have changed, a new child loads the application while the old one serves. When the new
one is ready, the old one gets SIGTERM and drains. Both accept from the same sockets for a moment,
so no connection is refused. A version that cannot be loaded prints its error and ends, and the
version before it goes on serving.

A child is LOADING, then SERVING, then LEAVING; at most one is loading and at most one serving. A
child that dies is replaced: soon after the first time, and later each further time, since it may
die of the same cause again. It is not replaced while the files on the disk are known to be broken.

Every child that has to end has a time limit, and is killed after it. The parent ends when all of
its children have ended.
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
from reactor.process.child import MARGIN
from reactor.process.file_watcher import Watch
from reactor.process.ipc import Ended, Inheritance, Message, MessageDecoder, Seen

POLL_SECONDS: Final = 0.25  # between two checks of the files
SETTLE_SECONDS: Final = 0.1  # the same, while changes settle
WATCH_SHARE: Final = 0.05  # the most of the time that checks take; the pauses grow for it
CRASH_SECONDS: Final = 0.25  # until a child that died is replaced; doubled each time
CRASH_SECONDS_MOST: Final = 16.0  # the longest such pause; a child that lived longer resets it
LEAVING_MOST: Final = 4  # old children that drain; of more the oldest is killed
PATIENCE_AFTER_SECOND_SIGNAL: Final = 1.5  # seconds; a child has 0.8 of its own
NAMES_MOST: Final = 3  # changed files that are named in one line


class ChildState(IntEnum):
    """The states of a child."""

    LOADING = 0
    SERVING = 1
    LEAVING = 2


LOADING, SERVING, LEAVING = ChildState


class Child:
    """A child process: the application as it was on the disk when the child loaded it."""

    def __init__(
        self,
        supervisor: "Supervisor",
        process: subprocess.Popen[bytes],
        reports: int,
        changes: Iterable[str],
    ) -> None:
        """The child owns `reports`, the reading end of its pipe."""
        self.process = process
        self.state: ChildState = LOADING
        self.began = supervisor.reactor.clock()
        self.changes = list(changes)  # the files for which it was started
        self.files: set[str] = set()
        self.missed: list[int] = []  # signals that came while it was loading
        self.status: int | None = None  # as it has reported; None: not yet
        self._supervisor = supervisor
        self._descriptor = reports
        self._reports = MessageDecoder()
        os.set_blocking(reports, False)
        supervisor.reactor.selector.register(reports, EVENT_READ, self)

    def on_events(self, mask: int) -> None:
        """Read messages; called by the loop."""
        self._read()

    def abort(self) -> None:
        """Do nothing: a failure to handle one message must not end the child."""

    def close(self) -> None:
        """Read the last messages of a child that has ended, and close its pipe."""
        while self._read():
            pass
        self._stop_reading()

    def _read(self) -> bool:
        """Whether there may be more. Forks of the application may keep the pipe open."""
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
    """Starts `python -m reactor` with the same arguments again whenever its application changes."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: Sequence[socket.socket],
        shutdown_timeout: float,
    ) -> None:
        """The sockets are bound; the first signal closes them."""
        self.reactor = Reactor()
        self._command = _command(arguments)
        self._listening = listening
        self._patience = shutdown_timeout + MARGIN
        self._watch = Watch()
        self._children: list[Child] = []  # running, in the order of their start
        self._look_timer: Timer | None = None
        self._crash_timer: Timer | None = None
        self._crashes = 0  # in a row
        self._signals = 0
        self._last: Child | None = None  # the one that served at the first signal
        self._status = 0
        self._first = True  # no child has served yet
        self._broken = False  # the files on the disk could not be loaded

    def run(self) -> int:
        """Run until SIGINT or SIGTERM; 0 if the child that served has ended in order, else 1."""
        self._lifeline, mine = os.pipe()  # `mine` stays open until this process ends
        self._obey_signals()
        self._look()
        self._start(())
        self.reactor.run()
        self.reactor.close()
        for descriptor in (self._lifeline, mine):
            os.close(descriptor)
        return self._status

    def take(self, child: Child, report: Message) -> None:
        """Handle a message of a child."""
        if isinstance(report, Seen):
            child.files.add(report.path)
            if child is (self._one(LOADING) or self._one(SERVING)):
                self._watch.add(report.path, report.mark)
        elif isinstance(report, Ended):
            child.status = report.status
        elif child.state is LOADING:
            self._take_over(child)

    # --- children --------------------------------------------------------------------------------

    def _one(self, state: ChildState) -> Child | None:
        return next((one for one in self._children if one.state is state), None)

    def _start(self, changes: Iterable[str]) -> None:
        """Start a child that loads the files on the disk."""
        _cancel(self._crash_timer)
        self._broken = False
        loading = self._one(LOADING)
        if loading is not None:
            self._dismiss(loading)
        try:
            self._children.append(self._spawn(changes))
        except OSError as error:
            _say(f"cannot start a process: {error.strerror}")
            self._go_on_without()

    def _spawn(self, changes: Iterable[str]) -> Child:
        """Raises OSError."""
        reading, writing = os.pipe()
        inheritance = Inheritance(
            [one.fileno() for one in self._listening], writing, self._lifeline, self._first
        )
        # Blocked until the child has a handler: Ctrl-C would interrupt the start of Python.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                self._command, pass_fds=inheritance.descriptors, env=inheritance.environment()
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.close(writing)
        return Child(self, process, reading, changes)

    def _take_over(self, child: Child) -> None:
        old = self._one(SERVING)
        child.state = SERVING
        for number in child.missed:
            child.process.send_signal(number)
        self._watch.keep(child.files)
        if self._first:
            _say(f"{self._watch.count()} files are watched for changes")
        elif child.changes:
            _say(f"reloaded, changed: {_names(child.changes)}")
        else:
            _say("started again")
        self._first = False
        if old is not None:
            self._dismiss(old)

    def _dismiss(self, child: Child) -> None:
        """Have the child drain. The time for that is limited, and so is the number that do."""
        child.state = LEAVING
        child.process.terminate()
        self.reactor.call_later(self._patience, self._kill, child, f"{self._patience:g} s")
        leaving = [one for one in self._children if one.state is LEAVING]
        if len(leaving) > LEAVING_MOST:
            self._kill(leaving[0], f"the next {LEAVING_MOST} reloads")

    def _kill(self, child: Child, within: str) -> None:
        if child in self._children and child.process.poll() is None:
            _say(f"process {child.process.pid} did not end within {within}, and is killed")
            child.process.kill()

    def _reap(self) -> None:
        """Handle the end of one child or several."""
        for child in tuple(self._children):
            if child.process.poll() is not None:
                child.close()
                self._children.remove(child)
                self._ended(child)

    def _ended(self, child: Child) -> None:
        if self._signals:
            if child is self._last and child.process.returncode != 0:
                self._status = 1
            self._stop_if_done()
        elif child.state is LOADING:
            self._not_loaded(child)
        elif child.state is SERVING:
            self._died(child)

    def _not_loaded(self, child: Child) -> None:
        if child.status == 1 and self._first:
            self._status = 1  # a change of the application cannot help
            self._end()
            return
        if child.status is None:
            _say(f"the application has ended while it was loaded, {_how(child.process)}")
        self._broken = True
        self._go_on_without()

    def _go_on_without(self) -> None:
        if self._one(SERVING) is not None:
            _say("the version before it goes on serving")
        else:
            _say("nothing is served until a file changes")

    def _died(self, child: Child) -> None:
        _say(f"the application has ended by itself, {_how(child.process)}")
        if self.reactor.clock() - child.began > CRASH_SECONDS_MOST:
            self._crashes = 0
        if self._broken:
            self._go_on_without()
        elif self._one(LOADING) is None:
            pause = min(CRASH_SECONDS_MOST, CRASH_SECONDS * 2**self._crashes)
            self._crashes += 1
            _say(f"it is started again in {pause:g} s, or when a file changes")
            self._crash_timer = self.reactor.call_later(pause, self._start, ())

    # --- files and signals --------------------------------------------------------------------

    def _look(self) -> None:
        """Check all watched files, now and again and again."""
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
        for child in self._children:
            if child.state is LOADING:
                child.missed.append(number)
            else:
                child.process.send_signal(number)

    def _end(self) -> None:
        """Drain at the first signal, end at the second one, and kill at the third."""
        self._signals += 1
        self._last = self._last or self._one(SERVING)
        for listening in self._listening:
            listening.close()  # a child closes its own when it drains
        _cancel(self._look_timer)
        _cancel(self._crash_timer)
        for child in self._children:
            if self._signals > 2:
                child.process.kill()
            elif self._signals == 2:
                child.process.terminate()
                pause = PATIENCE_AFTER_SECOND_SIGNAL
                self.reactor.call_later(pause, self._kill, child, f"{pause:g} s")
            elif child.state is not LEAVING:
                self._dismiss(child)
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if not self._children:
            self.reactor.stop()


def _command(arguments: Sequence[str]) -> list[str]:
    """The command of a child: this Python with its own options (`-X`, `-W`, ...)."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
    options = before[:-2] if before[-2:] == ["-m", "reactor"] else []
    return [sys.executable, *options, "-m", "reactor", *arguments]


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


def _say(sentence: str) -> None:
    try:
        print(f"reactor: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        pass  # a closed standard error is no reason to stop serving
