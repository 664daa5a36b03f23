"""Prepared responses: the same bytes as `compress` makes, for each client."""

import pytest

from reactor import PreparedResponse, ProtocolError, Request, Response, compress
from reactor.errors import ResponseError
from reactor.messages.headers import Headers
from reactor.web.compression.encoders import INLINE_BYTES, MADE
from tests.support.zstd_double import decode

FIELDS = [("Content-Type", "text/plain"), ("X-Mine", "1")]


def asking(accepted: str | None) -> Request:
    field = "" if accepted is None else f"\r\nAccept-Encoding: {accepted}"
    return Request("GET", "/", "/", "", 1, Headers(field))


@pytest.mark.parametrize(
    "accepted", [None, "", "identity", "br", "gzip;q=0", "gzip;q=0.1, identity"]
)
def test_the_plain_body(accepted: str | None) -> None:
    response = PreparedResponse(FIELDS, 201).encoded(asking(accepted), b"text")
    assert isinstance(response, Response)
    assert (response.status, response.body) == (201, b"text")
    assert list(response.headers) == [*FIELDS, ("Vary", "Accept-Encoding")]


@pytest.mark.parametrize("coding", MADE)
@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES])
def test_an_encoded_body_however_short(coding: str, size: int) -> None:
    body = b"x" * size
    response = PreparedResponse(FIELDS).encoded(asking(coding), body)
    assert isinstance(response, Response)
    assert isinstance(response.body, bytes)
    assert decode(response.body, coding) == body
    assert ("Content-Encoding", coding) in response.headers
    other = compress(asking(coding), Response(200, body, [*FIELDS]), least=0)
    assert isinstance(other, Response)
    assert other.body == response.body
    assert sorted(other.headers) == sorted(response.headers)


def test_a_long_body_is_left_to_a_thread() -> None:
    waiting = PreparedResponse(FIELDS).encoded(asking("gzip"), b"x" * (INLINE_BYTES + 1))
    assert not isinstance(waiting, Response)
    waiting.close()  # type: ignore[attr-defined]


def test_a_client_that_accepts_nothing() -> None:
    with pytest.raises(ProtocolError) as caught:
        PreparedResponse(FIELDS).encoded(asking("*;q=0"), b"text")
    assert caught.value.status == 406


def test_fields_are_checked_when_it_is_made() -> None:
    with pytest.raises(ResponseError):
        PreparedResponse([("X", "a\r\nb")])
