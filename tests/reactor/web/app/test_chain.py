"""Hooks that fail or wait on the way out; test_application.py has what else there is of chains."""

from typing import Any

import pytest

from reactor import ProtocolError, Response, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.responses import text
from reactor.web.endpoint import CompositionError, Middleware, ResponseOrAwaitable, may_wait


def plain(request: Any) -> str:
    return "plain"


async def awaited(request: Any) -> str:
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
    """One that is `async def`."""

    async def after(self, request: Any, response: Response) -> Response:
        await sleep(1)
        return _after(request, response)


class Sometimes(Middleware):
    """One that waits where it is asked to."""

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
    answer = await next(request)
    assert isinstance(answer, Response)
    return answer


KINDS = [Waiting, Sometimes, Never]


def application(*middlewares: Any) -> Application:
    app = Application(*middlewares)
    app.add(("GET", "POST"), "/plain", plain)
    app.add("GET", "/async", awaited)
    app.add("GET", "/fails", fails)
    return app


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [[], [catching], [Never()], [Waiting()]])
@pytest.mark.parametrize("path", ["/plain", "/async", "/fails", "/none"])
def test_hooks_that_wait_on_the_way_out(kind: Any, between: list[Any], path: str) -> None:
    outer = Outer()
    app = application(outer, *between, kind())
    status = {"/fails": 500, "/none": 404}.get(path, 200)
    with Client(app, raise_server_exceptions=False) as client:
        for query in ("", "?wait"):
            answer = client.get(path + query)
            assert answer.status == status
            assert "x-after" in answer.headers
    assert outer.seen == [status] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [[], [catching]])
@pytest.mark.parametrize("path", ["/plain", "/async", "/fails", "/none"])
def test_what_fails_on_the_way_out_is_an_answer_further_out(
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


def test_an_error_handler_is_asked() -> None:
    app = application(Waiting())

    @app.error(KeyError)
    def missing(request: Any, error: KeyError) -> Any:
        return text("missing", 410)

    with Client(app) as client:
        assert client.get("/plain?fail").status == 410


@pytest.mark.parametrize("kind", [Waiting, Sometimes])
def test_no_plain_middleware_stands_above_one_that_waits(kind: Any) -> None:
    def outside(request: Any, next: Any) -> Any:
        return next(request)

    with pytest.raises(CompositionError, match=f"outside.* is plain.*awaited: {kind.__name__}"):
        application(outside, kind()).prepare()
    app = Application(kind(), outside)
    app.add("POST", "/plain", plain)
    with Client(app) as client:
        assert client.post("/plain", content="x").headers["x-after"] == "1"


def test_a_hook_on_the_way_in_does_not_wait() -> None:
    class Wrong(Middleware):
        async def before(self, request: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(CompositionError, match=r"Wrong\.before .*async def"):
        application(Wrong()).prepare()
