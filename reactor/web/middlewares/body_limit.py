"""A limit on the size of request bodies that is lower than the server's.

A body with a Content-Length is refused before a byte of it is read, and before a client that asks
with `Expect: 100-continue` gets the 100. A chunked body is refused while it is read, whole or as a
stream, by the Body itself, which counts its bytes.

This middleware belongs outside all plain ones: they are called when the body has been read.
"""

from reactor.errors import ProtocolError
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware


class BodyLimit(Middleware):
    """Refuses requests with a longer body: 413.

        uploads = app.group("/avatars", BodyLimit(1024 * 1024))

    The limits of the server hold besides.
    """

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes` is the size of the longest body that is accepted.

        A body that is read whole is also limited by `Limits.memory_body_bytes`. Raises ValueError
        for less than 0.
        """
        if most_bytes < 0:
            raise ValueError(f"most_bytes must be 0 or more, not {most_bytes}")
        self._most = most_bytes

    def before(self, request: Request) -> None:
        """Raises ProtocolError (413)."""
        length = request.length
        if length == 0:
            return
        if length is None:
            request.body.limit(self._most)
            length = len(request.content)  # a middleware further out may have read it
        if length > self._most:
            raise ProtocolError(413, f"The request's body is larger than {self._most} bytes.")
