"""Where an error of a request becomes its response.

The response to a ProtocolError says what was wrong with the request. Any other error is the
server's own fault: it gets a log record, and the response says no more than that. A handler may
make these responses itself; bytes that are no request have none, and get plain text.
"""

import logging
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.http.wrong_results import likely_cause, shown
from reactor.loop.describe import describe
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.tasks.foreign_loops import explain

FAILED: Final = "The server failed to process this request."

log = logging.getLogger("reactor")


def plain_error_response(request: BaseRequest, error: BaseException) -> Response:
    """The response to a request that has led to this error, in plain text.

    Its `after` calls are forgotten. A handler may make other responses: see ServerContext.
    """
    request.forget_after()
    if isinstance(error, ProtocolError):
        return plain_response(error.status, error.reason, error.headers)
    explain(error)
    log.error("%r failed", request, exc_info=error)
    return plain_response(500, FAILED)


def no_response(handler: object, returned: object) -> TypeError:
    """The error of a handler that has returned something else than a response."""
    return TypeError(
        f"the handler {describe(handler)} returned {shown(returned)}, which is no Response."
        f"{likely_cause(returned)}"
    )


def refused_request(line: str, client: tuple[Any, ...], now: float) -> BaseRequest:
    """A request in place of bytes that are none, for the response and the access log.

    `line` is the first line of these bytes, `client` the address of the peer. The connection is not
    kept, since where the next request begins is in doubt.
    """
    method = "HEAD" if line.startswith("HEAD ") else ""  # a response to HEAD has no body
    request = BaseRequest(method, line, "", "", 1, Headers())
    request.keep_alive = False
    request.client = client
    request.started = now
    return request
