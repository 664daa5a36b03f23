"""Errors that carry their own answer.

Whatever goes wrong with a request ends as one of the status codes of RFC 9110, section 15. The code
that notices raises a ProtocolError with the status and a sentence for the client; the connection,
in one place, turns it into bytes. Handlers may raise it too.

Cancelled is not an Exception on purpose: a handler's `except Exception` must not keep alive a task
whose client is gone.
"""

from collections.abc import Sequence


class ProtocolError(Exception):
    """A request that is answered by `status` and one sentence, `reason`.

    `headers` go into the answer as they are, for instance `Allow` with a 405.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class ResponseError(Exception):
    """A response that cannot be sent as it is: the handler is at fault, not the client."""


class Cancelled(BaseException):
    """Thrown into a coroutine at its `await` when nobody wants its result any more."""


class PoolFull(Exception):
    """The thread pool has no room for another job of this kind."""


class TooSlow(Exception):
    """What was published has not been taken in time, and its subscriber was dropped."""
