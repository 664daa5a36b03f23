"""Requests whose body has been read, forms, and the errors that refuse them."""

from collections.abc import Callable
from typing import Any

import pytest

from reactor import Headers, ProtocolError
from reactor.web.app.requests import Request

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body of parts: the text behind `form-data` in the head, and the content."""
    pieces = [
        b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head.encode(), content)
        for head, content in parts
    ]
    return b"".join((*pieces, b"--b--\r\n"))


def request_with(content: bytes, media_type: str = "", **fields: str) -> Request:
    """A request whose body has been read."""
    if media_type:
        fields["content_type"] = media_type
    lines = (f"\r\n{name.replace('_', '-')}: {value}" for name, value in fields.items())
    request = Request("POST", "/", "/", "", 1, Headers("".join(lines)))
    request.content = content
    return request


def request_for(query: str) -> Request:
    """A request with this query and without a body."""
    request = request_with(b"")
    request.query = query
    return request


def refusal(function: Callable[..., Any], *arguments: Any) -> ProtocolError:
    """The error that the call raises, with a sentence that a client can read."""
    with pytest.raises(ProtocolError) as caught:
        function(*arguments)
    assert caught.value.reason.endswith(".")
    assert caught.value.reason.isascii()
    return caught.value
