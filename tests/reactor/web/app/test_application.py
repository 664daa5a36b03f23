"""Applications: what endpoints return, what middlewares may do, and what is refused at the start.

Everything goes through the real connection code (reactor.testing).
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from reactor import Headers, Limits, ProtocolError, Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.group import Group
from reactor.web.app.requests import Request
from reactor.web.app.responses import json, redirect, stream, text
from reactor.web.app.router import RouteError
from reactor.web.endpoint import CompositionError, Middleware, before_only, may_wait
from reactor.web.middlewares import RequestId
from tests.support.coroutine_driver import drive


def served(app: Application, **options: Any) -> Client:
    return Client(app, raise_server_exceptions=False, **options)


# --- what an endpoint returns --------------------------------------------------------------------


def generated(request: Request) -> Iterator[str]:
    yield "one "
    yield "two"


async def generated_later(request: Request) -> AsyncIterator[bytes]:
    yield b"one "
    await sleep(1)
    yield b"two"


TEXT = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("value", "status", "kind", "body"),
    [
        ("é", 200, TEXT, "é".encode()),
        (b"\xff", 200, "application/octet-stream", b"\xff"),
        ({"a": "é"}, 200, "application/json", '{"a":"é"}'.encode()),
        ([1, None], 200, "application/json", b"[1,null]"),
        ((201, "made"), 201, TEXT, b"made"),
        ((404, {"no": 1}, [("X-A", "b")]), 404, "application/json", b'{"no":1}'),
        ((200, "<p>", [("Content-Type", "text/html")]), 200, "text/html", b"<p>"),
        (Response(200, b"x", [("Content-Type", "a/b")]), 200, "a/b", b"x"),
    ],
)
@pytest.mark.parametrize("how", ["plain", "async", "may wait"])
def test_what_an_endpoint_may_return(
    value: Any, status: int, kind: str, body: bytes, how: str
) -> None:
    app = Application()

    def plain(request: Request) -> Any:
        return value

    async def later(request: Request) -> Any:
        await sleep(0.1)
        return value

    endpoint: Any = plain if how == "plain" else later if how == "async" else may_wait(plain)
    app.add("GET", "/", endpoint)
    with Client(app) as client:
        answer = client.get("/")
        assert (answer.status, answer.headers.get("content-type")) == (status, kind)
        assert answer.content == body
        assert client.head("/").headers.get("content-length") == str(len(body))


@pytest.mark.parametrize("value", [None, 7, object(), ("x", 200), (200, "x", [], 1), {1, 2}])
def test_what_no_answer_can_be_made_of(value: Any) -> None:
    app = Application()
    app.add("GET", "/", lambda request: value)
    with served(app) as client:
        assert client.get("/").status == 500
    with Client(app) as client, pytest.raises(TypeError):
        client.get("/")


@pytest.mark.parametrize("endpoint", [generated, generated_later])
def test_a_generator_is_a_stream(endpoint: Callable[..., Any]) -> None:
    app = Application()
    app.add("GET", "/", endpoint)
    with Client(app) as client:
        answer = client.get("/")
        assert answer.headers.get("transfer-encoding") == "chunked"
        assert answer.content == b"one two"


def test_an_empty_json_is_json() -> None:
    app = Application()
    app.add("GET", "/", lambda request: (200, {}))
    app.add("GET", "/nothing", lambda request: (204, b""))
    with Client(app) as client:
        assert client.get("/").json() == {}
        assert client.get("/nothing").status == 204


# --- parameters ----------------------------------------------------------------------------------


def test_parameters_are_arguments_for_who_names_them() -> None:
    app = Application()
    got: list[Any] = []

    @app.get("/{a:int}/{b}/{c:uuid}")
    def some(request: Request, b: str, a: int, extra: str = "e") -> str:
        got.append((a, b, extra, request.params["c"]))
        return ""

    @app.get("/all/{a:int}/{b}")
    def everything(request: Request, **params: Any) -> str:
        got.append(params)
        return ""

    @app.get("/one/{name}")
    async def one(request: Request, name: str) -> str:
        got.append(name)
        return ""

    @app.get("/none/{name}")
    def none(request: Request) -> str:
        got.append(dict(request.params))
        return ""

    number = UUID(int=7)
    with Client(app) as client:
        for path in (f"/5/x%2Fy/{number}", "/all/6/z", "/one/%C3%A9", "/none/n"):
            assert client.get(path).status == 200
        assert client.get(f"/five/x/{number}").status == 404
    assert got == [(5, "x/y", "e", number), {"a": 6, "b": "z"}, "é", {"name": "n"}]


@pytest.mark.parametrize(
    "endpoint",
    [lambda: "", lambda *, request: "", lambda request, missing: "", lambda request, *, m: ""],
)
def test_an_endpoint_that_wants_what_is_not_there(endpoint: Callable[..., Any]) -> None:
    app = Application()
    app.add("GET", "/{name}", endpoint)
    with pytest.raises(RouteError, match="lambda"):
        app.prepare()


def test_own_converters_and_urls() -> None:
    app = Application()

    def read(value: str) -> int:
        return int(value, 16) if value.isalnum() else int("")

    app.converter("hex", read, lambda value: f"{value:x}")
    with pytest.raises(RouteError):
        app.converter("hex", read)

    @app.get("/color/{value:hex}", name="color")
    def color(request: Request, value: int) -> str:
        return str(value)

    @app.get("/files/{rest:path}")
    def files(request: Request, rest: str) -> str:
        return rest

    with Client(app) as client:
        assert client.get("/color/ff").text == "255"
        assert client.get("/color/zz").status == 404
        url = app.url("files", rest="a b/ü?", query={"x": ["1", "2"], "y": "ä&"})
        assert url == "/files/a%20b/%C3%BC%3F?x=1&x=2&y=%C3%A4%26"
        assert client.get(url).text == "a b/ü?"
    assert app.url("color", value=255) == "/color/ff"
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (("no", {}), ("color", {}), ("color", {"a": 1}))
    for name, values in wrong:
        with pytest.raises(LookupError):
            app.url(name, **values)


def test_names_that_are_a_matter_of_luck() -> None:
    app = Application()
    app.add("GET", "/a", generated, name="x")
    app.add("POST", "/a", generated, name="x")
    app.prepare()
    assert app.url("x") == "/a"
    app.add("GET", "/b", generated, name="x")
    with pytest.raises(RouteError, match="'x'"):
        app.prepare()


# --- groups and mounts ---------------------------------------------------------------------------


class Notes(Middleware):
    """Notes what passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def before(self, request: Any) -> Response | None:
        self.notes.append(f"{self.name} in")
        return None

    def after(self, request: Any, response: Response) -> Response:
        self.notes.append(f"{self.name} out {response.status}")
        return response


