"""Requests: what is there before a server has completed them."""

import pytest

from reactor.limits import ServerLimits
from reactor.messages.body import NO_BODY
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest


def request_with(*lines: str, minor: int = 1) -> BaseRequest:
    return BaseRequest("GET", "/a?b", "/a", "b", minor, Headers("".join(f"\r\n{x}" for x in lines)))


def test_a_request_without_a_server() -> None:
    request = request_with("Host: test")
    assert (request.method, request.target, request.path, request.query) == (
        *("GET", "/a?b", "/a", "b"),
    )
    assert (request.scheme, request.host, request.client) == ("http", "", ("", 0))
    assert (request.length, request.body, request.content) == (0, NO_BODY, b"")
    assert (request.params, request.limits, request.id) == ({}, ServerLimits(), "")
    assert request.logged
    assert not request.client_closed
    assert not hasattr(request, "__dict__")


@pytest.mark.parametrize(
    ("target", "path", "raw"),
    [
        ("/a%2fb?c=/d", "/a%2Fb", "/a%2fb"),
        ("//%61?", "//a", "//%61"),
        ("*", "*", "*"),
        ("http://host", "/", "/"),
        ("http://host", "*", "*"),
        ("http://host?a://b/c", "/", "/"),
        ("HTTP://host:80/%61/?b", "/a/", "/%61/"),
        ("no request at all", "", ""),
    ],
)
def test_its_raw_path_is_what_was_sent(target: str, path: str, raw: str) -> None:
    assert BaseRequest("GET", target, path, "", 1, Headers()).raw_path == raw


def test_its_repr_is_the_request_line() -> None:
    assert repr(request_with("Cookie: secret")) == "<GET /a?b HTTP/1.1>"


@pytest.mark.parametrize("minor", [0, 1])
def test_a_connection_is_kept_by_default_from_http_11_on(minor: int) -> None:
    assert request_with(minor=minor).keep_alive is (minor > 0)


def test_expectations() -> None:
    """The parser has refused all others by then."""
    assert request_with("Expect: 100-continue").expects_continue
    assert not request_with("Expect: 100-continue", minor=0).expects_continue
    assert not request_with("X-Expect: 100-continue").expects_continue


def test_params_of_no_route_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        request_with().params["a"] = 1  # type: ignore[index]
