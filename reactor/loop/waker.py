"""A byte through a socket pair, which ends the loop's wait from another thread or a signal handler.

One rule: the loop reads the byte first and clears the flag second. In the other order, the byte of
a job that ends in between would be read with the flag still set, and the loop would sleep for ever.
"""

import socket


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
