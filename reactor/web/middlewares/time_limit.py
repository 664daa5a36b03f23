"""How long a handler may take, where that is less than `Limits.handler_timeout`.

What counts is the time until the answer is there; a stream may then take as long as it likes. Only
what waits can be ended: a plain function that computes holds the loop, and everybody, until it is
done. What is ended is cancelled at the place where it waits, cleans up, and then there is a 503.
"""

import math

from reactor.errors import ProtocolError
from reactor.messages.response import Response
from reactor.tasks.combinators import timeout
from reactor.web.app.requests import Request
from reactor.web.endpoint import Endpoint


class TimeLimit:
    """503 for a request whose handler takes longer. An asynchronous middleware."""

    def __init__(self, seconds: float) -> None:
        """Raises ValueError for what is not more than 0."""
        if not (0 < seconds < math.inf):
            raise ValueError(f"a time limit is a number of seconds above 0, not {seconds!r}")
        self._seconds = seconds

    async def __call__(self, request: Request, next: Endpoint) -> Response:
        """Raises ProtocolError(503), and what the handler raises."""
        try:
            answer = await timeout(self._seconds, _told_apart(request, next))
        except TimeoutError:
            raise ProtocolError(503, "The response took too long.") from None
        if isinstance(answer, TimeoutError):
            raise answer
        return answer


async def _told_apart(request: Request, next: Endpoint) -> Response | TimeoutError:
    """A TimeoutError of the handler's own is a result: it does not mean that this time is over."""
    try:
        answer = next(request)
        return answer if isinstance(answer, Response) else await answer
    except TimeoutError as error:
        return error
