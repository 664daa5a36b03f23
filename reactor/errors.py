"""The errors that all packages share.

Every error of a request becomes a response with one of the status codes of RFC 9110, section 15.
The code that finds the error raises a ProtocolError with the status and a sentence for the client;
the connection turns it into a response, in one place. Handlers may raise it too.

Cancelled is not an Exception on purpose: a handler's `except Exception` must not keep alive a task
whose client is gone.
"""

from collections.abc import Sequence


class ProtocolError(Exception):
    """An error whose response has this `status` and one sentence for the client, `reason`.

    `headers` go into the response as they are, for instance `Allow` with a 405.
    """

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class ResponseError(Exception):
    """A response that cannot be sent as it is, by a fault of the handler and not of the client."""


class Cancelled(BaseException):
    """Thrown into a coroutine at its `await` when its result is no longer needed."""


class PoolFull(Exception):
    """The thread pool has no room for another job of this kind."""


class TooSlow(Exception):
    """A reader of a broadcast has fallen behind, and the items left for it were dropped."""


def reason_of(error: Exception) -> str:
    """The reason of a system error, as the end of a sentence: "no such file or directory"."""
    reason = str(getattr(error, "strerror", None) or error)
    return reason[:1].lower() + reason[1:]
