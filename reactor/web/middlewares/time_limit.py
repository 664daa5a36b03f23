"""A limit on the time of a handler that is shorter than `Limits.handler_timeout`.

It is the time until the handler has returned its response; a stream may then take longer. Only a
handler that waits can be ended: a plain function that computes blocks the loop until it is done.
A handler that is ended gets Cancelled at its `await` and cleans up; then the response is a 503.
"""

import math

from reactor.errors import ProtocolError
from reactor.messages.response import Response
from reactor.tasks.combinators import timeout
from reactor.web.app.requests import Request
from reactor.web.endpoint import Endpoint


class TimeLimit:
    """Ends handlers that take longer: 503.

        reports = app.group("/reports", TimeLimit(5))

    It is an asynchronous middleware: no plain one may stand above it.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` must be above 0; ValueError is raised otherwise."""
        if not (0 < seconds < math.inf):
            raise ValueError(f"a time limit must be a number of seconds above 0, not {seconds!r}")
        self._seconds = seconds

    async def __call__(self, request: Request, next: Endpoint) -> Response:
        """Raises ProtocolError (503), and the errors of the handler."""
        try:
            response = await timeout(self._seconds, _response_or_timeout(request, next))
        except TimeoutError:
            raise ProtocolError(503, "The response took too long.") from None
        if isinstance(response, TimeoutError):
            raise response
        return response


async def _response_or_timeout(request: Request, next: Endpoint) -> Response | TimeoutError:
    """Return the handler's own TimeoutError as a result, apart from that of this time limit."""
    try:
        response = next(request)
        return response if isinstance(response, Response) else await response
    except TimeoutError as error:
        return error
