"""Routes: which endpoint a path belongs to, and what is answered where there is none."""

from collections.abc import Awaitable
from typing import Any
from weakref import ref

import pytest

from handlers.router import Router
from reactor import Future, Headers, ProtocolError, Request, Response


def made(path: str, method: str = "GET") -> Request:
    target, _, query = path.partition("?")
    return Request(method, path, target, query, 1, Headers())


def endpoint(name: str) -> Any:
    return lambda request: Response(200, name.encode(), list(request.params.items()))


@pytest.fixture
def router() -> Router:
    router = Router()
    for pattern in (
        "/",
        "/users",
        "/users/{name}",
        "/users/{name}/posts/{post}",
        "/users/me",
        "/files/{path:path}",
        "/files/index",
        "/files/{folder}/list",
        "/a/b/c",
        "/a/{x}/d",
    ):
        router.add("GET", pattern, endpoint(pattern))
    router.add("PUT", "/users/{name}", endpoint("put"))
    return router


def route(router: Router, path: str, method: str = "GET") -> tuple[str, dict[str, Any]]:
    answer = router(made(path, method))
    assert isinstance(answer, Response)
    assert isinstance(answer.body, bytes)
    return answer.body.decode(), dict(answer.headers)


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/", "/", {}),
        ("/users", "/users", {}),
        ("/users/ann", "/users/{name}", {"name": "ann"}),
        ("/users/me", "/users/me", {}),  # a literal comes before a parameter
        ("/users/me%20", "/users/{name}", {"name": "me "}),
        ("/users/%6De", "/users/me", {}),  # decoded before it is compared
        ("/users/a%2Fb", "/users/{name}", {"name": "a/b"}),
        ("/users/ann/posts/1", "/users/{name}/posts/{post}", {"name": "ann", "post": "1"}),
        ("/users/me/posts/1", "/users/{name}/posts/{post}", {"name": "me", "post": "1"}),
        ("/files/a", "/files/{path:path}", {"path": ("a",)}),
        ("/files/", "/files/{path:path}", {"path": ("",)}),
        ("/files/a/b/", "/files/{path:path}", {"path": ("a", "b", "")}),
        ("/files/a%2Fb/c", "/files/{path:path}", {"path": ("a/b", "c")}),
        ("/files/index", "/files/index", {}),
        ("/files/index/x", "/files/{path:path}", {"path": ("index", "x")}),
        ("/files/a/list", "/files/{folder}/list", {"folder": "a"}),
        ("/a/b/c", "/a/b/c", {}),
        ("/a/b/d", "/a/{x}/d", {"x": "b"}),  # back from a literal that led nowhere
    ],
)
def test_where_a_path_leads(
    router: Router, path: str, pattern: str, parameters: dict[str, Any]
) -> None:
    assert route(router, path) == (pattern, parameters)
    assert route(router, path, "HEAD") == (pattern, parameters)


