"""Chains of middlewares: their kinds, their order, their errors."""

from typing import Any

import pytest

from reactor import ProtocolError, Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.responses import text
from reactor.web.endpoint import (
    CompositionError,
    Middleware,
    ResponseOrAwaitable,
    before_only,
    may_wait,
)
from tests.support.app_parts import (
    Hooks,
    async_endpoint,
    asynchronous,
    before,
    endpoint,
    plain,
    served,
)

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
def test_every_allowed_chain_runs(middlewares: list[Any], innermost: Any) -> None:
    app = Application(*middlewares)
    app.add(("GET", "POST"), "/", innermost)
    with Client(app) as client:
        for response, body in ((client.get("/"), ""), (client.post("/", content="abc"), "abc")):
            assert (response.status, response.text) == (200, f"body {body}")
            for field, middleware in (("x-plain", plain), ("x-async", asynchronous)):
                assert len(response.headers.get_all(field)) == middlewares.count(middleware)
            hooks = sum(isinstance(one, Hooks) for one in middlewares)
            assert len(response.headers.get_all("x-hooks")) == hooks
        kinds: tuple[tuple[str, Any], ...] = (("stop", before), ("hook", Hooks))
        for word, middleware in kinds:
            if any(one is middleware or type(one) is middleware for one in middlewares):
                assert client.get(f"/?{word}").status == 403
        assert client.get("/none").status == 404
        assert client.post("/none", content=b"x" * 100_000).status == 404


@pytest.mark.parametrize(("middlewares", "innermost"), REFUSED)
def test_a_plain_middleware_above_an_awaited_part_is_refused(
    middlewares: list[Any], innermost: Any
) -> None:
    app = Application(*middlewares)
    app.add("GET", "/here", innermost)
    with pytest.raises(CompositionError, match=r"/here.*plain .*app_parts\.py.*awaited: "):
        app.prepare()


def test_a_middleware_must_be_callable() -> None:
    no_middleware: Any = "x"
    app = Application(no_middleware)
    app.add("GET", "/", endpoint)
    with pytest.raises(CompositionError, match="'x'"):
        app.prepare()


@pytest.mark.parametrize("outer", [before, Hooks()])
def test_a_refusal_comes_before_a_byte_of_the_body(outer: Any) -> None:
    app = Application(outer, plain)
    app.add("POST", "/", endpoint)
    with Client(app) as client:
        response = client.post("/?stop&hook", headers={"Expect": "100-continue"}, content="abc")
        assert response.status == 403
        assert response.informational == []


def test_a_middleware_can_catch_unexpected_errors() -> None:
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
            response = client.get(f"{path}?expected")
            assert (response.status, response.text) == (409, "No.\n")
    assert len(caught) == 2


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_uncaught_error_passes_hooks_as_a_response(kind: str) -> None:
    def fails(request: Any) -> Any:
        raise ZeroDivisionError

    async def fails_later(request: Any) -> Any:
        raise ZeroDivisionError

    app = Application(Hooks())
    app.add("GET", "/", fails if kind == "plain" else fails_later)
    with served(app) as client:
        response = client.get("/")
        assert (response.status, response.headers.get("x-hooks")) == (500, "1")


@pytest.mark.parametrize("place", ["plain", "async", "before", "hooks"])
def test_a_protocol_error_of_a_middleware_is_the_response(place: str) -> None:
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
            response = client.get("/")
            assert (response.status, response.headers.get("retry-after")) == (429, "1")
            assert "x-hooks" in response.headers or "x-async" in response.headers


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


# --- after hooks that fail or wait ---------------------------------------------------------------


def plain_endpoint(request: Any) -> str:
    return "plain"


async def async_text(request: Any) -> str:
    await sleep(0.1)
    return "async"


def fails(request: Any) -> str:
    raise ZeroDivisionError


class Outer(Middleware):
    def __init__(self) -> None:
        self.seen: list[int] = []

    def after(self, request: Any, response: Response) -> Response:
        self.seen.append(response.status)
        return response


class Waiting(Middleware):
    """An `after` hook that is `async def`."""

    async def after(self, request: Any, response: Response) -> Response:
        await sleep(1)
        return _after(request, response)


class Sometimes(Middleware):
    """An `after` hook that waits for some requests."""

    @may_wait
    def after(self, request: Any, response: Response) -> ResponseOrAwaitable:
        return self._later(request, response) if request.query else _after(request, response)

    async def _later(self, request: Any, response: Response) -> Response:
        await sleep(1)
        return _after(request, response)


class Never(Middleware):
    def after(self, request: Any, response: Response) -> Response:
        return _after(request, response)


def _after(request: Any, response: Response) -> Response:
    if "refuse" in request.query or "refuse" in request.headers:
        raise ProtocolError(409, "On the way out.")
    if "fail" in request.query or "fail" in request.headers:
        raise KeyError("on the way out")
    return Response(response.status, response.body, (*response.headers, ("X-After", "1")))


async def catching(request: Any, next: Any) -> Response:
    response = await next(request)
    assert isinstance(response, Response)
    return response


KINDS = [Waiting, Sometimes, Never]


def application(*middlewares: Any) -> Application:
    app = Application(*middlewares)
    app.add(("GET", "POST"), "/plain", plain_endpoint)
    app.add("GET", "/async", async_text)
    app.add("GET", "/fails", fails)
    return app


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [[], [catching], [Never()], [Waiting()]])
@pytest.mark.parametrize("path", ["/plain", "/async", "/fails", "/none"])
def test_after_hooks_may_wait(kind: Any, between: list[Any], path: str) -> None:
    outer = Outer()
    app = application(outer, *between, kind())
    status = {"/fails": 500, "/none": 404}.get(path, 200)
    with Client(app, raise_server_exceptions=False) as client:
        for query in ("", "?wait"):
            response = client.get(path + query)
            assert response.status == status
            assert "x-after" in response.headers
    assert outer.seen == [status] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [[], [catching]])
@pytest.mark.parametrize("path", ["/plain", "/async", "/fails", "/none"])
def test_an_error_of_an_after_hook_is_a_response_further_out(
    kind: Any, between: list[Any], path: str
) -> None:
    outer = Outer()
    app = application(outer, *between, kind())
    with Client(app, raise_server_exceptions=False) as client:
        for way in ("?refuse", "?fail"):
            assert client.get(path + way).status == (409 if way == "?refuse" else 500)
        assert client.get(path, headers={"Refuse": "1"}).status == 409
        assert client.get(path, headers={"Fail": "1"}).status == 500
    assert outer.seen == [409, 500, 409, 500]


def test_an_error_of_an_after_hook_reaches_error_handlers() -> None:
    app = application(Waiting())

    @app.error(KeyError)
    def missing(request: Any, error: KeyError) -> Any:
        return text("missing", 410)

    with Client(app) as client:
        assert client.get("/plain?fail").status == 410


@pytest.mark.parametrize("kind", [Waiting, Sometimes])
def test_no_plain_middleware_may_stand_above_a_hook_that_waits(kind: Any) -> None:
    def outside(request: Any, next: Any) -> Any:
        return next(request)

    with pytest.raises(CompositionError, match=f"outside.* is plain.*awaited: {kind.__name__}"):
        application(outside, kind()).prepare()
    app = Application(kind(), outside)
    app.add("POST", "/plain", plain_endpoint)
    with Client(app) as client:
        assert client.post("/plain", content="x").headers["x-after"] == "1"


def test_a_before_hook_must_not_wait() -> None:
    class Wrong(Middleware):
        async def before(self, request: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(CompositionError, match=r"Wrong\.before .*async def"):
        application(Wrong()).prepare()
