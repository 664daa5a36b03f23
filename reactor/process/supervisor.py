"""The parent of processes that serve: it holds their listening sockets and passes signals on.

A child loads the application while the one before it serves. When the new one is ready, the old one
gets SIGTERM and drains. Both accept from the same sockets for a moment, so no connection is
refused. A child is LOADING, then SERVING, then LEAVING; at most one is loading and at most one
serving.

Every child that has to end has a time limit, and is killed after it. The parent ends when all of
its children have ended. It imports nothing of the application, so nothing of an old version can
stay behind.

A subclass decides when a child is started: see reloader.py.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from selectors import EVENT_READ
from typing import Any, Final

from reactor.errors import reason_of
from reactor.loop.reactor import Reactor
from reactor.process.child import LEFT_TO_THE_PARENT, MARGIN
from reactor.process.ipc import Ended, Inheritance, Message, MessageDecoder, Seen
from reactor.process.listening import Listening
from reactor.process.serve import say
from reactor.process.terminal import has_terminal

LEAVING_MOST: Final = 4  # old children that drain; of more the oldest is killed
PATIENCE_AFTER_SECOND_SIGNAL: Final = 1.5  # seconds; a child has 0.8 of its own


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
    """Runs `python -m reactor` with the same arguments in children, one version at a time."""

    def __init__(
        self,
        arguments: Sequence[str],
        listening: Sequence[Listening],
        ending_seconds: float,
    ) -> None:
        """The sockets are bound; the first signal closes them."""
        self.reactor = Reactor()
        self.first = True  # no child has served yet
        self._command = command_of_child(arguments)
        self._listening = listening
        self._patience = ending_seconds + MARGIN
        self._children: list[Child] = []  # running, in the order of their start
        self._signals = 0
        self._hung_up = False  # the end came by SIGHUP: the next signal is the first one
        self._in_terminal = has_terminal()
        self._last: Child | None = None  # the one that served at the first signal
        self._status = 0

    def run(self) -> int:
        """Run until SIGINT or SIGTERM; 0 if the child that served has ended in order, else 1."""
        self._lifeline, mine = os.pipe()  # `mine` stays open until this process ends
        self._obey_signals()
        self.begin()
        self.reactor.run()
        self.reactor.close()
        for descriptor in (self._lifeline, mine):
            os.close(descriptor)
        return self._status

    # --- for the subclass ------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the first child."""
        self.start(())

    def imports(self, child: Child, seen: Seen) -> None:
        """A child is about to import a file."""

    def took_over(self, child: Child) -> None:
        """A child serves in place of the one before it."""

    def not_loaded(self, child: Child | None) -> None:
        """A child has ended before it served; None: it could not be started."""

    def died(self, child: Child) -> None:
        """The child that served has ended by itself."""

    def ending(self) -> None:
        """A signal ends the parent: nothing may be started any more."""

    def one(self, state: ChildState) -> Child | None:
        """The child in this state, LOADING or SERVING."""
        return next((one for one in self._children if one.state is state), None)

    def start(self, changes: Iterable[str]) -> None:
        """Start a child, in place of one that is still loading; `changes` are its files' names."""
        loading = self.one(LOADING)
        if loading is not None:
            self._dismiss(loading)
        try:
            self._children.append(self._spawn(changes))
        except OSError as error:
            say(f"Cannot start a process: {reason_of(error)}")
            self.not_loaded(None)

    # --- children --------------------------------------------------------------------------------

    def take(self, child: Child, message: Message) -> None:
        """Handle a message of a child."""
        if isinstance(message, Seen):
            child.files.add(message.path)
            self.imports(child, message)
        elif isinstance(message, Ended):
            child.status = message.status
        elif child.state is LOADING:
            self._take_over(child)

    def _spawn(self, changes: Iterable[str]) -> Child:
        """Raises OSError."""
        reading, writing = os.pipe()
        inheritance = Inheritance(
            [(one.socket.fileno(), one.role.value) for one in self._listening],
            writing,
            self._lifeline,
            self.first,
        )
        # Blocked until the child has handlers: Ctrl-C would interrupt the start of Python.
        signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_PARENT)
        try:
            process = subprocess.Popen(
                self._command, pass_fds=inheritance.descriptors, env=inheritance.environment()
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_PARENT)
            os.close(writing)
        return Child(self, process, reading, changes)

    def _take_over(self, child: Child) -> None:
        old = self.one(SERVING)
        child.state = SERVING
        for number in child.missed:
            child.process.send_signal(number)
        self.took_over(child)
        self.first = False
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
            say(f"Process {child.process.pid} did not end within {within}, and is killed")
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
        elif child.state is LOADING and child.status == 1 and self.first:
            self._status = 1  # a change of the application cannot help
            self._end()
        elif child.state is LOADING:
            self.not_loaded(child)
        elif child.state is SERVING:
            self.died(child)

    # --- signals ---------------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        def obey(number: int, method: Any, *arguments: Any) -> None:
            signal.signal(number, lambda *_: self.reactor.call_soon_threadsafe(method, *arguments))

        obey(signal.SIGCHLD, self._reap)
        for number in (signal.SIGINT, signal.SIGTERM):
            obey(number, self._end_by_signal)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # and not ignored, as by nohup
            obey(signal.SIGHUP, self._hang_up)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            obey(number, self._pass_on, number)

    def _pass_on(self, number: int) -> None:
        for child in self._children:
            if child.state is LOADING:
                child.missed.append(number)
            else:
                child.process.send_signal(number)

    def _hang_up(self) -> None:
        """Start a new child. Where the terminal has closed, which sends SIGHUP as well, drain."""
        if self._signals:
            return
        if self._in_terminal and not has_terminal():
            self._hung_up = True
            self._end()
        else:
            self.start(())

    def _end_by_signal(self) -> None:
        if self._hung_up:  # drains already: a session that ends may send SIGTERM beside SIGHUP
            self._hung_up = False
        else:
            self._end()

    def _end(self) -> None:
        """Drain at the first signal, end at the second one, and kill at the third."""
        self._signals += 1
        self._last = self._last or self.one(SERVING)
        for listening in self._listening:
            listening.socket.close()  # a child closes its own when it drains
        self.ending()
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


def command_of_child(arguments: Sequence[str]) -> list[str]:
    """The command of a child: this Python with its own options (`-X`, `-W`, ...)."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(arguments)]
    options = before[: before.index("-m")] if "-m" in before else []
    return [sys.executable, *options, "-m", "reactor", *arguments]