def test_groups_have_prefixes_names_and_middlewares_of_their_own() -> None:
    notes: list[str] = []
    app = Application(Notes("app", notes))
    api = Group("/api", Notes("api", notes), name="api")
    users = api.group("/users", Notes("users", notes), name="users")

    @users.get("/{number:int}")
    def user(request: Request, number: int) -> str:
        return f"user {number}"

    @api.get("/version", middlewares=[Notes("own", notes)])
    def version(request: Request) -> str:
        return "1"

    @app.get("/")
    def home(request: Request) -> str:
        return "home"

    app.include(api)
    assert app.url("api.users.user", number=7) == "/api/users/7"
    with Client(app) as client:
        assert client.get("/api/users/7").text == "user 7"
        assert notes == [
            *("app in", "api in", "users in"),
            *("users out 200", "api out 200", "app out 200"),
        ]
        notes.clear()
        assert client.get("/api/version").text == "1"
        assert notes[2] == "own in"
        notes.clear()
        assert client.get("/").text == "home"
        assert notes == ["app in", "app out 200"]
        notes.clear()
        assert client.get("/api/users/x").status == 404
        assert notes[:3] == ["app in", "api in", "users in"], "it is below all of them"
        notes.clear()
        assert client.get("/apis").status == 404
        assert notes == ["app in", "app out 404"]
        notes.clear()
        assert client.options("/api/users/7").headers.get("allow") == "GET, HEAD, OPTIONS"
        assert notes[:3] == ["app in", "api in", "users in"], "a preflight is for all of them"


