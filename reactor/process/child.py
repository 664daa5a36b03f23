"""The process that serves under `--reload`: it reports to its parent and ends with it.

ipc.py describes the messages and the file descriptors. The terminal sends Ctrl-C, and SIGHUP when
it closes, to all processes. Only the parent obeys them and sends SIGTERM to its children: a child
that obeyed both would take the second signal for "end at once".
"""

import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

from reactor.process.file_watcher import mark
from reactor.process.import_hook import Finder
from reactor.process.ipc import Inheritance, encode_message
from reactor.process.listening import Listening, Role

GRACE: Final = 0.5  # seconds that an idle connection stays open after another child has taken over
LEFT_TO_THE_PARENT: Final = frozenset({signal.SIGINT, signal.SIGHUP})
MARGIN: Final = 2.0  # seconds that a process has to end, beside its own timeouts


class ReloadChild:
    """This process, as the child of a Supervisor."""

    def __init__(self, inheritance: Inheritance) -> None:
        self._inheritance = inheritance
        self._reporting = threading.Lock()  # a handler may import something on a thread

    @classmethod
    def inherited(cls) -> "ReloadChild | None":
        """This process as a child; None where no Supervisor has started it."""
        inheritance = Inheritance.take()
        return None if inheritance is None else cls(inheritance)

    @property
    def first(self) -> bool:
        """Whether no other child has served before it."""
        return self._inheritance.first

    def begin(self, application: str, ending_seconds: float) -> None:
        """Watch for the end of the parent and report imports; call it before the first import."""
        for number in LEFT_TO_THE_PARENT:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _leave_to_the_parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_PARENT)  # see `Supervisor._spawn`
        arguments = (self._inheritance.lifeline, ending_seconds + MARGIN)
        threading.Thread(target=_end_with, args=arguments, name="lifeline", daemon=True).start()
        Finder(application, self._report_file).install()

    def listening(self) -> list[Listening]:
        """The sockets of the parent, with their roles."""
        return [
            Listening(socket.socket(fileno=descriptor), Role(role))
            for descriptor, role in self._inheritance.listening
        ]

    def ready(self) -> None:
        """Report that the loop is about to run; from now on SIGTERM drains it."""
        self._report("ready")

    def ended(self, status: int) -> None:
        """Report that the process ends in order, with this exit status."""
        self._report("ended", status)

    def _report_file(self, path: str) -> None:
        self._report("file", path, mark(path))

    def _report(self, *message: object) -> None:
        left = memoryview(encode_message(*message))
        try:
            with self._reporting:
                while left:
                    left = left[os.write(self._inheritance.reports, left) :]
        except OSError:
            pass  # the parent has ended, and the lifeline ends this process in a moment


def _leave_to_the_parent(number: int, frame: FrameType | None) -> None:
    """Ignore the signal. Programs that the application starts would inherit SIG_IGN."""


def _end_with(lifeline: int, patience: float) -> None:
    """On a thread: drain when the parent has ended, and exit after `patience` seconds in any case.

    While the application is still loaded, SIGTERM has its default effect.
    """
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience)
    os._exit(1)
