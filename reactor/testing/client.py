"""The client: requests in the words of the field, cookies, redirects, and simulated time.

A request goes through the real server and its connection code, on a simulated socket; see world.py
and exchange.py. This module adds what a browser does: cookies that are stored and sent, connections
that are kept, redirects that are followed where the test wants it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, TypeAlias, TypedDict, Unpack

from reactor.http.context import Handler
from reactor.limits import ServerLimits
from reactor.server.server import Server
from reactor.testing.cookies import CookieJar
from reactor.testing.exchange import Exchange
from reactor.testing.request_encoder import (
    Content,
    EncodedBody,
    Files,
    Pairs,
    basic_credentials,
    encode_body,
    merge_fields,
    parse_url,
)
from reactor.testing.responses import ClientResponse
from reactor.testing.world import World

TIMEOUT: Final = 120.0  # simulated seconds; longer than the server gives a handler (503)
MOST_REDIRECTS: Final = 20
_DEFAULT_FIELDS: Final = (("User-Agent", "testclient"), ("Accept", "*/*"))
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

HeaderFields: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]


class TooManyRedirects(Exception):
    """More than MOST_REDIRECTS of them, one after the other."""


class Options(TypedDict, total=False):
    """The options of a request beside its method and URL; see Client.request."""

    params: Pairs | None
    headers: HeaderFields | None
    cookies: Mapping[str, str] | None
    content: Content | None
    data: Pairs | None
    files: Files | None
    json: Any
    auth: tuple[str, str] | None
    timeout: float
    follow_redirects: bool | None


class Client:
    """A client of one handler, in process: `Client(app).get("/x").json()`.

    Nothing is real but the code: `await sleep(3600)` in a handler takes no time, and the clock only
    moves while a request, a stream or `advance` is at work. As a context manager it calls the
    functions of `app.on_start` at the beginning and those of `app.on_stop` at the end, when it
    shuts the server down; it raises Violation if a descriptor is left. The calls of `request.after`
    have ended when the test gets the response, unless they take longer than its `timeout`.
    """

    def __init__(
        self,
        app: Handler,
        base_url: str = "http://testserver",
        *,
        headers: HeaderFields | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        raise_server_exceptions: bool = True,
        limits: ServerLimits | None = None,
        client: tuple[Any, ...] = ("127.0.0.1", 50000),
        wall: float | None = None,
    ) -> None:
        """`app` is a handler, served with `limits`.

        `headers` and `cookies` go with every request. An exception that became a 500, or cut a
        response, is raised in the test unless `raise_server_exceptions` is false; then the response
        is what a client would have got. `client` is the address of the first connection; each
        further one has the next port. `wall` is the time of day when it begins, in seconds since
        1970; without it, the real one. Code that calls `time` itself gets the real time, which is
        not under control.
        """
        self.base_url = base_url
        self.headers = merge_fields(_DEFAULT_FIELDS, headers or ())
        self.follow_redirects = follow_redirects
        parse_url(base_url, "", None)  # raises ValueError now rather than later
        self._world = World(app, limits, client, wall, raises=raise_server_exceptions)
        self.cookies = CookieJar(lambda: self._world.wall)
        for name, value in (cookies or {}).items():
            self.cookies.set(name, value)

    def __enter__(self) -> "Client":
        try:
            self.start()
        except BaseException:
            self._world.close(check=False)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._world.close(check=error is None)

    def start(self) -> None:
        """Call the application's functions of on_start, and begin its periodic tasks.

        Without a context manager and without this, none of them is called. Raises StartHookError.
        """
        self._world.start()

    def close(self) -> None:
        """Shut the server down. Raises what fails then, and Violation if a descriptor is left."""
        self._world.close()

    # --- time and the server ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Simulated seconds since the client was made."""
        return self._world.now

    @property
    def wall(self) -> float:
        """The simulated time of day, in seconds since 1970."""
        return self._world.wall

    @property
    def server(self) -> Server:
        """The server under test, to look at or to shut down; it is the real one."""
        return self._world.server

    def advance(self, seconds: float) -> None:
        """Let so much simulated time pass. Raises what fails in the server meanwhile."""
        self._world.run(seconds)

    # --- requests --------------------------------------------------------------------------------

    def request(self, method: str, url: str, **options: Unpack[Options]) -> ClientResponse:
        """The response, all of it.

        `url` is a link on the page `base_url`; `params` are added to its query, a list as several
        of one name. `headers` replace the client's of the same name, `cookies` are sent beside
        those of the jar. The body is `content` (bytes, text in UTF-8, or an iterable of them, sent
        with chunked coding as the server reads), `data` (a form's fields), `files` (a form's files:
        content, or (name, content), or (name, content, media type)) or `json`. `auth` is a user and
        a password (Basic).

        Raises TimeoutError after `timeout` simulated seconds, and at once when nothing is due any
        more; IncompleteResponse when the server cuts its response; BadResponse for what is no HTTP;
        ValueError for what is no request; and what the handler raises.
        """
        response = self._open(method, url, options)
        response.read_until(response.deadline)
        self._world.finish_after_work(response.deadline)
        return response

    @contextmanager
    def stream(self, method: str, url: str, **options: Unpack[Options]) -> Iterator[ClientResponse]:
        """The response as soon as its head is there; its content is pulled.

        `timeout` is for each pull. Leaving the context before the end resets the connection, and
        the server is given a moment to notice.
        """
        response = self._open(method, url, options)
        try:
            yield response
        finally:
            response.close()
            self._world.finish_after_work(self.now + TIMEOUT)

    def get(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("GET", ...)`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("HEAD", ...)`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("OPTIONS", ...)`."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("POST", ...)`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("PUT", ...)`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("PATCH", ...)`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[Options]) -> ClientResponse:
        """`request("DELETE", ...)`."""
        return self.request("DELETE", url, **options)

    # --- inside ----------------------------------------------------------------------------------

    def _open(self, method: str, url: str, options: Options) -> ClientResponse:
        """The response's head, after the redirects that are to be followed."""
        self._world.check_open()
        request = _Request(self.base_url, method, url, **options)
        follow = request.follow_redirects
        if follow is None:
            follow = self.follow_redirects
        history: list[ClientResponse] = []
        while True:
            response = self._send(request, history)
            if not follow or not _redirects(response):
                return response
            response.read_until(response.deadline)
            if len(history) == MOST_REDIRECTS:
                raise TooManyRedirects(f"{method} {url}: more than {MOST_REDIRECTS} redirects")
            request.redirect(response.status, response.headers["location"])
            history = [*history, response]

    def _send(self, request: "_Request", history: list[ClientResponse]) -> ClientResponse:
        url, world = request.url, self._world
        fields = merge_fields(self.headers, self._cookie_field(request), request.fields)
        exchange = Exchange(world, request.method, url, fields, request.body, request.timeout)
        head = exchange.read_head(exchange.began + request.timeout)
        response = ClientResponse(exchange, url, head, world.wall, history)
        self.cookies.store(head.headers.get_all("set-cookie"), url.host, url.path)
        return response

    def _cookie_field(self, request: "_Request") -> list[tuple[str, str]]:
        """The cookies of the jar; the request's own ones come before those of the same name."""
        url, own = request.url, request.cookies
        kept = self.cookies.to_send(url.host, url.path, url.scheme == "https")
        pairs = [(cookie.name, cookie.value) for cookie in kept if cookie.name not in own]
        pairs += own.items()
        return [("Cookie", "; ".join(f"{name}={value}" for name, value in pairs))] if pairs else []


