"""A byte through a socket pair, which ends the loop's wait from another thread or a signal.

One rule: the loop reads the byte first and clears the flag second. In the other order, the byte of
a job that ends in between would be read with the flag still set, and the loop would sleep for ever.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Waker:
    """Makes the selector report a ready socket."""

    def __init__(self, pair: tuple[socket.socket, socket.socket] | None = None) -> None:
        """`pair` is a socket pair, for simulators."""
        self._reader, self.writer = pair or socket.socketpair()
        self._reader.setblocking(False)
        self.writer.setblocking(False)
        self._sent = False

    def fileno(self) -> int:
        """The descriptor that the loop registers."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Send a byte, unless one is on its way."""
        if not self._sent:
            self._sent = True
            try:
                self.writer.send(b"\0")
            except OSError:
                pass  # full: the loop will wake anyway; closed: there is no loop left to wake

    @contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """While this lasts, each signal of the process sends a byte.

        Python calls a signal's handler between two instructions of the main thread. Without the
        byte, the handler of a signal that comes right before a wait is called when that ends, which
        may be hours later. Without effect on other threads: they have no signal handlers.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self.writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def on_events(self, mask: int) -> None:
        """Read the byte, then clear the flag: see above."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass
        self._sent = False

    def abort(self) -> None:
        """Nothing to abort: the loop needs it."""

    def close(self) -> None:
        """Close both sockets."""
        self._reader.close()
        self.writer.close()
