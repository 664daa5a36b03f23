"""Wakes the loop from another thread or from a signal handler: a byte through a socket pair."""

import socket


class Waker:
    """Makes `wait` return from another thread or a signal: a byte through a socket pair."""

    def __init__(self, pair: tuple[socket.socket, socket.socket] | None = None) -> None:
        self._reader, self.writer = pair or socket.socketpair()
        self._reader.setblocking(False)
        self.writer.setblocking(False)
        self._sent = False

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        """One byte on its way is enough."""
        if not self._sent:
            self._sent = True
            try:
                self.writer.send(b"\0")
            except OSError:
                pass  # full: it will wake anyway; closed: nobody is left to wake

    def on_events(self, mask: int) -> None:
        # Read first, clear second: cleared first, the byte of a job that ends in between would
        # be eaten here with the flag still up, and the loop would sleep for ever.
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass
        self._sent = False

    def abort(self) -> None: ...

    def close(self) -> None:
        self._reader.close()
        self.writer.close()
