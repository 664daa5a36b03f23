"""CORS: the fields of preflights and of responses, for pages of other origins."""

import re
from typing import Any

import pytest

from reactor import Response
from reactor.testing import Client, ClientResponse
from reactor.web.app.application import Application
from reactor.web.app.responses import text
from reactor.web.middlewares import CORS, BasicAuth, RequestId
from tests.support.middleware_app import PATHS, SHARED, STATUSES, application, served

HERE = "https://example.com"
ELSEWHERE = "https://evil.net"


def cors_fields(response: ClientResponse) -> dict[str, str]:
    fields = [(name.lower(), value) for name, value in response.headers.fields()]
    found = {name[15:]: value for name, value in fields if name.startswith("access-control-")}
    assert len(found) == sum(name.startswith("access-control-") for name, _ in fields)
    return found


def varies(response: ClientResponse, *names: str) -> str:
    """Its Vary: errors have a form that depends on Accept, too."""
    return ", ".join((*(["Accept"] if response.status >= 400 else []), *names))


def preflight(
    client: Client, path: str = "/plain", origin: str = HERE, method: str = "GET", headers: str = ""
) -> ClientResponse:
    fields = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        fields["Access-Control-Request-Headers"] = headers
    return client.options(path, headers=fields)


# --- responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_every_response_names_the_allowed_origin(path: str) -> None:
    with served(RequestId(), CORS([HERE])) as client:
        response = client.get(path, headers={"Origin": HERE})
        assert response.status == STATUSES[path]
        assert cors_fields(response) == {"allow-origin": HERE}
        assert response.headers.get_all("vary") == [varies(response, "Origin")]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", [ELSEWHERE, "null", "", f"{HERE}:8443", "http://example.com", f"{HERE}/", "*"]
)
def test_other_origins_are_not_allowed(path: str, origin: str) -> None:
    with served(CORS([HERE])) as client:
        response = client.get(path, headers={"Origin": origin})
        assert response.status == STATUSES[path]  # the browser withholds it
        assert cors_fields(response) == {}
        assert response.headers.get_all("vary") == [varies(response, "Origin")]


def test_responses_vary_also_without_an_origin() -> None:
    with served(CORS([HERE])) as client:
        response = client.get("/plain")
        assert (cors_fields(response), response.headers["vary"]) == ({}, "Origin")


@pytest.mark.parametrize("path", PATHS)
def test_any_origin_gets_the_same_response(path: str) -> None:
    with served(CORS("*")) as client:
        for headers in ({"Origin": HERE}, {"Origin": "null"}, {}):
            response = client.get(path, headers=headers)
            assert cors_fields(response) == {"allow-origin": "*"}
            assert response.headers.get("vary") == varies(response)


def test_credentials_and_exposed_fields() -> None:
    cors = CORS(HERE, expose=["X-Request-Id", "ETag"], credentials=True)
    with served(cors) as client:
        response = client.get("/plain", headers={"Origin": HERE})
        assert cors_fields(response) == {
            "allow-origin": HERE,
            "allow-credentials": "true",
            "expose-headers": "X-Request-Id, ETag",
        }
        assert cors_fields(client.get("/plain", headers={"Origin": ELSEWHERE})) == {}


def predicate(origin: str) -> bool:
    return origin.endswith(".example.com")


PATTERN = re.compile(r"https://[a-z]+\.example\.com")


@pytest.mark.parametrize("origins", [predicate, PATTERN, [HERE, PATTERN]])
def test_origins_by_pattern_and_predicate(origins: Any) -> None:
    with served(CORS(origins, credentials=True)) as client:
        for origin, allowed in (
            ("https://a.example.com", True),
            ("https://a.example.com.evil.net", False),
            ("https://aexample.com", False),
            ("null", False),
        ):
            response = client.get("/plain", headers={"Origin": origin})
            assert cors_fields(response).get("allow-origin") == (origin if allowed else None)
            assert response.headers["vary"] == "Origin"
            assert preflight(client, origin=origin).status == (204 if allowed else 403)