def test_what_is_added_later_counts_from_then_on() -> None:
    inner, group, app = Application(), Group("/g"), Application()
    deep = group.group("/d")
    app.include(group)
    app.mount("/m", inner)
    with Client(app) as client:
        for number, (table, path) in enumerate(
            ((app, "/x"), (group, "/g/x"), (deep, "/g/d/x"), (inner, "/m/x"))
        ):
            assert client.get(path).status == 404
            table.add("GET", "/x", lambda request, number=number: str(number))
            assert client.get(path).text == str(number)
        deep.use(Hooks())
        assert client.get("/g/d/x").headers.get("x-hooks") == "1"
        assert "x-hooks" not in client.get("/g/x").headers


@pytest.mark.parametrize("prefix", ["api", "/api/", "/"])
def test_a_prefix_that_is_none(prefix: str) -> None:
    with pytest.raises(RouteError):
        Group(prefix)


def test_a_mounted_application_is_part_of_the_one_around_it() -> None:
    notes: list[str] = []
    inner = Application(Notes("inner", notes))
    inner.converter("bit", lambda value: ["0", "1"].index(value))

    @inner.error(KeyError)
    def missing(request: Request, error: KeyError) -> Any:
        return 404, f"inner {error}"

    app = Application(Notes("outer", notes))
    app.mount("/inner", inner)

    @inner.get("/{which:bit}")  # after it was mounted
    def one(request: Request, which: int) -> str:
        raise KeyError(which) if which else ValueError

    @app.error(ValueError)
    def bad(request: Request, error: ValueError) -> Any:
        return 400, "outer"

    with Client(app) as client:
        answer = client.get("/inner/1")
        assert (answer.status, answer.text) == (404, "inner 1")
        assert notes == ["outer in", "inner in", "inner out 404", "outer out 404"]
        answer = client.get("/inner/0")
        assert (answer.status, answer.text) == (400, "outer")
        assert client.get("/inner/2").status == 404


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_any_other_handler_can_be_mounted(prefix: str) -> None:
    async def handler(request: Any) -> Response:
        body = await request.body.read()
        rest = "|".join(request.params.get("rest", ("-",)))
        return Response(200, f"{request.method} {rest} {body.decode()}".encode())

    app = Application()
    app.add("GET", "/below/mine", lambda request: "mine")
    app.mount(prefix, handler)
    with Client(app) as client:
        assert client.post(f"{prefix}/a/b", content="c").text == "POST a|b c"
        assert client.get(f"{prefix}/").text == "GET  "
        assert client.get("/below/mine").text == "mine"
        assert client.patch(f"{prefix}/x").text == "PATCH x "
        if prefix:
            assert client.get(prefix).text == "GET - "
            assert client.get("/other").status == 404


def test_what_is_mounted_is_prepared_too() -> None:
    class Handler:
        prepared: Any = None

        def prepare(self, server: Any) -> None:
            self.prepared = server

        def __call__(self, request: Any) -> Response:
            return Response(200)

    handler = Handler()
    app = Application()
    app.mount("/x", handler)
    server: Any = SimpleNamespace(limits=Limits())
    app.prepare(server)
    assert handler.prepared is server


# --- what is there for free ----------------------------------------------------------------------


def test_slashes_are_redirected_by_choice() -> None:
    for redirects in (False, True):
        app = Application(redirect_slashes=redirects)
        app.add("GET", "/a", lambda request: "a")
        app.add("POST", "/b/", lambda request: "b")
        app.add("GET", "/{x}/{y}/", lambda request: "xy")
        with Client(app) as client:
            for path, where in (
                ("/a/?q=1", "/a?q=1"),
                ("/b", "/b/"),
                ("/%2f%2Fevil.example/y", "/%2F%2Fevil.example/y/"),
            ):
                answer = client.post(path) if path == "/b" else client.get(path)
                assert answer.status == (308 if redirects else 404)
                assert answer.headers.get("location") == (where if redirects else "")
            assert client.get("//evil.example").headers.get("location", "/").count("//") == 0
            assert client.get("/c/").status == 404


