"""Errors of requests, and the responses that they become."""

import logging

import pytest

from reactor.errors import Cancelled, ProtocolError
from reactor.http.error_responses import FAILED, no_response, plain_error_response, refused_request
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest

REQUEST = BaseRequest("GET", "/a", "/a", "", 1, Headers())


def test_a_protocol_error_says_what_was_wrong(caplog: pytest.LogCaptureFixture) -> None:
    error = ProtocolError(429, "Wait a minute.", [("Retry-After", "60")])
    response = plain_error_response(REQUEST, error)
    assert (response.status, response.body) == (429, b"Wait a minute.\n")
    assert ("Retry-After", "60") in response.headers
    assert not caplog.records


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit("secret"), Cancelled()])
def test_other_errors_are_in_the_log_alone(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    response = plain_error_response(REQUEST, error)
    assert (response.status, response.body) == (500, f"{FAILED}\n".encode())
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "<GET /a HTTP/1.1> failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_handler_that_returns_something_else() -> None:
    message = str(no_response(plain_error_response, [1]))
    assert message.startswith("the handler plain_error_response (")
    assert message.endswith(") returned [1], which is no Response.")
    assert "is an `await` missing?" in str(no_response(plain_error_response, later()))
    assert "`return` missing?" in str(no_response(plain_error_response, None))


@pytest.mark.parametrize(
    ("line", "method"),
    [("GET /", ""), ("HEAD / HTTP/1.1", "HEAD"), ("HEADER", ""), ("", ""), ("\x00", "")],
)
def test_a_request_in_place_of_other_bytes(line: str, method: str) -> None:
    request = refused_request(line, ("192.0.2.1", 5), 7.0)
    assert (request.client, request.started) == (("192.0.2.1", 5), 7.0)
    assert (request.method, request.target, request.path) == (method, line, "")
    assert not request.keep_alive
    assert request.length == 0


async def later() -> None:
    """A coroutine that nobody awaits."""