@pytest.mark.parametrize(
    "path",
    ["/x", "/users/", "/users//posts/1", "/users/ann/", "/files", "/a", "/a/b", "/a/b/c/", "//"],
)
def test_where_no_path_leads(router: Router, path: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        router(made(path))
    assert caught.value.status == 404


def test_another_method(router: Router) -> None:
    assert route(router, "/users/ann", "PUT")[0] == "put"
    for path, allowed in (
        ("/users", "GET, HEAD, OPTIONS"),
        ("/users/x", "GET, HEAD, OPTIONS, PUT"),
    ):
        with pytest.raises(ProtocolError) as caught:
            router(made(path, "DELETE"))
        assert caught.value.status == 405
        assert dict(caught.value.headers) == {"Allow": allowed}
        answer = router(made(path, "OPTIONS"))
        assert isinstance(answer, Response)
        assert (answer.status, dict(answer.headers)) == (204, {"Allow": allowed})


def test_the_asterisk(router: Router) -> None:
    answer = router(made("*", "OPTIONS"))
    assert isinstance(answer, Response)
    assert dict(answer.headers) == {"Allow": "GET, HEAD, OPTIONS, PUT"}


@pytest.mark.parametrize(
    "pattern",
    ["", "x", "/{", "/{}", "/{a b}", "/{1}", "/{x:int}", "/{x:path}/y", "/users/{other}", "/{x}y"],
)
def test_a_pattern_that_is_none(router: Router, pattern: str) -> None:
    with pytest.raises(ValueError):
        router.add("GET", pattern, endpoint("x"))


def test_a_route_that_is_there_already(router: Router) -> None:
    for pattern in ("/users", "/users/{name}", "/files/{path:path}"):
        with pytest.raises(ValueError):
            router.add("GET", pattern, endpoint("x"))
    router.add("POST", "/users", endpoint("post"))
    assert route(router, "/users", "POST")[0] == "post"


def test_many_routes_cost_no_more() -> None:
    """A tree: the path decides how much is looked at."""
    router = Router()
    for number in range(2000):
        router.add("GET", f"/a{number}/b/{{c}}", endpoint(str(number)))
    assert route(router, "/a1999/b/x") == ("1999", {"c": "x"})


class Body:
    """A request's body that comes later."""

    def __init__(self) -> None:
        self.future: Future[bytes] = Future()

    async def read(self) -> bytes:
        return await self.future


def test_a_plain_endpoint_is_called_when_the_body_is_there() -> None:
    router = Router()
    seen: list[bytes] = []

    def post(request: Request) -> Response:
        seen.append(request.content)
        return Response(201)

    router.add("POST", "/", post)
    request, body = made("/", "POST"), Body()
    request.length = 5
    request.body = body  # type: ignore[assignment]
    answer = router(request)
    assert isinstance(answer, Awaitable)
    step = answer.__await__()
    step.send(None)
    assert seen == []
    body.future.set_result(b"12345")
    with pytest.raises(StopIteration) as stopped:
        step.send(None)
    assert stopped.value.value.status == 201
    assert seen == [b"12345"]


def test_an_async_endpoint_reads_its_body_itself() -> None:
    router = Router()

    async def post(request: Request) -> Response:
        return Response(201, await request.body.read())

    router.add("POST", "/", post)
    request, body = made("/", "POST"), Body()
    request.length = 5
    request.body = body  # type: ignore[assignment]
    body.future.set_result(b"12345")
    answer = router(request)
    assert isinstance(answer, Awaitable)
    with pytest.raises(StopIteration) as stopped:
        answer.__await__().send(None)
    assert stopped.value.value.body == b"12345"


def test_a_router_at_the_root_and_another_below() -> None:
    """A mount at "/" takes what no other pattern does, "/" included."""
    router = Router()
    for pattern in ("/{name:path}", "/a/{name:path}", "/a", "/a/b/{name:path}"):
        router.add("GET", pattern, endpoint(pattern))
    for path, pattern, parameters in (
        ("/", "/{name:path}", {"name": ("",)}),
        ("//", "/{name:path}", {"name": ("", "")}),
        ("/x/y", "/{name:path}", {"name": ("x", "y")}),
        ("/a", "/a", {}),
        ("/a/", "/a/{name:path}", {"name": ("",)}),
        ("/a/b", "/a/{name:path}", {"name": ("b",)}),
        ("/a/b/", "/a/b/{name:path}", {"name": ("",)}),
        ("/%61/%62/c", "/a/b/{name:path}", {"name": ("c",)}),
        ("/a%2Fb/c", "/{name:path}", {"name": ("a/b", "c")}),
    ):
        assert route(router, path) == (pattern, parameters)
    answer = router(made("*", "OPTIONS"))
    assert isinstance(answer, Response)


def test_head_and_options_of_ones_own(router: Router) -> None:
    for method in ("HEAD", "OPTIONS", "PATCH"):
        router.add(method, "/files/.uploads/{id}", endpoint(method))
        assert route(router, "/files/.uploads/7", method) == (method, {"id": "7"})
    with pytest.raises(ProtocolError) as caught:
        router(made("/files/.uploads/7"))
    assert caught.value.status == 405
    assert dict(caught.value.headers) == {"Allow": "HEAD, OPTIONS, PATCH"}
    assert route(router, "/files/.uploads/")[0] == "/files/{path:path}"


def test_a_router_is_let_go_at_once() -> None:
    """What its endpoints hold open is closed then, not when circles are looked for."""

    class Endpoint:
        def __call__(self, request: Request) -> Response:
            return Response(200, b"x")

    router = Router()
    router.add("GET", "/x", Endpoint())
    assert route(router, "/x")[0] == "x"
    seen = ref(router)
    del router
    assert seen() is None
