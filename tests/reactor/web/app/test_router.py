"""Routes: the endpoint of a path, and the responses of paths without one."""

from collections.abc import Awaitable
from typing import Any
from uuid import UUID
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Future, Headers, Response
from reactor.messages.request import BaseRequest
from reactor.web.app.application import Application
from reactor.web.app.converters import CONVERTERS, Converter
from reactor.web.app.router import PATHS, SHORT, RouteError, Router, build_path, parse_pattern


def made(path: str, method: str = "GET") -> BaseRequest:
    target, _, query = path.partition("?")
    return BaseRequest(method, path, target, query, 1, Headers())


def endpoint(name: str) -> Any:
    return lambda request: Response(200, name.encode(), list(request.params.items()))


@pytest.fixture
def router() -> Application:
    router = Application()
    for pattern in (
        "/",
        "/users",
        "/users/{name}",
        "/users/{name}/posts/{post}",
        "/users/me",
        "/files/{path:segments}",
        "/files/index",
        "/files/{folder}/list",
        "/a/b/c",
        "/a/{x}/d",
    ):
        router.add("GET", pattern, endpoint(pattern))
    router.add("PUT", "/users/{name}", endpoint("put"))
    return router


def route(router: Application, path: str, method: str = "GET") -> tuple[str, dict[str, Any]]:
    response = router(made(path, method))
    assert isinstance(response, Response)
    assert isinstance(response.body, bytes)
    return response.body.decode(), dict(response.headers)


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/", "/", {}),
        ("/users", "/users", {}),
        ("/users/ann", "/users/{name}", {"name": "ann"}),
        ("/users/me", "/users/me", {}),  # a literal comes before a parameter
        ("/users/me%20", "/users/{name}", {"name": "me "}),
        ("/users/%6De", "/users/me", {}),  # the segment is decoded before it is compared
        ("/users/a%2Fb", "/users/{name}", {"name": "a/b"}),
        ("/users/ann/posts/1", "/users/{name}/posts/{post}", {"name": "ann", "post": "1"}),
        ("/users/me/posts/1", "/users/{name}/posts/{post}", {"name": "me", "post": "1"}),
        ("/files/a", "/files/{path:segments}", {"path": ("a",)}),
        ("/files/", "/files/{path:segments}", {"path": ("",)}),
        ("/files/a/b/", "/files/{path:segments}", {"path": ("a", "b", "")}),
        ("/files/a%2Fb/c", "/files/{path:segments}", {"path": ("a/b", "c")}),
        ("/files/index", "/files/index", {}),
        ("/files/index/x", "/files/{path:segments}", {"path": ("index", "x")}),
        ("/files/a/list", "/files/{folder}/list", {"folder": "a"}),
        ("/a/b/c", "/a/b/c", {}),
        ("/a/b/d", "/a/{x}/d", {"x": "b"}),  # the branch of a literal is left again
    ],
)
def test_paths_that_have_a_route(
    router: Application, path: str, pattern: str, parameters: dict[str, Any]
) -> None:
    assert route(router, path) == (pattern, parameters)
    assert route(router, path, "HEAD") == (pattern, parameters)


def response_to(router: Application, path: str, method: str) -> Response:
    response = router(made(path, method))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    "path",
    ["/x", "/users/", "/users//posts/1", "/users/ann/", "/files", "/a", "/a/b", "/a/b/c/", "//"],
)
def test_paths_that_have_no_route(router: Application, path: str) -> None:
    assert response_to(router, path, "GET").status == 404


def test_another_method_is_a_405(router: Application) -> None:
    assert route(router, "/users/ann", "PUT")[0] == "put"
    for path, allowed in (
        ("/users", "GET, HEAD, OPTIONS"),
        ("/users/x", "GET, HEAD, OPTIONS, PUT"),
        ("/users/me", "GET, HEAD, OPTIONS, PUT"),  # from all patterns that fit
    ):
        response = response_to(router, path, "DELETE")
        assert (response.status, dict(response.headers)["Allow"]) == (405, allowed)
    for path in ("/users", "/users/x"):
        response = response_to(router, path, "OPTIONS")
        assert (response.status, response.body) == (204, b"")
    assert dict(response.headers) == {"Allow": "GET, HEAD, OPTIONS, PUT"}


def test_a_later_pattern_may_have_the_method(router: Application) -> None:
    assert route(router, "/users/me", "PUT") == ("put", {"name": "me"})


