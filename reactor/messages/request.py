"""The nouns of HTTP: what a handler gets and what it gives back.

A Request is made by the parser and completed by the connection. Its head is whole; its body is a
stream that is pulled. Headers are kept as the bytes came, and a look-up is a search in them: most
handlers ask for one or two fields of ten, so an index would cost more than it saves.

A Response is a status, a body and fields. How it is framed (Content-Length, chunked, until close)
is the connection's business; a handler only says what it knows.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reactor.messages.body import NO_BODY
from reactor.messages.headers import Headers

_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Request:
    """A request whose head is whole.

    `path` and `query` are the target's parts as they came, still percent-encoded; `host` is the
    Host field or, before it, the authority of an absolute target. `content` is the body's bytes
    where something has read them for a plain handler, `params` what a router found in the path.
    `_state` is for whoever makes a class of its own of this one, and not there until it is set.

    For the logs: `started` is when it was served, in seconds of the reactor's clock; who makes an
    identifier for the request sets `id`; and where `logged` is set to False the access log has no
    line of it.
    """

    _state: dict[str, Any]

    __slots__ = (
        "_state",
        "body",
        "client",
        "client_closed",
        "content",
        "expects_continue",
        "headers",
        "host",
        "id",
        "keep_alive",
        "length",
        "logged",
        "method",
        "minor",
        "params",
        "path",
        "query",
        "scheme",
        "started",
        "target",
    )

    def __init__(
        self, method: str, target: str, path: str, query: str, minor: int, headers: Headers
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minor = minor  # of HTTP/1.minor
        self.headers = headers
        self.scheme = "http"
        self.host = ""
        self.keep_alive = minor > 0
        self.length: int | None = 0  # of the body in bytes; None: chunked
        self.expects_continue = False
        self.body = NO_BODY
        self.content = b""
        self.params: Mapping[str, Any] = _NO_PARAMS
        self.client: tuple[Any, ...] = ("", 0)
        self.client_closed = False  # it sends no more; it may still read
        self.started = 0.0
        self.id = ""
        self.logged = True

    def __repr__(self) -> str:
        return f"<{self.method} {self.target} HTTP/1.{self.minor}>"