def test_a_path_that_cannot_be_decoded() -> None:
    app = Application()
    app.add("GET", "/{x}", lambda request: "x")
    with Client(app) as client:
        assert client.get("/%zz").status == 400
        assert client.get("/%ff").status == 400
        answer = client.get("/%ff", headers={"Accept": "application/json"})
        assert answer.headers.get("content-type") == "application/problem+json"
        assert client.request("OPTIONS", "/x").status == 204


# --- middlewares ---------------------------------------------------------------------------------


def plain(request: Any, next: Any) -> Any:
    answer = next(request)
    assert isinstance(answer, Response)
    return answer.with_headers(("X-Plain", "1"))


async def asynchronous(request: Any, next: Any) -> Any:
    await sleep(0.5)
    answer = await next(request)
    assert isinstance(answer, Response)
    return answer.with_headers(("X-Async", "1"))


@before_only
def before(request: Any, next: Any) -> Any:
    if "stop" in request.query:
        return text("stopped", 403)
    return next(request)


class Hooks(Middleware):
    def before(self, request: Any) -> Response | None:
        return text("hooked", 403) if "hook" in request.query else None

    def after(self, request: Any, response: Response) -> Response:
        return response.with_headers(("X-Hooks", "1"))


def endpoint(request: Any) -> str:
    return f"body {request.content.decode()}"


async def async_endpoint(request: Request) -> str:
    await sleep(0.5)
    return f"body {await request.text()}"


ALLOWED = [
    ([plain, plain, plain], endpoint),
    ([before, plain, before, plain], endpoint),
    ([asynchronous, plain], endpoint),
    ([asynchronous, before, asynchronous, plain, before], endpoint),
    ([before, asynchronous], async_endpoint),
    ([Hooks(), plain, Hooks()], endpoint),
    ([Hooks(), asynchronous, Hooks(), plain], endpoint),
    ([Hooks(), before, Hooks()], async_endpoint),
    ([Hooks(), before, Hooks()], may_wait(lambda request: endpoint(request))),
]
REFUSED = [
    ([plain], async_endpoint),
    ([plain, asynchronous], endpoint),
    ([plain, before, asynchronous, plain], endpoint),
    ([asynchronous, plain], async_endpoint),
    ([plain], may_wait(lambda request: endpoint(request))),
]


@pytest.mark.parametrize(("middlewares", "innermost"), ALLOWED)
def test_chains(middlewares: list[Any], innermost: Any) -> None:
    app = Application(*middlewares)
    app.add(("GET", "POST"), "/", innermost)
    with Client(app) as client:
        for answer, body in ((client.get("/"), ""), (client.post("/", content="abc"), "abc")):
            assert (answer.status, answer.text) == (200, f"body {body}")
            for field, middleware in (("x-plain", plain), ("x-async", asynchronous)):
                assert len(answer.headers.get_all(field)) == middlewares.count(middleware)
            hooks = sum(isinstance(one, Hooks) for one in middlewares)
            assert len(answer.headers.get_all("x-hooks")) == hooks
        kinds: tuple[tuple[str, Any], ...] = (("stop", before), ("hook", Hooks))
        for word, middleware in kinds:
            if any(one is middleware or type(one) is middleware for one in middlewares):
                assert client.get(f"/?{word}").status == 403
        assert client.get("/none").status == 404
        assert client.post("/none", content=b"x" * 100_000).status == 404


@pytest.mark.parametrize(("middlewares", "innermost"), REFUSED)
def test_a_plain_one_above_what_is_awaited_is_refused(
    middlewares: list[Any], innermost: Any
) -> None:
    app = Application(*middlewares)
    app.add("GET", "/here", innermost)
    with pytest.raises(CompositionError, match=r"/here.*plain .*test_application\.py.*awaited: "):
        app.prepare()