class _Request:
    """A request that may be sent somewhere else than it was meant to."""

    def __init__(
        self,
        base_url: str,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        headers: HeaderFields | None = None,
        cookies: Mapping[str, str] | None = None,
        content: Content | None = None,
        data: Pairs | None = None,
        files: Files | None = None,
        json: Any = None,
        auth: tuple[str, str] | None = None,
        timeout: float = TIMEOUT,
        follow_redirects: bool | None = None,
    ) -> None:
        self.method = method
        self.url = parse_url(base_url, url, params)
        self.cookies = dict(cookies or {})
        self.timeout = timeout
        self.follow_redirects = follow_redirects  # without one, the client's
        self.body = encode_body(content, data, files, json)
        if auth is None and self.url.user is not None:
            auth = (self.url.user, self.url.password)
        credentials = [("Authorization", basic_credentials(*auth))] if auth is not None else []
        self.fields = merge_fields(credentials, headers or ())

    def redirect(self, status: int, location: str) -> None:
        """Go there as a browser does (Fetch Standard, "HTTP-redirect fetch").

        303 asks for the response to be fetched, and so do 301 and 302 after a POST; all others are
        sent again as they were. Raises ValueError for a body that is used up.
        """
        fetches = status == 303 or (status in (301, 302) and self.method == "POST")
        if fetches and self.method not in ("GET", "HEAD"):
            self.method, self.body = "GET", EncodedBody()
            self._drop(lambda name: name.startswith("content-"))
        if self.body.pieces is not None:
            raise ValueError(f"a body in pieces cannot be sent again, to {location}")
        target = parse_url(str(self.url), location, None)
        if target.origin != self.url.origin:  # credentials for one origin are not sent to another
            self._drop({"authorization", "cookie", "host"}.__contains__)
            self.cookies.clear()
        self.url = target

    def _drop(self, matches: Callable[[str], bool]) -> None:
        self.fields = [field for field in self.fields if not matches(field[0].lower())]


def _redirects(response: ClientResponse) -> bool:
    return response.status in _REDIRECTS and "location" in response.headers
