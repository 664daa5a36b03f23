"""Responses to errors, made in one place for the whole of an application.

A ProtocolError carries its response; any other exception, SystemExit and the like included, is a
500 whose details go to the error log and nowhere else. An application may add an error handler for
a status or for a class of exceptions: `handler(request, error)`, a `def` or an `async def` whose
result is like that of an endpoint. The narrowest handler counts: for an exception its own class
before its base classes; for a ProtocolError without a handler of its class, its status. An error
handler that fails makes a 500; one that is awaited is cancelled when its client leaves, as an
endpoint is.

Browsers get a page, clients that ask for JSON problem details, all others a sentence in plain text
(see web/problems/). While `debug` is on, a 500 shows where the error was raised (see
app/debug_page.py), for the hosts of `show_debug_to` alone: a page of another site must not read it
by DNS rebinding (see semantics/hosts.py).
"""

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError, all_but_cancelling, all_but_interrupts
from reactor.http.error_responses import FAILED
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.foreign_loops import explain
from reactor.web.app.debug_page import debug_response, routes_response
from reactor.web.app.functions import describe, is_asynchronous, misfit
from reactor.web.app.responses import respond
from reactor.web.app.wrong_results import add_hint
from reactor.web.endpoint import ResponseOrAwaitable
from reactor.web.problems.responses import problem_response
from reactor.web.semantics.hosts import Hosts
from reactor.web.semantics.negotiation import ErrorForm, error_form

ErrorHandler: TypeAlias = Callable[[Any, Any], Any]

log = logging.getLogger("reactor")

TEST_HOST: Final = "testserver"  # the host of requests of reactor.testing

ROLE: Final = "error handler"  # in error messages


class _Handler(NamedTuple):
    """An error handler as it was added."""

    call: ErrorHandler
    waits: bool  # whether its result may have to be awaited


