"""What becomes of an error: an answer, made in one place for all of an application.

A ProtocolError carries its answer, and any other exception is a 500 whose details go into the log
and nowhere else. An application may have its own word on either: a handler for a status or for a
type of exception, `handler(request, error)`, plain, returning what an endpoint may return. The
narrowest counts: for an exception its own type before the types that it derives from; for a
ProtocolError that none of these is for, its status.

Clients that ask for JSON get problem details (RFC 9457), all others a sentence in plain text. While
`debug` is on, a 500 is a page that shows where it happened (see app/debug_page.py).
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.messages.request import Request
from reactor.messages.response import Response, plain_response
from reactor.web.app.chain import is_asynchronous, name_of
from reactor.web.app.debug_page import debug_response
from reactor.web.app.responses import json, respond
from reactor.web.semantics.negotiation import prefers_json

ErrorHandler = Callable[[Any, Any], Any]

log = logging.getLogger("reactor")

_PROBLEM: Final = "application/problem+json"
_FAILED: Final = "The server failed to answer this request."


class Errors:
    """The error handlers of an application; those of the one around it stand behind them."""

    def __init__(self) -> None:
        self.debug = False
        self.around: Errors | None = None
        self._by_type: dict[type[Exception], ErrorHandler] = {}
        self._by_status: dict[int, ErrorHandler] = {}

    def add(self, what: int | type[Exception], handler: ErrorHandler) -> None:
        """Have `handler` answer this status or this type. Raises ValueError for what is neither."""
        if is_asynchronous(handler):
            raise ValueError(f"an error handler is a plain function: {name_of(handler)}")
        if isinstance(what, int) and 400 <= what <= 599:
            known: dict[Any, ErrorHandler] = self._by_status
        elif isinstance(what, type) and issubclass(what, Exception):
            known = self._by_type
        else:
            raise ValueError(f"an error handler is for a status or an exception, not {what!r}")
        if what in known:
            raise ValueError(f"{what!r} has an error handler already: {name_of(known[what])}")
        known[what] = handler

    def expected(self, request: Request, error: Exception) -> Response:
        """The answer to a ProtocolError, and to what has an error handler; raises any other."""
        if isinstance(error, ProtocolError) or self._find(error) is not None:
            return self.answer(request, error)
        raise error

    def answer(self, request: Request, error: Exception) -> Response:
        """Never raises: an error handler that fails is a 500 of its own."""
        handler = self._find(error)
        if not isinstance(error, ProtocolError) and not self._is_expected(error):
            log.error("%r failed", request, exc_info=error)
        if handler is not None:
            try:
                return _with_required(respond(handler(request, error)), error)
            except ProtocolError as other:
                return problem(request, other)
            except Exception as other:
                log.error("the error handler %s failed", name_of(handler), exc_info=other)
                error = other
        if isinstance(error, ProtocolError):
            return problem(request, error)
        if self._debugs():
            return debug_response(request, error)
        return problem(request, ProtocolError(500, _failed(request)))

    def _find(self, error: Exception) -> ErrorHandler | None:
        """By the narrower types, then by status; one for every Exception is for the unexpected."""
        for kind in type(error).__mro__[: -len(Exception.__mro__)]:
            if kind in self._by_type:
                return self._by_type[kind]
        expected = isinstance(error, ProtocolError)
        found = self._by_status.get(error.status if isinstance(error, ProtocolError) else 500)
        if found is None and not expected:
            found = self._by_type.get(Exception)
        if found is None and self.around is not None:
            found = self.around._find(error)
        return found

    def _is_expected(self, error: Exception) -> bool:
        """Whether an error handler is for just this kind of error, and not for whatever happens."""
        kinds = type(error).__mro__[: -len(Exception.__mro__)]
        around = self.around is not None and self.around._is_expected(error)
        return around or any(kind in self._by_type for kind in kinds)

    def _debugs(self) -> bool:
        return self.debug or (self.around is not None and self.around._debugs())


def _with_required(answer: Response, error: Exception) -> Response:
    """A 401 has to say how to log in, a 405 what may be asked (RFC 9110, 11.6.1 and 15.5.6)."""
    if not isinstance(error, ProtocolError) or answer.status != error.status:
        return answer
    there = {name.lower() for name, _ in answer.headers}
    missing = [field for field in error.headers if field[0].lower() not in there]
    return Response(answer.status, answer.body, (*answer.headers, *missing)) if missing else answer


def _failed(request: Request) -> str:
    """What the client is told, and may tell: with its id, the failure is found in the log."""
    return f"{_FAILED} Its id is {request.id}." if request.id else _FAILED


def problem(request: Request, error: ProtocolError) -> Response:
    """The error as its client would like to read it: RFC 9457, section 3, or a sentence."""
    accept = request.headers.get("accept")
    if _PROBLEM not in accept.lower() and not prefers_json(accept):
        return plain_response(error.status, error.reason, error.headers)
    details = {
        "type": "about:blank",  # section 4.2.1: its title is the status's own
        "title": phrase(error.status),
        "status": error.status,
        "detail": error.reason,
    }
    answer = json(details, error.status)
    answer.headers = (("Content-Type", _PROBLEM), *error.headers)
    return answer


def phrase(status: int) -> str:
    """What a status is called (RFC 9110, section 15); nothing where nobody knows."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