def test_what_is_no_middleware() -> None:
    no_middleware: Any = "x"
    app = Application(no_middleware)
    app.add("GET", "/", endpoint)
    with pytest.raises(CompositionError, match="'x'"):
        app.prepare()


@pytest.mark.parametrize("outer", [before, Hooks()])
def test_who_refuses_does_so_before_a_byte_of_the_body(outer: Any) -> None:
    app = Application(outer, plain)
    app.add("POST", "/", endpoint)
    with Client(app) as client:
        answer = client.post("/?stop&hook", headers={"Expect": "100-continue"}, content="abc")
        assert answer.status == 403
        assert answer.informational == []


def test_a_middleware_can_catch_what_nobody_expected() -> None:
    caught: list[Exception] = []

    def catching(request: Any, next: Any) -> Any:
        try:
            return next(request)
        except ZeroDivisionError as error:
            caught.append(error)
            return text("caught", 418)

    async def catching_later(request: Any, next: Any) -> Any:
        try:
            return await next(request)
        except ZeroDivisionError as error:
            caught.append(error)
            return text("caught", 418)

    def fails(request: Any) -> Any:
        raise ZeroDivisionError if "expected" not in request.query else ProtocolError(409, "No.")

    async def fails_later(request: Any) -> Any:
        await sleep(0.1)
        return fails(request)

    app = Application()
    app.add("GET", "/plain", fails, middlewares=[plain, catching, plain])
    app.add("GET", "/async", fails_later, middlewares=[asynchronous, catching_later])
    with Client(app) as client:
        for path in ("/plain", "/async"):
            assert client.get(path).status == 418
            answer = client.get(f"{path}?expected")
            assert (answer.status, answer.text) == (409, "No.\n")
    assert len(caught) == 2


@pytest.mark.parametrize("middlewares", [[], [before], [Hooks()], [plain], [asynchronous]])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_fails_has_the_applications_answer(middlewares: list[Any], method: str) -> None:
    def fails(request: Any) -> Any:
        raise ZeroDivisionError

    app = Application(*middlewares)
    app.add(method, "/", fails)
    app.error(500)(lambda request, error: (500, f"ours: {type(error).__name__}"))
    with served(app) as client:
        answer = client.request(method, "/", content=b"x" if method == "POST" else None)
        assert (answer.status, answer.text) == (500, "ours: ZeroDivisionError")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_error_that_nobody_catches_passes_hooks_as_an_answer(kind: str) -> None:
    def fails(request: Any) -> Any:
        raise ZeroDivisionError

    async def fails_later(request: Any) -> Any:
        raise ZeroDivisionError

    app = Application(Hooks())
    app.add("GET", "/", fails if kind == "plain" else fails_later)
    with served(app) as client:
        answer = client.get("/")
        assert (answer.status, answer.headers.get("x-hooks")) == (500, "1")


@pytest.mark.parametrize("place", ["plain", "async", "before", "hooks"])
def test_a_middleware_that_fails(place: str) -> None:
    class Failing(Middleware):
        def before(self, request: Any) -> Response | None:
            raise ProtocolError(429, "Slowly.", [("Retry-After", "1")])

    def failing(request: Any, next: Any) -> Any:
        raise ProtocolError(429, "Slowly.", [("Retry-After", "1")])

    async def failing_later(request: Any, next: Any) -> Any:
        raise ProtocolError(429, "Slowly.", [("Retry-After", "1")])

    middlewares: dict[str, Any] = {
        "plain": failing,
        "async": failing_later,
        "before": before_only(lambda request, next: failing(request, next)),
        "hooks": Failing(),
    }
    for outer in (Hooks(), asynchronous):
        app = Application(outer, middlewares[place])
        app.add("GET", "/", endpoint)
        with Client(app) as client:
            answer = client.get("/")
            assert (answer.status, answer.headers.get("retry-after")) == (429, "1")
            assert "x-hooks" in answer.headers or "x-async" in answer.headers


# --- errors --------------------------------------------------------------------------------------


