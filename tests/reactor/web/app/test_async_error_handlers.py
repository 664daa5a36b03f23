"""Error handlers that are `async def`: in every place where an error can be raised."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from reactor import Group, ProtocolError, Response, may_wait, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.endpoint import CompositionError, Middleware
from reactor.web.middlewares import Compression, RequestId, SecurityHeaders, TimeLimit
from tests.support.app_parts import Hooks, asynchronous, before, plain, served
from tests.support.worlds import GET, only
from tests.support.worlds import CalmWorld as World


class Raises(Middleware):
    """Hooks that raise where the query asks for it."""

    def before(self, request: Any) -> None:
        if request.query == "before":
            raise KeyError("before")

    def after(self, request: Any, response: Response) -> Response:
        if request.query == "after":
            raise KeyError("after")
        return response


class RaisesLater(Middleware):
    async def after(self, request: Any, response: Response) -> Response:
        await sleep(0.1)
        if request.query == "later":
            raise KeyError("later")
        return response


async def raises(request: Any, next: Any) -> Any:
    response = await next(request)
    if request.query == "middleware":
        raise KeyError("middleware")
    return response


def key(request: Request) -> str:
    raise KeyError("plain")


async def key_later(request: Request) -> str:
    await sleep(0.1)
    raise KeyError("async")


@may_wait
def key_sometimes(request: Request) -> Any:
    return key_later(request)


def first_piece(request: Request) -> Iterator[str]:
    yield "one"


def add_endpoints(group: Group) -> None:
    group.add(("GET", "POST"), "/plain", key)
    group.add(("GET", "POST"), "/async", key_later)
    group.add(("GET", "POST"), "/sometimes", key_sometimes)
    group.add("GET", "/good", lambda request: "good")
    group.add("GET", "/bad", lambda request: None)


def add_handlers(app: Application, name: str = "ours") -> None:
    @app.error(LookupError)
    async def lookup(request: Request, error: LookupError) -> Any:
        await sleep(0.5)
        return 410, f"{name} {request.path} {error.args[0]}", {"X-Error": "lookup"}

    @app.error(404)
    async def missing(request: Request, error: ProtocolError) -> Any:
        await sleep(0.5)
        return 404, {"nothing at": request.path, "by": name}

    @app.error(500)
    async def failed(request: Request, error: BaseException) -> Any:
        await sleep(0.5)
        return 500, f"{name} {type(error).__name__}"


CHAINS: list[list[Any]] = [
    [],
    [before],
    [Hooks()],
    [asynchronous],
    [Raises(), RaisesLater()],
    [RequestId(), SecurityHeaders(), Compression(), TimeLimit(60)],
    [Hooks(), before, asynchronous, Hooks(), before],
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("place", ["application", "group", "route", "mount", "outer"])
def test_errors_of_every_kind_of_endpoint(chain: list[Any], place: str) -> None:
    app = Application(*(chain if place in ("application", "outer") else ()))
    prefix = ""
    if place in ("application", "route"):
        add_endpoints(app)
    elif place == "group":
        prefix = "/in"
        add_endpoints(app.group(prefix, *chain))
    else:
        prefix = "/in"
        inner = Application(*(chain if place == "mount" else ()))
        add_endpoints(inner)
        app.mount(prefix, inner)
        if place == "mount":
            add_handlers(inner, "inner")
    if place != "mount":
        add_handlers(app)
    name = "inner" if place == "mount" else "ours"
    with served(app) as client:
        for path, how in (("/plain", "plain"), ("/async", "async"), ("/sometimes", "async")):
            for method, content in (("GET", None), ("POST", b"x" * 100), ("POST", None)):
                response = client.request(method, prefix + path, content=content)
                assert (response.status, response.text) == (410, f"{name} {prefix}{path} {how}")
                assert response.headers["x-error"] == "lookup"
        assert client.get(f"{prefix}/bad").text == f"{name} WrongResult"
        assert client.get(f"{prefix}/none").json() == {"nothing at": f"{prefix}/none", "by": name}
        assert client.head(f"{prefix}/none").status == 404
        assert client.get(f"{prefix}/good").text == "good"


def test_errors_of_middlewares() -> None:
    app = Application(Hooks(), raises, Raises(), RaisesLater())
    add_endpoints(app)
    add_handlers(app)
    with served(app) as client:
        for place in ("before", "after", "later", "middleware"):
            response = client.get(f"/good?{place}")
            assert (response.status, response.text) == (410, f"ours /good {place}")
            assert response.headers["x-hooks"] == "1"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), SystemExit(3), ProtocolError(420, "Other.")]
)
@pytest.mark.parametrize("waits", [0, 0.5])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_failure_of_the_error_handler(
    error: BaseException, waits: float, chain: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = Application(*chain)
    add_endpoints(app)

    @app.error(KeyError)
    async def handler(request: Request, other: Exception) -> Any:
        if waits:
            await sleep(waits)
        raise error

    for path in ("/plain", "/async"):
        caplog.clear()
        with served(app) as client, caplog.at_level(logging.ERROR, "reactor"):
            response = client.get(path)
        if isinstance(error, ProtocolError):
            assert (response.status, response.text) == (420, "Other.\n")
            assert not caplog.records
        else:
            assert response.status == 500
            assert response.text.startswith("The server failed to process this request.")
            (record,) = caplog.records
            assert "handler (" in record.getMessage()
            assert __file__ in record.getMessage()


def test_a_wrong_result_of_the_error_handler_is_a_500() -> None:
    app = Application()
    add_endpoints(app)

    @app.error(KeyError)
    async def handler(request: Request, error: Exception) -> Any:
        await sleep(0.1)

    with served(app) as client:
        assert client.get("/plain").status == 500


def test_the_fields_of_the_error_stay() -> None:
    app = Application()

    @app.error(405)
    async def handler(request: Request, error: Exception) -> Any:
        await sleep(0.1)
        return 405, "no"

    app.add("GET", "/", lambda request: "")
    with served(app) as client:
        assert client.put("/").headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_client_that_leaves_cancels_the_error_handler() -> None:
    seen: list[str] = []
    app = Application()
    add_endpoints(app)
    app.add("GET", "/", key)

    @app.error(KeyError)
    async def handler(request: Request, error: Exception) -> Any:
        try:
            seen.append("began")
            await sleep(30)
            seen.append("ended")
        finally:
            seen.append("left")
        return 404, "late"

    world = World(app)
    client = world.client(GET)
    world.run(1)
    assert seen == ["began"]
    client.reset()
    world.run(1)
    assert seen == ["began", "left"]
    patient = world.client(GET)
    world.run(31)
    assert only(patient).status == 404
    assert seen == ["began", "left", "began", "ended", "left"]
    world.until_gone()


def test_a_handler_that_is_added_after_the_first_request() -> None:
    app = Application(before)
    app.add("GET", "/", key)
    with served(app) as client:
        assert client.get("/").status == 500

        @app.error(KeyError)
        async def handler(request: Request, error: Exception) -> Any:
            await sleep(0.1)
            return 404, "gone"

        assert client.get("/").text == "gone"


@pytest.mark.parametrize("mounted", [False, True])
def test_a_plain_middleware_above_it_is_refused(mounted: bool) -> None:
    app = Application() if mounted else Application(plain)
    inner = Application(plain)
    inner.add("GET", "/", key)
    app.mount("/in", inner)
    with Client(app) as client, pytest.raises(KeyError):
        client.get("/in/")
    add_handlers(app)
    with pytest.raises(CompositionError, match=r"plain \(.*error handler .*lookup \("):
        app.prepare()


def test_an_error_handler_that_waits_sometimes() -> None:
    app = Application()

    @app.error(404)
    @may_wait
    def handler(request: Request, error: Exception) -> Any:
        async def later() -> str:
            await sleep(0.1)
            return "later"

        return later() if request.query else "now"

    with served(app) as client:
        assert (client.get("/?x").text, client.get("/").text) == ("later", "now")