def test_existing_fields_are_kept_and_shared_responses_unchanged() -> None:
    app = application(CORS(HERE))
    own = [("access-control-allow-origin", "*"), ("Vary", "Accept")]
    app.add("GET", "/own", lambda request: Response(200, b"", own))
    with Client(app) as client:
        for _ in range(2):
            response = client.get("/own", headers={"Origin": HERE})
            assert cors_fields(response) == {"allow-origin": "*"}
            assert response.headers.get_all("vary") == ["Accept, Origin"]
            assert cors_fields(client.get("/shared", headers={"Origin": HERE}))
    assert len(SHARED.headers) == 1
    assert len(own) == 2


# --- preflights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, "/read", "/shared", "*"])
def test_a_preflight_needs_no_route(path: str) -> None:
    cors = CORS([HERE], ("GET", "PUT"), ["X-Token"], max_age=60)
    with served(RequestId(), cors, BasicAuth({"a": "b"})) as client:
        if path == "*":
            path = "/read"  # which has no GET
        response = preflight(client, path, method="PUT", headers="x-token, content-type")
        assert (response.status, response.content) == (204, b"")
        assert cors_fields(response) == {
            "allow-origin": HERE,
            "allow-methods": "GET, PUT",
            "allow-headers": "Accept, Accept-Language, Content-Language, Content-Type, X-Token",
            "max-age": "60",
        }
        assert response.headers["vary"] == "Origin"
        assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("origin", "method", "headers", "sentence"),
    [
        (ELSEWHERE, "GET", "", "origin are not allowed"),
        ("null", "GET", "", "origin are not allowed"),
        (HERE, "DELETE", "", "use this method"),
        (HERE, "put", "", "use this method"),
        (HERE, "", "", "use this method"),
        (HERE, "G T", "", "use this method"),
        (HERE, "PUT", "x-other", "send these fields"),
        (HERE, "PUT", "x-token, authorization", "send these fields"),
        (HERE, "PUT", "x-token,,x-token", "send these fields"),
        (HERE, "PUT", "*", "send these fields"),
    ],
)
@pytest.mark.parametrize("path", ["/plain", "/async", "/stream", "/fails", "/none"])
def test_a_preflight_is_refused(
    origin: str, method: str, headers: str, sentence: str, path: str
) -> None:
    with served(RequestId(), CORS([HERE], ("GET", "PUT"), ["X-Token"])) as client:
        response = preflight(client, path, origin, method, headers)
        assert response.status == 403
        assert sentence in response.text
        assert cors_fields(response) == {}
        assert response.headers["vary"] == "Origin"
        assert response.headers["x-request-id"]


@pytest.mark.parametrize("credentials", [False, True])
def test_an_asterisk_allows_every_name(credentials: bool) -> None:
    with served(CORS(PATTERN, "*", "*", credentials=credentials)) as client:
        origin = "https://a.example.com"
        response = preflight(client, "/plain", origin, "PATCH", "authorization, x-any")
        found = cors_fields(response)
        assert found["allow-methods"] == "PATCH"
        assert found["allow-headers"] == "authorization, x-any"
        assert found["allow-origin"] == origin
        assert found.get("allow-credentials") == ("true" if credentials else None)
        assert preflight(client, "/plain", origin, "PATCH", "a b").status == 403
        assert preflight(client, "/plain", origin, "A B").status == 403
        assert "allow-headers" not in cors_fields(preflight(client, "/plain", origin))


