"""How much a request may bring along, where that is less than what the server takes.

A body that says its length is refused before a byte of it is read, and before the client that asks
(`Expect: 100-continue`) is told to send it. One that comes in chunks is cut off while it is read,
whole or as a stream, by the Body itself, which counts.

It belongs outside all plain middlewares: these are called when the body is there.
"""

from reactor.errors import ProtocolError
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware


class BodyLimit(Middleware):
    """413 for a request whose body is longer."""

    def __init__(self, most_bytes: int) -> None:
        """Whole reads stay bounded by `Limits.memory_body_bytes`. Raises ValueError for < 0."""
        if most_bytes < 0:
            raise ValueError(f"a body has no fewer than 0 bytes: most_bytes={most_bytes}")
        self._most = most_bytes

    def before(self, request: Request) -> None:
        """Raises ProtocolError(413)."""
        length = request.length
        if length == 0:
            return
        if length is None:
            request.body.limit(self._most)
            length = len(request.content)  # where something further out has read it
        if length > self._most:
            raise ProtocolError(413, f"This body may have {self._most} bytes at most.")
