"""A request: what the client asks for. Its head is whole, its body is a stream that is pulled.

The parser makes a BaseRequest, or a subclass that the handler wants (see ServerContext), and the
connection completes it: with the client's address, and with a Body where there is one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol

from reactor.limits import ServerLimits
from reactor.messages.body import NO_BODY
from reactor.messages.headers import Headers
from reactor.net.tls_info import TlsInfo

REPR_CHARACTERS: Final = 1024  # the target has at most so many in a repr

_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class AfterWorkLike(Protocol):
    """The calls after the responses of a server (see tasks/after_work.py)."""

    def add(self, request: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Call the function after the response to this request."""

    def forget(self, request: Any) -> None:
        """Call nothing after the response to this request."""


class BaseRequest:
    """A request whose head is whole.

    `path` is the decoded path, in which encoded slashes and percent signs, and bytes that are not
    UTF-8, stay percent-encoded (see protocol/paths.py); `raw_path` and `query` are the parts of the
    target as they came. `host` is the Host field or, before it, the authority of an absolute
    target. `content` is the body's bytes once they have been read for a plain handler, `params` the
    decoded parameters of a path pattern. `limits` are the server's. `_state` is for a subclass, and
    absent until the subclass sets it. `after_work` is the server's, and absent until the connection
    sets it. `on_error(request, error)` makes the response to an error of a stream before its first
    piece, and is absent until an application sets it. `tls` has the version, the
    cipher and the client's certificate of an encrypted connection; it is None for a plain one.

    For the logs: `line` is the request line as it came, which is printable ASCII, and "" for a
    request that no parser has made; `started` is when the handler was called, in seconds of the
    reactor's clock; `id` is set by a middleware that makes identifiers; a request with `logged` set
    to False gets no line in the access log.
    """

    limits_class: ClassVar[type[ServerLimits]] = ServerLimits  # that a subclass needs

    _state: dict[str, Any]
    after_work: AfterWorkLike
    on_error: Callable[[Any, BaseException], Any]

    __slots__ = (
        "_state",
        "after_work",
        "body",
        "client",
        "client_closed",
        "content",
        "headers",
        "host",
        "id",
        "keep_alive",
        "length",
        "limits",
        "line",
        "logged",
        "method",
        "minor",
        "on_error",
        "params",
        "path",
        "query",
        "scheme",
        "started",
        "target",
        "tls",
    )

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: str,
        minor: int,
        headers: Headers,
        limits: ServerLimits | None = None,
        host: str = "",
        line: str = "",
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minor = minor  # the version is HTTP/1.minor
        self.headers = headers
        self.limits = limits if limits is not None else self.limits_class()
        self.scheme = "http"
        self.tls: TlsInfo | None = None
        self.host = host
        self.keep_alive = minor > 0
        self.length: int | None = 0  # bytes of the body; None: chunked
        self.body = NO_BODY
        self.content = b""
        self.params: Mapping[str, Any] = _NO_PARAMS
        self.client: tuple[Any, ...] = ("", 0)
        self.client_closed = False  # the client sends no more; it may still read
        self.started = 0.0
        self.line = line
        self.id = ""
        self.logged = True

    def __repr__(self) -> str:
        """Method, target and version; a long target is cut off, since this gets into logs."""
        target = self.target
        if len(target) > REPR_CHARACTERS:
            target = f"{target[:REPR_CHARACTERS]}\u2026"
        return f"<{self.method} {target} HTTP/1.{self.minor}>"

    def after(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function(*arguments)` when the response to this request has been sent.

            request.after(send_mail, address, "Welcome!")

        The function is plain or returns an awaitable, which is awaited. A plain function runs on
        the loop: one that blocks belongs into the pool, `request.after(in_pool, function, ...)`.
        Several calls run one after the other. They begin when the whole response is queued for its
        client, or when the client has left in the middle of it; the connection does not wait for
        them. An error that one raises is logged, with the function, and changes nothing else. Where
        the handler raises an error or is cancelled, nothing is called.

        Raises ProtocolError (503) for more than `Limits.after_calls` calls in the whole server, and
        RuntimeError for a request that no server has received.
        """
        try:
            work = self.after_work
        except AttributeError:
            raise RuntimeError("`after` needs a request that a server has received") from None
        work.add(self, function, arguments)

    def forget_after(self) -> None:
        """Call nothing of what `after` was given so far."""
        try:
            work = self.after_work
        except AttributeError:
            return
        work.forget(self)

    @property
    def raw_path(self) -> str:
        """The path as the client sent it, percent-encoded; "" for bytes that were no request."""
        if not self.path or self.path == "*":
            return self.path
        path = self.target.partition("?")[0]
        return path if path[:1] == "/" else "/" + path.partition("://")[2].partition("/")[2]

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 (Continue) before it sends the body.

        The parser refuses every other expectation, and that of a client of HTTP/1.0 is ignored
        (RFC 9110, section 10.1.1).
        """
        return self.minor > 0 and "100" in self.headers.get("expect")
