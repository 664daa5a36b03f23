"""The objects that all connections of a server share."""

from dataclasses import FrozenInstanceError
from typing import Any, cast

import pytest

from reactor.http.body_memory import BodyMemory
from reactor.http.context import Handler, ServerContext, ServerState
from reactor.http.error_responses import plain_error_response
from reactor.http.wall_clock import WallClock
from reactor.limits import ServerLimits
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.after_work import AfterWork
from reactor.tasks.task import Runtime


class FakeRuntime:
    reactor = object()


class OwnRequest(BaseRequest):
    __slots__ = ()


class OwnHandler:
    request_class = OwnRequest

    def __call__(self, request: BaseRequest) -> Response:
        return Response(200, b"called")


def context_of(handler: Handler) -> ServerContext:
    return ServerContext(
        handler=handler,
        limits=ServerLimits(),
        runtime=cast(Runtime, FakeRuntime()),
        wall=WallClock(),
        memory=BodyMemory(ServerLimits()),
        closed=lambda connection: None,
        state=ServerState(),
        after_work=cast(AfterWork, None),
    )


def plain(request: BaseRequest) -> Response:
    return Response()


def test_the_class_of_requests_is_the_handlers() -> None:
    assert context_of(plain).request_class is BaseRequest
    assert context_of(OwnHandler()).request_class is OwnRequest


def test_a_handler_is_called_without_a_look_up() -> None:
    """Calling an instance costs three times as much as calling a bound method of it."""
    handler = OwnHandler()
    called: Any = context_of(handler).handler
    assert called.__self__ is handler
    assert called(None).body == b"called"
    assert context_of(plain).handler is plain


def test_no_field_changes() -> None:
    context = context_of(plain)
    assert context.reactor is FakeRuntime.reactor
    with pytest.raises(FrozenInstanceError):
        context.handler = plain  # type: ignore[misc]


def test_the_state_of_a_new_server() -> None:
    state = ServerState()
    assert (state.accepted, state.latest, state.observe, state.draining) == (0, None, None, False)


def test_errors_are_responded_to_by_the_given_function_or_else_the_handler() -> None:
    assert context_of(plain).error_response is plain_error_response

    def given(request: BaseRequest, error: BaseException) -> Response:
        return Response(500)

    own = OwnHandler()
    own.error_response = given  # type: ignore[attr-defined]
    assert context_of(own).error_response is given
