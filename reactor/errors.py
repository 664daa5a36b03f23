"""The errors that all packages share.

Every error of a request becomes a response with one of the status codes of RFC 9110, section 15.
The code that finds the error raises a ProtocolError with the status and a sentence for the client;
the connection turns it into a response, in one place. Handlers may raise it too.

Cancelled is not an Exception on purpose: a handler's `except Exception` must not keep alive a task
whose client is gone.

An error costs its owner, never the loop, also where it is a BaseException: asyncio's CancelledError
out of `asyncio.run`, SystemExit out of `sys.exit()`, the outcomes of a test framework. So the code
that calls handlers, bodies, hooks and jobs writes `except all_but_interrupts()` in place of
`except Exception`. Python evaluates that call only when there is an error, so it costs nothing
otherwise.
"""

import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any


class ProtocolError(Exception):
    """An error whose response has this `status` and one sentence for the client, `reason`.

    `headers` go into the response as they are, for instance `Allow` with a 405. `details` are more
    members of the problem details that an application responds with (RFC 9457, section 3.2).
    """

    details: Mapping[str, Any] = MappingProxyType({})

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


class FatalError(BaseException):
    """An error that ends the loop instead of costing its owner: the simulator's broken rules."""


class PoolFull(ProtocolError):
    """503: the thread pool has no place for another job of this lane.

    The pool itself logs that it is busy, at most once a minute.
    """

    def __init__(self, reason: str = "The server is too busy.") -> None:
        super().__init__(503, reason, [("Retry-After", "1")])


class TooSlow(Exception):
    """A reader of a broadcast has fallen behind, and the items left for it were dropped."""


def all_but_interrupts() -> tuple[type[BaseException], ...]:
    """The classes for an `except` clause: all, or none where the error is a Ctrl-C.

    A KeyboardInterrupt counts as a Ctrl-C on the main thread of a program that has left Python's
    own handler of SIGINT in place. It ends such a program; anywhere else it is an error of the code
    that has raised it. A FatalError passes, too.
    """
    error = sys.exception()
    passes = isinstance(error, FatalError) or (
        isinstance(error, KeyboardInterrupt)
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and threading.current_thread() is threading.main_thread()
    )
    return () if passes else (BaseException,)


def all_but_cancelling() -> tuple[type[BaseException], ...]:
    """As `all_but_interrupts`, for a coroutine: Cancelled and GeneratorExit pass as well.

    They are thrown in at an await by the task that cancels or closes the coroutine, and only the
    task may catch them.
    """
    return () if isinstance(sys.exception(), Cancelled | GeneratorExit) else all_but_interrupts()


def reason_of(error: Exception) -> str:
    """The reason of a system error, as the end of a sentence: "no such file or directory"."""
    reason = str(getattr(error, "strerror", None) or error)
    return reason[:1].lower() + reason[1:]


def counted(count: int, one: str, many: str = "") -> str:
    """The count and its noun, in a sentence: "1 line", "2 lines"; `many` is "lines" by default."""
    return f"{count} {one if count == 1 else many or one + 's'}"