def failing_application() -> Application:
    app = Application()

    @app.get("/key")
    def key(request: Request) -> str:
        raise KeyError("secret")

    @app.get("/index")
    async def index(request: Request) -> str:
        raise IndexError("secret")

    @app.get("/{status:int}")
    def status(request: Request, status: int) -> str:
        raise ProtocolError(status, f"<{status}>")

    return app


def test_an_error_tells_nothing_of_itself() -> None:
    with served(failing_application()) as client:
        answer = client.get("/key")
        assert (answer.status, answer.text) == (500, "The server failed to process this request.\n")
        answer = client.get("/key", headers={"Accept": "application/json"})
        assert answer.headers.get("content-type") == "application/problem+json"
        assert answer.json() == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "The server failed to process this request.",
        }
        assert client.get("/404").text == "<404>\n"
        answer = client.get("/422", headers={"Accept": "application/problem+json"})
        assert answer.json()["detail"] == "<422>"
        assert client.get("/799", headers={"Accept": "application/json"}).json()["title"] == ""
        answer = client.get("/none/x", headers={"Accept": "text/html, application/json;q=0.9"})
        assert answer.headers.get("content-type") == TEXT


def test_error_handlers_by_exception_and_by_status() -> None:
    app = failing_application()

    @app.error(LookupError)
    def lookup(request: Request, error: LookupError) -> Any:
        return 410, f"{type(error).__name__}"

    @app.error(KeyError)
    def key(request: Request, error: KeyError) -> Any:
        return json({"missing": error.args[0]}, 404)

    @app.error(404)
    def not_found(request: Request, error: ProtocolError) -> Any:
        return 404, f"nothing at {request.path}", [("X-Error", error.reason)]

    @app.error(418)
    def fails(request: Request, error: ProtocolError) -> Any:
        raise ZeroDivisionError

    @app.error(419)
    def passes_on(request: Request, error: ProtocolError) -> Any:
        raise ProtocolError(420, "Other.")

    with served(app) as client:
        assert client.get("/key").json() == {"missing": "secret"}
        assert client.get("/index").text == "IndexError"
        answer = client.get("/404")
        assert (answer.text, answer.headers.get("x-error")) == ("nothing at /404", "<404>")
        assert client.get("/no/where").text == "nothing at /no/where"
        assert client.get("/409").text == "<409>\n"
        assert client.get("/418").status == 500
        assert client.get("/419").status == 420
        assert client.post("/key").status == 405


def test_error_handlers_that_are_none() -> None:
    app = Application()

    async def later(request: Any, error: Any) -> str:
        return ""

    wrong: tuple[tuple[Any, Any], ...] = (
        (200, endpoint),
        ("x", endpoint),
        (Cancelled, endpoint),
        (404, later),
    )
    for what, handler in wrong:
        with pytest.raises(ValueError):
            app.error(what)(handler)
    app.error(404)(lambda request, error: "")
    with pytest.raises(ValueError, match="already"):
        app.error(404)(lambda request, error: "")


class Cancelled(BaseException):
    pass


def test_debugging_shows_what_happened_and_hides_secrets() -> None:
    app = Application()
    app.debug = True

    @app.get("/")
    def fails(request: Request) -> str:
        password, shown = request.cookies["a"], "<script>"
        try:
            raise KeyError(password)
        except KeyError:
            raise ValueError(f"<b>{shown}") from None

    with served(app) as client:
        secret = "".join(["hun", "ter"])
        headers = {"Accept": "text/html", "Cookie": f"a={secret}"}
        answer = client.get("/", headers=headers)
        assert answer.status == 500
        assert answer.headers.get("content-type") == "text/html; charset=utf-8"
        assert "ValueError: &lt;b&gt;&lt;script&gt;" in answer.text
        assert "<script>" not in answer.text
        assert "(hidden)" in answer.text
        assert secret not in answer.text
        assert "raise ValueError(f" in answer.text
        answer = client.get("/", headers={"Cookie": "a=b"})
        assert answer.headers.get("content-type") == TEXT
        assert answer.text.startswith("Traceback")
        assert client.get("/none").text == "There is nothing here.\n"


# --- more than one answer ------------------------------------------------------------------------