def test_other_options_requests_reach_the_application() -> None:
    app = application(CORS(HERE))
    app.add("OPTIONS", "/own", lambda request: text("mine"))
    with Client(app) as client:
        assert client.options("/own").text == "mine"
        response = client.options("/own", headers={"Origin": HERE})
        assert (response.text, cors_fields(response)) == ("mine", {"allow-origin": HERE})
        asked = {"Access-Control-Request-Method": "GET"}
        assert client.options("/own", headers=asked).text == "mine"
        assert preflight(client, "/own").status == 204
        response = client.get("/own", headers={"Origin": HERE, **asked})
        assert (response.status, cors_fields(response)) == (405, {"allow-origin": HERE})


def test_a_group_of_its_own() -> None:
    app = Application()
    group = app.group("/api", CORS(HERE, "*"))
    group.add("PUT", "/x", lambda request: "x")
    app.add("GET", "/y", lambda request: "y")
    with Client(app) as client:
        assert preflight(client, "/api/x", method="PUT").status == 204
        assert cors_fields(preflight(client, "/y")) == {}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("pattern", ["/note", "/{name}"])
def test_a_preflight_is_for_the_route_of_the_method(pattern: str, reverse: bool) -> None:
    """Routes of one path, also by different patterns, in either order and in several groups."""
    app = Application()
    parts: list[tuple[Any, str, str]] = [
        (app, "GET", "/note"),
        (app.group("", CORS(HERE, "PUT")), "PUT", pattern),
        (app.group("", CORS(ELSEWHERE, "PATCH")), "PATCH", "/note"),
    ]
    for group, method, where in reversed(parts) if reverse else parts:
        group.add(method, where, lambda request: request.method)
    with Client(app) as client:
        allowed = preflight(client, "/note", method="PUT")
        assert cors_fields(allowed)["allow-origin"] == HERE
        assert cors_fields(preflight(client, "/note", ELSEWHERE, "PUT")) == {}
        allowed = preflight(client, "/%6eote", ELSEWHERE, "PATCH")
        assert cors_fields(allowed)["allow-origin"] == ELSEWHERE
        for method in ("GET", "HEAD"):
            response = preflight(client, "/note", method=method)
            assert (response.status, cors_fields(response)) == (204, {})
        assert client.options("/note").headers["Allow"] == "GET, HEAD, OPTIONS, PATCH, PUT"


def test_a_preflight_of_head_is_that_of_get() -> None:
    app = Application()
    app.add("PUT", "/a", lambda request: "")
    app.group("", CORS(HERE)).add("GET", "/a", lambda request: "")
    with Client(app) as client:
        assert cors_fields(preflight(client, "/a", method="HEAD"))["allow-origin"] == HERE


def test_a_preflight_for_a_mounted_handler_is_its_own() -> None:
    app = Application()
    app.add("GET", "/a/x", lambda request: "")
    app.mount("/a", lambda request: Response(204, b"", (("X-Own", request.method),)))
    with Client(app) as client:
        assert preflight(client, "/a/x", method="PUT").headers["X-Own"] == "OPTIONS"
        assert "X-Own" not in preflight(client, "/a/x", method="GET").headers


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origins", "options"),
    [
        ("*", {"credentials": True}),
        ([], {}),
        ("", {}),
        (["*", HERE], {}),
        ("null", {}),
        (f"{HERE}/", {}),
        (f"{HERE}/path", {}),
        ("https://Example.com", {}),
        ("example.com", {}),
        (f"{HERE}:443", {}),
        ("http://a:80", {}),
        ("https://*.example.com", {}),
        (HERE, {"methods": ["A B"]}),
        (HERE, {"headers": "X Token"}),
        (HERE, {"expose": ["a\r\nb"]}),
        (HERE, {"max_age": -1}),
    ],
)
def test_options(origins: Any, options: Any) -> None:
    with pytest.raises(ValueError):
        CORS(origins, **options)


@pytest.mark.parametrize(
    "origin", [HERE, "http://localhost:3000", "http://[::1]:80800"[:-1], "app://x", "http://a:443"]
)
def test_valid_origins(origin: str) -> None:
    CORS(origin)