def test_options_of_the_asterisk(router: Application) -> None:
    assert dict(response_to(router, "*", "OPTIONS").headers) == {"Allow": "GET, HEAD, OPTIONS, PUT"}


@pytest.mark.parametrize(
    "pattern",
    ["", "x", "/{", "/{}", "/{a b}", "/{1}", "/{x:no}", "/{x:path}/y", "/{x}y", "/{x}/{x}", "/a}b"],
)
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(RouteError):
        Router[str]().add("GET", pattern, "x")


def test_a_route_that_exists_already() -> None:
    router: Router[str] = Router()
    for pattern in ("/users", "/users/{name}", "/files/{path:path}"):
        router.add("GET", pattern, "x", "first.py, line 1")
    for pattern in ("/users", "/users/{other}", "/files/{rest:path}"):
        with pytest.raises(RouteError, match=r"second.*first\.py, line 1"):
            router.add("GET", pattern, "x", "second.py, line 2")
    router.add("POST", "/users", "y")
    found = router.find("/users")
    assert found is not None
    assert {method: target.value for method, target in found[0].items()} == {
        "GET": "x",
        "POST": "y",
    }


def test_ambiguous_routes_are_refused() -> None:
    own = {**CONVERTERS, "a": Converter("a", str), "b": Converter("b", str)}
    router: Router[str] = Router(own)
    router.add("GET", "/{x:a}/1", "x", "first.py")
    with pytest.raises(RouteError, match=r"second\.py.*first\.py"):
        router.add("GET", "/{x:b}/2", "x", "second.py")
    with pytest.raises(RouteError, match="segments"):
        router.add("GET", "/f/{x:path}", "x")
        router.add("POST", "/f/{x:segments}", "x")
    router.add("GET", "/{x:int}/1", "x")


@pytest.mark.parametrize(
    ("path", "kind", "value"),
    [
        ("/7", "int", 7),
        ("/007", "int", 7),
        ("/999999999999999999", "int", 10**18 - 1),
        ("/1000000000000000000", "str", "1" + "0" * 18),  # more than 64 bits
        ("/7.5", "float", 7.5),
        ("/-7", "str", "-7"),
        ("/+7", "str", "+7"),
        ("/7.", "str", "7."),
        ("/1e3", "str", "1e3"),
        ("/nan", "str", "nan"),
        ("/\u0661", "str", "\u0661"),  # a digit of another script
        ("/7%0A", "str", "7\n"),
        (
            "/12345678-1234-5678-1234-567812345678",
            "uuid",
            UUID("12345678-1234-5678-1234-567812345678"),
        ),
        ("/12345678123456781234567812345678", "str", "12345678123456781234567812345678"),
        ("/a/b", "path", "a/b"),
        ("/a%2Fb/c", "path", "a/b/c"),
        ("/a/", "path", "a/"),
        ("//", "path", "/"),
    ],
)
def test_the_narrow_kind_comes_before_the_wide_one(path: str, kind: str, value: Any) -> None:
    router: Router[str] = Router()
    for each in ("path", "str", "float", "uuid", "int"):
        router.add("GET", f"/{{x:{each}}}", each)
    found = router.find(path)
    assert found is not None
    leaf, values = found
    assert (leaf["GET"].value, values) == (kind, (value,))
    assert type(values[0]) is type(value)


