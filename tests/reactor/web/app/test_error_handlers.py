"""Error handlers: the responses to exceptions, in one place for an application."""

from typing import Any

import pytest

from reactor import Limits, ProtocolError, Response, ResponseError, sleep
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.responses import json
from reactor.web.middlewares import RequestId
from tests.support.app_parts import Hooks, asynchronous, before, endpoint, plain, served

TEXT = "text/plain; charset=utf-8"


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


@pytest.mark.parametrize("middlewares", [[], [before], [Hooks()], [plain], [asynchronous]])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_failures_get_the_response_of_the_application(middlewares: list[Any], method: str) -> None:
    def fails(request: Any) -> Any:
        raise ZeroDivisionError

    app = Application(*middlewares)
    app.add(method, "/", fails)
    app.error(500)(lambda request, error: (500, f"ours: {type(error).__name__}"))
    with served(app) as client:
        response = client.request(method, "/", content=b"x" if method == "POST" else None)
        assert (response.status, response.text) == (500, "ours: ZeroDivisionError")


def test_a_500_reveals_nothing_about_the_error() -> None:
    with served(failing_application()) as client:
        response = client.get("/key")
        assert (response.status, response.text) == (
            500,
            "The server failed to process this request.\n",
        )
        response = client.get("/key", headers={"Accept": "application/json"})
        assert response.headers.get("content-type") == "application/problem+json"
        assert response.json() == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "The server failed to process this request.",
        }
        assert client.get("/404").text == "<404>\n"
        response = client.get("/422", headers={"Accept": "application/problem+json"})
        assert response.json()["detail"] == "<422>"
        assert client.get("/799", headers={"Accept": "application/json"}).json()["title"] == ""
        response = client.get("/none/x", headers={"Accept": "text/html, application/json;q=0.9"})
        assert response.headers.get("content-type") == "text/html; charset=utf-8"
        response = client.get("/none/x", headers={"Accept": "text/plain, application/json;q=0.9"})
        assert response.headers.get("content-type") == TEXT


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
        response = client.get("/404")
        assert (response.text, response.headers.get("x-error")) == ("nothing at /404", "<404>")
        assert client.get("/no/where").text == "nothing at /no/where"
        assert client.get("/409").text == "<409>\n"
        assert client.get("/418").status == 500
        assert client.get("/419").status == 420
        assert client.post("/key").status == 405


def test_invalid_error_handlers() -> None:
    app = Application()
    wrong: tuple[tuple[Any, Any], ...] = (
        (200, endpoint),
        ("x", endpoint),
        (Cancelled, endpoint),
    )
    for what, handler in wrong:
        with pytest.raises(ValueError):
            app.error(what)(handler)
    app.error(404)(lambda request, error: "")
    with pytest.raises(ValueError, match="already"):
        app.error(404)(lambda request, error: "")


class Cancelled(BaseException):
    pass


def test_debugging_shows_the_error_and_hides_secrets() -> None:
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
        response = client.get("/", headers=headers)
        assert response.status == 500
        assert response.headers.get("content-type") == "text/html; charset=utf-8"
        assert "ValueError: &lt;b&gt;&lt;script&gt;" in response.text
        assert "<script>" not in response.text
        assert "(hidden)" in response.text
        assert secret not in response.text
        assert "raise ValueError(f" in response.text
        response = client.get("/", headers={"Cookie": "a=b"})
        assert response.headers.get("content-type") == TEXT
        assert response.text.startswith("Traceback")
        assert client.get("/none").text.startswith("There is nothing here.\nThe application has")


def test_a_500_contains_the_id_of_its_request() -> None:
    app = Application(RequestId())

    @app.get("/")
    def fails(request: Request) -> str:
        raise ZeroDivisionError

    with served(app) as client:
        response = client.get("/")
        identifier = response.headers["X-Request-Id"]
        assert response.text.endswith(f" Its id is {identifier}.\n")


def test_a_handler_for_exception_is_for_unexpected_errors() -> None:
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


def test_the_response_of_an_error_handler_gets_required_fields() -> None:
    app = Application()
    app.add("GET", "/", lambda request: "")
    app.error(405)(lambda request, error: (405, "no"))
    with Client(app) as client:
        response = client.post("/")
        assert (response.text, response.headers["Allow"]) == ("no", "GET, HEAD, OPTIONS")


# --- errors that the server finds ----------------------------------------------------------------

BROWSER = {"Accept": "text/html, */*;q=0.8"}


def broken_application() -> Application:
    app = Application()

    @app.get("/field")
    def field(request: Request) -> Response:
        return Response(200, b"", [("X-Bad", "a\r\nb")])

    @app.get("/nothing")
    async def nothing(request: Request) -> Any:
        return Response(200, b"x", [("Content-Length", "5")])

    @app.post("/body")
    async def body(request: Request) -> str:
        try:
            return str(len(await request.read()))
        except ProtocolError:
            return "never sent"

    @app.get("/slow")
    async def slow(request: Request) -> str:
        await sleep(100)
        return "late"

    return app


def ask_for_each(client: Client) -> list[Any]:
    return [
        client.get("/field", headers=BROWSER),
        client.get("/nothing", headers=BROWSER),
        client.post("/body", content=iter([b"x" * 11]), headers=BROWSER),
        client.get("/slow", headers=BROWSER),
    ]


LIMITS = Limits(memory_body_bytes=10, upload_bytes=10, handler_timeout=1.0)


def test_errors_that_the_server_finds_have_the_same_form() -> None:
    with served(broken_application(), limits=LIMITS) as client:
        responses = ask_for_each(client)
    assert [one.status for one in responses] == [500, 500, 413, 503]
    for one in responses:
        assert one.headers["Content-Type"] == "text/html; charset=utf-8"
        assert one.headers["Vary"] == "Accept"


def test_error_handlers_are_for_errors_that_the_server_finds_too() -> None:
    app = broken_application()
    for status in (413, 500, 503):
        app.error(status)(lambda request, error: (error.status, f"ours at {request.path}"))
    app.error(ResponseError)(lambda request, error: (500, f"ours at {request.path}"))
    with served(app, limits=LIMITS) as client:
        assert [one.text for one in ask_for_each(client)] == [
            "ours at /field",
            "ours at /nothing",
            "ours at /body",
            "ours at /slow",
        ]


def test_an_error_handler_whose_response_cannot_be_sent() -> None:
    app = broken_application()
    app.error(500)(lambda request, error: Response(500, b"", [("X-Bad", "\r\n")]))
    with served(app, limits=LIMITS) as client:
        response = client.get("/field", headers=BROWSER)
        assert (response.status, response.text) == (
            500,
            "The server failed to process this request.\n",
        )
        assert client.get("/none").status == 404