class ErrorHandlers:
    """The error handlers of an application, and behind them those of the one around it."""

    def __init__(self) -> None:
        self.debug = False
        self._debug_names = [TEST_HOST]
        self.show_debug_to()
        self.outer: ErrorHandlers | None = None  # those of the application around this one
        self._by_type: dict[type[Exception], _Handler] = {}
        self._by_status: dict[int, _Handler] = {}

    def add(self, what: int | type[Exception], handler: ErrorHandler) -> None:
        """Add the handler of a status or an exception class.

        Raises ValueError for a `what` that is neither a status from 400 to 599 nor an Exception
        class, for a handler that does not take a request and an error, and for a second handler of
        one status or class.
        """
        check_kind_of_error(what)
        known: dict[Any, _Handler] = self._by_status if isinstance(what, int) else self._by_type
        if not callable(handler):
            raise ValueError(f"an error handler is a function, not {handler!r}")
        if wrong := misfit(handler, "request", "error"):
            raise ValueError(f"the error handler {describe(handler)} does not fit: {wrong}")
        if what in known:
            raise ValueError(f"{what!r} already has an error handler: {describe(known[what].call)}")
        waits = is_asynchronous(handler) or getattr(handler, "may_wait", False)
        known[what] = _Handler(handler, waits)

    def show_debug_to(self, *hosts: str) -> None:
        """Show debug pages for these hosts, beside localhost, all addresses, and earlier ones.

        Raises ValueError for a malformed host; see Hosts.
        """
        hosts = tuple(dict.fromkeys((*self._debug_names, *hosts)))
        self._debug_hosts = Hosts(hosts, local=True, addresses=True)
        self._debug_names[:] = hosts

    def waiting(self) -> str:
        """The name of an `async def` among these handlers and those around them, or ""."""
        for handler in (*self._by_type.values(), *self._by_status.values()):
            if handler.waits:
                return f"the error handler {describe(handler.call)}"
        return self.outer.waiting() if self.outer is not None else ""

    def respond_if_expected(
        self, request: BaseRequest, error: BaseException
    ) -> ResponseOrAwaitable:
        """The response to a ProtocolError or an exception with a handler; raises any other."""
        if isinstance(error, ProtocolError) or self._find(error) is not None:
            return self.respond(request, error)
        raise error

    def respond(self, request: BaseRequest, error: BaseException) -> ResponseOrAwaitable:
        """The response to an exception. Never raises: a failure in an error handler is a 500.

        It has to be awaited where the error handler is an `async def`. The calls that the request
        was given for `after` its response are forgotten.
        """
        request.forget_after()
        explain(error)
        handler = self._find(error)
        self._log_unexpected(request, error)
        if handler is None:
            return self._without_handler(request, error)
        try:
            result = handler.call(request, error)
            if handler.waits and isawaitable(result):
                return self._finish(request, error, handler, result)
            return _with_required(respond(result, handler.call, ROLE), error)
        except all_but_interrupts() as other:
            return self._respond_to_failure(request, handler, other)

    def respond_at_once(self, request: BaseRequest, error: BaseException) -> Response:
        """As `respond`, but without the error handlers that have to be awaited."""
        handler = self._find(error)
        if handler is None or not handler.waits:
            response = self.respond(request, error)
            assert isinstance(response, Response)
            return response
        request.forget_after()
        self._log_unexpected(request, error)
        return self._without_handler(request, error)

    def _log_unexpected(self, request: BaseRequest, error: BaseException) -> None:
        if not isinstance(error, ProtocolError) and not self._is_expected(error):
            add_hint(error)
            log.error("%r failed", request, exc_info=error)

    async def _finish(
        self,
        request: BaseRequest,
        error: BaseException,
        handler: _Handler,
        result: Awaitable[Any],
    ) -> Response:
        try:
            return _with_required(respond(await result, handler.call, ROLE), error)
        except all_but_cancelling() as other:
            return self._respond_to_failure(request, handler, other)

    def _respond_to_failure(
        self, request: BaseRequest, handler: _Handler, error: BaseException
    ) -> Response:
        """The response to an error that an error handler has raised: no other handler gets it."""
        if not isinstance(error, ProtocolError):
            log.error("the error handler %s failed", describe(handler.call), exc_info=error)
        return self._without_handler(request, error)

    def _without_handler(self, request: BaseRequest, error: BaseException) -> Response:
        if isinstance(error, ProtocolError):
            return problem_response(request, error)
        if self._debugs(request.host):
            return debug_response(request, error)
        return problem_response(request, ProtocolError(500, _failed(request)))

    def _find(self, error: BaseException) -> _Handler | None:
        """The handler of the narrowest class, or else of the status.

        One for Exception itself is for unexpected errors alone: never for a ProtocolError.
        """
        for kind in type(error).__mro__[: -len(Exception.__mro__)]:
            if kind in self._by_type:
                return self._by_type[kind]
        expected = isinstance(error, ProtocolError)
        found = self._by_status.get(error.status if isinstance(error, ProtocolError) else 500)
        if found is None and not expected:
            found = self._by_type.get(Exception)
        if found is None and self.outer is not None:
            found = self.outer._find(error)
        return found

    def _is_expected(self, error: BaseException) -> bool:
        """Whether a handler is for this kind of error, rather than for every Exception or 500."""
        kinds = type(error).__mro__[: -len(Exception.__mro__)]
        outer = self.outer is not None and self.outer._is_expected(error)
        return outer or any(kind in self._by_type for kind in kinds)

    def respond_not_found(
        self, request: BaseRequest, error: ProtocolError, routes: Callable[[], list[Any]]
    ) -> ResponseOrAwaitable:
        """The response to a 404 of a path that none of `routes` fits; a debug page lists them.

        Clients that prefer JSON, and applications with an error handler of 404, get the usual one.
        """
        usual = (
            self._find(error) is not None
            or error_form(request.headers.get("accept")) is ErrorForm.PROBLEM
        )
        if usual or not self._debugs(request.host):
            return self.respond(request, error)
        return routes_response(request, error, routes())

    def _debugs(self, host: str) -> bool:
        """Whether a request for this host gets the debug page; logs why one does not."""
        if self.debug:
            if not host or host in self._debug_hosts:
                return True
            log.warning("No debug page for the host %a: --allowed-hosts names more hosts", host)
        return self.outer is not None and self.outer._debugs(host)


def check_kind_of_error(what: object) -> None:
    """Raise ValueError for a `what` that no error handler can be for."""
    if isinstance(what, int) and 400 <= what <= 599:
        return
    if not isinstance(what, type) or not issubclass(what, Exception):
        raise ValueError(
            "an error handler is for a status from 400 to 599 or an Exception class, not "
            f"{describe(what) if callable(what) else repr(what)}"
        )


def _with_required(response: Response, error: BaseException) -> Response:
    """Add the fields of the error that the handler's response lacks.

    A 401 must have WWW-Authenticate, a 405 Allow (RFC 9110, sections 11.6.1 and 15.5.6).
    """
    if not isinstance(error, ProtocolError) or response.status != error.status:
        return response
    present = {name.lower() for name, _ in response.headers}
    missing = [field for field in error.headers if field[0].lower() not in present]
    if not missing:
        return response
    return response.with_headers(*missing)


def _failed(request: BaseRequest) -> str:
    """The sentence of a 500, with the request's id if it has one: the log has the same."""
    return f"{FAILED} Its id is {request.id}." if request.id else FAILED