@given(
    st.lists(
        st.one_of(
            st.text("abc%/ \u00e9.", min_size=1).filter(lambda text: text not in (".", "..")),
            st.integers(0, 10**18 - 1),
            st.uuids(),
            st.floats(0, 1e15, allow_subnormal=False).map(lambda number: round(number, 3)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_built_path_leads_back(values: list[Any]) -> None:
    kinds = {str: "str", int: "int", UUID: "uuid", float: "float"}
    names = [f"{{v{number}:{kinds[type(value)]}}}" for number, value in enumerate(values)]
    pattern = "/x/" + "/".join(names)
    router: Router[str] = Router()
    router.add("GET", pattern, "x")
    path = build_path(parse_pattern(pattern), {f"v{n}": value for n, value in enumerate(values)})
    assert path.isascii()
    found = router.find(path)
    assert found is not None
    assert found[1] == tuple(values)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", -1), ("int", 1.5), ("int", "x"), ("float", -0.5), ("uuid", "x"), ("str", "")],
)
def test_values_that_no_path_can_have(kind: str, value: Any) -> None:
    with pytest.raises(ValueError):
        build_path(parse_pattern(f"/{{x:{kind}}}"), {"x": value})


def test_many_routes_cost_no_more() -> None:
    """The routes are a tree: the cost depends on the length of the path."""
    router = Application()
    for number in range(2000):
        router.add("GET", f"/a{number}/b/{{c}}", endpoint(str(number)))
    assert route(router, "/a1999/b/x") == ("1999", {"c": "x"})


class Body:
    """The source of a request body that arrives later."""

    def __init__(self) -> None:
        self.future: Future[bytes] = Future()

    async def read(self) -> bytes:
        return await self.future


def test_a_plain_endpoint_is_called_when_the_body_is_there() -> None:
    router = Application()
    seen: list[bytes] = []

    def post(request: BaseRequest) -> Response:
        seen.append(request.content)
        return Response(201)

    router.add("POST", "/", post)
    request, body = made("/", "POST"), Body()
    request.length = 5
    request.body = body  # type: ignore[assignment]
    response = router(request)
    assert isinstance(response, Awaitable)
    step = response.__await__()
    step.send(None)
    assert seen == []
    body.future.set_result(b"12345")
    with pytest.raises(StopIteration) as stopped:
        step.send(None)
    assert stopped.value.value.status == 201
    assert seen == [b"12345"]


def test_an_async_endpoint_reads_its_body_itself() -> None:
    router = Application()

    async def post(request: BaseRequest) -> Response:
        return Response(201, await request.body.read())

    router.add("POST", "/", post)
    request, body = made("/", "POST"), Body()
    request.length = 5
    request.body = body  # type: ignore[assignment]
    body.future.set_result(b"12345")
    response = router(request)
    assert isinstance(response, Awaitable)
    with pytest.raises(StopIteration) as stopped:
        response.__await__().send(None)
    assert stopped.value.value.body == b"12345"


def test_a_router_at_the_root_and_another_below() -> None:
    """A mount at "/" takes all other paths, "/" included."""
    router = Application()
    for pattern in ("/{name:segments}", "/a/{name:segments}", "/a", "/a/b/{name:segments}"):
        router.add("GET", pattern, endpoint(pattern))
    for path, pattern, parameters in (
        ("/", "/{name:segments}", {"name": ("",)}),
        ("//", "/{name:segments}", {"name": ("", "")}),
        ("/x/y", "/{name:segments}", {"name": ("x", "y")}),
        ("/a", "/a", {}),
        ("/a/", "/a/{name:segments}", {"name": ("",)}),
        ("/a/b", "/a/{name:segments}", {"name": ("b",)}),
        ("/a/b/", "/a/b/{name:segments}", {"name": ("",)}),
        ("/%61/%62/c", "/a/b/{name:segments}", {"name": ("c",)}),
        ("/a%2Fb/c", "/{name:segments}", {"name": ("a/b", "c")}),
    ):
        assert route(router, path) == (pattern, parameters)
    response = router(made("*", "OPTIONS"))
    assert isinstance(response, Response)


def test_head_and_options_may_be_routes(router: Application) -> None:
    for method in ("HEAD", "OPTIONS", "PATCH"):
        router.add(method, "/files/.uploads/{id}", endpoint(method))
        assert route(router, "/files/.uploads/7", method) == (method, {"id": "7"})
    assert route(router, "/files/.uploads/7")[0] == "/files/{path:segments}"
    assert route(router, "/files/.uploads/")[0] == "/files/{path:segments}"


def test_a_router_is_freed_at_once() -> None:
    """Files that its endpoints hold are closed then, without a run of the garbage collector."""

    class Endpoint:
        def __call__(self, request: BaseRequest) -> Response:
            return Response(200, b"x")

    router = Application()
    router.add("GET", "/x", Endpoint())
    assert route(router, "/x")[0] == "x"
    seen = ref(router)
    del router
    assert seen() is None


def test_paths_that_are_remembered_are_bounded_and_forgotten_with_a_new_route() -> None:
    router: Router[str] = Router()
    router.add("GET", "/{name:path}", "all")
    for number in [*range(PATHS + 10), 0, 1]:
        for _ in range(2):
            path = f"/a/{number}"
            found = router.known.get(path) or router.find(path)
            assert found is not None
            assert found[1] == (f"a/{number}",)
        assert len(router.known) <= PATHS
    long = "/" + SHORT * "a"
    assert router.find(long) is not None
    assert long not in router.known, "a long path is looked for each time"
    router.add("GET", "/a/1", "one")
    assert not router.known