def test_redirects_and_streams_as_responses() -> None:
    app = Application()
    mixed: list[bytes | str] = ["é", b"\xff"]
    app.add("GET", "/r", lambda request: redirect("/ü?x=ä b", 307))
    app.add("GET", "/s", lambda request: stream(iter(mixed), "a/b", 203))
    with Client(app) as client:
        assert client.get("/r").headers.get("location") == "/%C3%BC?x=%C3%A4%20b"
        answer = client.get("/s")
        assert (answer.status, answer.content) == (203, b"\xc3\xa9\xff")
    with pytest.raises(ValueError):
        redirect("/", 200)


def test_a_stream_is_closed_when_its_client_leaves() -> None:
    app = Application()
    closed: list[str] = []

    @app.get("/later")
    async def later(request: Request) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await sleep(1)
        finally:
            closed.append("later")

    @app.get("/now")
    def now(request: Request) -> Iterator[str]:
        try:
            while True:
                yield "x" * 10_000
        finally:
            closed.append("now")

    with Client(app) as client:
        for path in ("/later", "/now"):
            with client.stream("GET", path) as answer:
                assert next(iter(answer.iter_bytes()))[:1] == b"x"
    assert closed == ["later", "now"]


# --- directories ---------------------------------------------------------------------------------


def test_a_directory_in_an_application(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("text " * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / ".secret").write_text("no")
    notes: list[str] = []
    app = Application(Notes("app", notes))
    app.static("/assets", tmp_path, cache_control="max-age=60", headers=[("X-A", "b")])
    app.add("GET", "/assets/mine", lambda request: "mine")
    with Client(app) as client:
        for _ in range(2):
            answer = client.get("/assets/a%20b.txt", headers={"Range": "bytes=5-8"})
            assert (answer.status, answer.content) == (206, b"text")
        assert answer.headers.get("cache-control") == "max-age=60"
        assert answer.headers.get("x-a") == "b"
        assert client.get("/assets/mine").text == "mine"
        assert client.get("/assets/.secret").status == 404
        assert client.get("/assets/folder/").status == 404, "a listing is to be asked for"
        assert client.get("/assets/folder").headers.get("location") == "/assets/folder/"
        assert client.get("/assets/..%2f..%2fetc%2fpasswd").status == 404
        assert client.put("/assets/new", content="x").status == 405
    assert notes.count("app in") == notes.count("app out 206") + 6
    with pytest.raises(OSError):
        app.static("/none", tmp_path / "none")
    request = Request("GET", "/assets/a%20b.txt", "/assets/a%20b.txt", "", 1, Headers())
    alone = Application()
    alone.static("/assets", tmp_path)
    later: Any = alone(request)
    found = drive(later)
    found.body.release()
    assert found.status == 200, "without a server, too"


def test_a_failure_tells_its_id_to_who_has_one() -> None:
    app = Application(RequestId())

    @app.get("/")
    def fails(request: Request) -> str:
        raise ZeroDivisionError

    with served(app) as client:
        answer = client.get("/")
        identifier = answer.headers["X-Request-Id"]
        assert answer.text.endswith(f" Its id is {identifier}.\n")


# --- what is mounted is at home there ------------------------------------------------------------


def guarded_part() -> Application:
    inner = Application(Hooks())
    inner.add("GET", "/x", lambda request: "x")
    inner.error(404)(lambda request, error: (404, "inner 404"))
    inner.error(405)(lambda request, error: (405, "inner 405"))
    return inner


def test_what_leads_nowhere_below_a_mount_is_its_own_business() -> None:
    app = Application()
    app.mount("/sub", guarded_part())
    app.error(404)(lambda request, error: (404, "outer 404"))
    app.group("/sub/deeper", asynchronous)
    with Client(app) as client:
        for path, text in (
            ("/sub/nope", "inner 404"),
            ("/sub", "inner 404"),
            ("/submarine", "outer 404"),
            ("/nope", "outer 404"),
        ):
            answer = client.get(path)
            assert (answer.status, answer.text) == (404, text)
            assert ("x-hooks" in answer.headers) is (text == "inner 404")
        answer = client.post("/sub/x")
        assert (answer.status, answer.text) == (405, "inner 405")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert answer.headers["X-Hooks"] == "1"
        assert client.get("/sub/deeper/x").headers["X-Async"] == "1"
        assert client.get("/sub/nope?hook").status == 403, "nobody learns what there is"


def test_a_directory_of_a_mounted_application(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    inner, app = Application(), Application()
    inner.static("/assets", tmp_path, listing=True)
    app.mount("/sub", inner)
    app.mount("/other", inner)
    app.static("", tmp_path, listing=True)
    with Client(app) as client:
        for place in ("/sub/assets", "/other/assets", ""):
            answer = client.get(f"{place}/folder")
            assert answer.headers["Location"] == f"{place}/folder/"
            listed = client.get(f"{place}/folder/", headers={"Accept": "application/json"})
            assert listed.json()["path"] == f"{place}/folder/"
        placed = [files._files for files in app._static.values()]
        assert len(placed) == 3
        assert {files._open._most for files in placed if files is not None} == {1024 // 3}


@pytest.mark.parametrize("prefix", ["/", "/x/", "x"])
def test_a_prefix_of_a_mount_that_is_none(prefix: str, tmp_path: Path) -> None:
    app = Application()
    with pytest.raises(RouteError):
        app.static(prefix, tmp_path)
    for handler in (lambda request: Response(200), Application()):
        with pytest.raises(RouteError):
            app.mount(prefix, handler)


def test_two_applications_that_mean_different_things() -> None:
    app = Application()
    for name in ("a", "b"):
        inner = Application()
        inner.converter("kind", lambda value, name=name: name + value)  # type: ignore[misc]
        inner.add("GET", "/{x:kind}", lambda request: request.params["x"])
        app.mount(f"/{name}", inner)
    with pytest.raises(RouteError, match="kind"):
        app.prepare()


def test_options_tell_what_is_allowed_by_all_patterns() -> None:
    app = Application()
    app.add("PUT", "/x/{n:int}", lambda request: "")
    app.add("GET", "/x/{n}", lambda request: "")
    with Client(app) as client:
        assert client.options("/x/5").headers["Allow"] == "GET, HEAD, OPTIONS, PUT"


# --- more of errors ------------------------------------------------------------------------------


def test_a_handler_for_every_exception_is_for_the_unexpected() -> None:
    app = failing_application()
    app.error(Exception)(lambda request, error: (500, "oops"))
    app.error(ProtocolError)(lambda request, error: (error.status, "told"))
    with served(app) as client:
        assert client.get("/key").text == "oops"
        assert (client.get("/none/x").status, client.get("/none/x").text) == (404, "told")
    app = failing_application()
    app.error(Exception)(lambda request, error: (500, "oops"))
    with served(app) as client:
        assert client.get("/none/x").text == "There is nothing here.\n"


def test_an_answer_of_ones_own_has_the_fields_that_it_must_have() -> None:
    app = Application()
    app.add("GET", "/", lambda request: "")
    app.error(405)(lambda request, error: (405, "no"))
    with Client(app) as client:
        answer = client.post("/")
        assert (answer.text, answer.headers["Allow"]) == ("no", "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_body_is_closed_when_a_hook_fails(kind: str) -> None:
    closed: list[str] = []

    class Pieces:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            return b"x"

        def close(self) -> None:
            closed.append(kind)

    class Fails(Middleware):
        def after(self, request: Any, response: Response) -> Response:
            raise ValueError

    async def later(request: Any) -> Any:
        return Response(200, Pieces())

    app = Application(Fails())
    app.add("GET", "/", later if kind == "async" else lambda request: Response(200, Pieces()))
    with served(app) as client:
        assert client.get("/").status == 500
    assert closed == [kind]


@pytest.mark.parametrize("value", ["/evil.example", "..", "a/../b", "."])
def test_a_url_that_leads_elsewhere(value: str) -> None:
    app = Application()
    app.add("GET", "/{p:path}", generated, name="p")
    with pytest.raises(ValueError):
        app.url("p", p=value)
