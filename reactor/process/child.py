"""What the parent of `--reload` and its children have in common: descriptors and a few words.

A child is given the listening sockets, the writing end of a pipe for its reports, and the reading
end of one into which nobody writes: it ends with the parent, however that ends, and the child ends
with it. Which descriptors these are is in an environment variable. It is taken out of the
environment at once and the descriptors are made private, so that what the application starts
inherits none of it.

A report is a line of JSON: `["file", path, mark]` of what is about to be imported, for as long as
the child runs; `["ready"]` when the application is loaded and the loop begins; `["ended", status]`
before it ends in order. A child that ends without a word has crashed.

The terminal sends Ctrl-C to all of them. Only the parent obeys it, and tells the others: otherwise
a child would be told twice, which means "now".
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any, Final, TypeAlias

from reactor.process.file_watcher import Mark, mark
from reactor.process.import_hook import Finder
from reactor.server.server import Server

VARIABLE: Final = "_REACTOR_RELOAD"
GRACE: Final = 0.5  # seconds that an idle connection stays open after others have taken over
MARGIN: Final = 2.0  # seconds after `shutdown_timeout` in which a process has to end
REPORT_BYTES: Final = 1 << 20  # a longer line is none of ours


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a child inherits: descriptors, and whether none before it has served."""

    listening: list[int]
    reports: int
    lifeline: int
    first: bool

    @property
    def descriptors(self) -> list[int]:
        return [*self.listening, self.reports, self.lifeline]

    def environment(self) -> dict[str, str]:
        """Ours, with the variable."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}


@dataclass(frozen=True, slots=True)
class Seen:
    """A file is about to be imported, or would be if it were there."""

    path: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Ready:
    """The application is loaded, and the child accepts."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child has said why, and ends."""

    status: int


Report: TypeAlias = Seen | Ready | Ended


class MessageDecoder:
    """Bytes to reports."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Report]:
        """What is whole. What is no report, because the application wrote it, is passed over."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > REPORT_BYTES:
            self._buffer = b""
        for line in lines:
            report = _parse(line)
            if report is not None:
                yield report


class ReloadChild:
    """This process, as one that the parent has started."""

    def __init__(self, given: Inheritance) -> None:
        self._given = given
        self._telling = threading.Lock()  # a handler may import something on a thread
        for descriptor in given.descriptors:
            os.set_inheritable(descriptor, False)

    @classmethod
    def inherited(cls) -> "ReloadChild | None":
        """None: this process is not one."""
        given = os.environ.pop(VARIABLE, None)
        return None if given is None else cls(Inheritance(**json.loads(given)))

    @property
    def first(self) -> bool:
        """Whether none before it has served."""
        return self._given.first

    def begin(self, application: str, shutdown_timeout: float) -> None:
        """Before the application is imported: watch for the end of the parent, report imports."""
        signal.signal(signal.SIGINT, _left_to_the_parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # see `Supervisor._spawn`
        arguments = (self._given.lifeline, shutdown_timeout + MARGIN)
        threading.Thread(target=_end_with, args=arguments, name="lifeline", daemon=True).start()
        Finder(application, self._saw).install()

    def listen(self, server: Server) -> tuple[Any, ...]:
        """Accept from the sockets of the parent; the address of the first."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in self._given.listening]
        for listening in sockets:
            server.listen_on(listening)
        address: tuple[Any, ...] = sockets[0].getsockname()
        return address

    def ready(self) -> None:
        """The loop is about to run; from now on signals drain it."""
        self._tell("ready")

    def ended(self, status: int) -> None:
        self._tell("ended", status)

    def _saw(self, path: str) -> None:
        self._tell("file", path, mark(path))

    def _tell(self, *report: Any) -> None:
        left = memoryview(json.dumps(report).encode() + b"\n")
        try:
            with self._telling:
                while left:
                    left = left[os.write(self._given.reports, left) :]
        except OSError:
            pass  # the parent is gone, and the lifeline will tell


def _parse(line: bytes) -> Report | None:
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match report:
        case ["file", str(path), None]:
            return Seen(path, None)
        case ["file", str(path), [int(changed), int(size), int(inode)]]:
            return Seen(path, (changed, size, inode))
        case ["ready"]:
            return Ready()
        case ["ended", int(status)]:
            return Ended(status)
        case _:
            return None


def _left_to_the_parent(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which what the application starts would inherit."""


def _end_with(lifeline: int, patience: float) -> None:
    """On a thread: when the parent has ended, drain; an application that hangs is not waited for.

    While it is still loaded, SIGTERM has its default effect.
    """
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience)
    os._exit(1)
