"""Results that are no responses: the error names the function, its file and line, and the cause."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import pytest

from reactor import File, FileRegion, Response, sleep, text
from reactor.messages.request import BaseRequest
from reactor.tasks.futures import Future
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, respond, stream
from reactor.web.endpoint import Middleware, before_only, may_wait
from tests.support.app_parts import served


async def load() -> str:
    await sleep(0.1)
    return "loaded"


def pieces() -> Iterator[str]:
    yield "one"


@dataclass
class Note:
    text: str


CAUSES: list[tuple[Any, str]] = [
    (lambda: None, r"returned None\. Is a `return` missing\? .*\(204, None\)"),
    (lambda: load(), r"The coroutine of load \(.*, line \d+\) was not awaited: is an `await`"),
    (lambda: Future(), r"has to be awaited, in an `async def`"),
    (lambda: ("text", 404), r"The status comes first: \(404, body\)"),
    (lambda: ("text", {"X-A": "b"}), r"The status comes first"),
    (lambda: ("text", 404, {"X-A": "b"}), r"The status comes first: \(404, body\)"),
    (lambda: (True, "text"), r"The status comes first"),
    (lambda: ("200", "text"), r"The status is an int, not text: \(200, body\)"),
    (lambda: (), "It has 0 members"),
    (lambda: (200, "x", {}, 1), "It has 4 members"),
    (lambda: (200, None), r"The body None goes with 204, 205 and 304 alone; an empty one is b''"),
    (lambda: (404, None, {"X-A": "b"}), r"The body None goes with 204"),
    (lambda: (204, "text"), r"A 204 has no body: \(204, None\)"),
    (lambda: (200, ("a", "b")), "A tuple is no body"),
    (lambda: (200, {1, 2}), "A set has no order: sorted"),
    (lambda: (200, load()), "The coroutine of load .* was not awaited"),
    (lambda: 404, r"A status alone is \(404, b''\)"),
    (lambda: True, r"json\(\.\.\.\) makes a response of it"),
    (lambda: 1.5, r"json\(\.\.\.\) makes a response of it"),
    (lambda: date(2024, 2, 29), r"json\(\.\.\.\) makes a response of it"),
    (lambda: UUID(int=1), r"json\(\.\.\.\) makes a response of it"),
    (lambda: Decimal(1), r"json\(\.\.\.\) makes a response of it"),
    (lambda: {1, 2}, "A set has no order: sorted"),
    (lambda: bytearray(b"x"), r"bytes\(\.\.\.\) makes bytes of it"),
    (lambda: PurePath("a"), r"`await file\(request, path\)`"),
    (lambda: html, r"Are the parentheses of a call missing\?"),
    (lambda: Note, r"Are the parentheses of a call missing\?"),
    (lambda: KeyError("x"), r"Is `raise` meant in place of `return`\?"),
    (lambda: object(), "It has to return a Response, str, bytes, dict, list, dataclass"),
]

# The result is a response, and its data is not.
DATA: list[tuple[Any, str]] = [
    (lambda: {"a": load()}, r"type coroutine at \['a'\]: is an `await` missing"),
    (lambda: {"a": {1}}, r"type set at \['a'\]"),
    (lambda: [float("nan")], r"no nan at \[0\]"),
    (lambda: "\ud800", "surrogates"),
    (lambda: Note("\ud800"), r"surrogate pair at \['text'\]"),
    (lambda: (200, {"a": {1}}), r"type set at \['a'\]"),
    (lambda: (200, "x", "X-A: b"), "header fields are pairs"),
    (lambda: (200, "x", ["X-A"]), "a header field is a pair"),
]
ROLES = (
    "plain",
    "async",
    "may wait",
    "some parameters",
    "object",
    "error handler",
    "async handler",
)


def application(role: str, make: Any) -> Application:
    """An application in which a function in this role returns the value."""
    app = Application()

    def culprit(request: Request, *rest: Any) -> Any:
        return make()

    async def async_culprit(request: Request, *rest: Any) -> Any:
        await sleep(0.1)
        return make()

    def marked_culprit(request: Request) -> Any:
        return make()

    def some_culprit(request: Request, b: str) -> Any:
        return make()

    class Culprit:
        def __call__(self, request: Request) -> Any:
            return make()

    def raises(request: Request) -> str:
        raise KeyError

    if "handler" in role:
        app.add("GET", "/a/b", raises)
        app.error(KeyError)(async_culprit if "async" in role else culprit)
    elif role == "some parameters":
        app.add("GET", "/{a}/{b}", some_culprit)
    else:
        endpoint: Any = {
            "plain": culprit,
            "async": async_culprit,
            "may wait": may_wait(marked_culprit),
            "object": Culprit(),
        }[role]
        app.add("GET", "/a/b", endpoint)
    return app


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("make", "message"), [*CAUSES, *DATA])
def test_the_error_names_the_function_and_the_cause(
    role: str, make: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    if role == "may wait" and "await" in message and "'a'" not in message:
        return  # the mark is for this
    with served(application(role, make)) as client, caplog.at_level(logging.ERROR, "reactor"):
        response = client.get("/a/b")
        assert response.status == 500
        assert "ulprit" not in response.text
    (record,) = caplog.records
    log = logging.Formatter().format(record)
    assert re.search(message, log), log
    kind = "error handler" if "handler" in role else "endpoint"
    assert re.search(rf"the {kind} .*[cC]ulprit.* \({re.escape(__file__)}, line \d+\)", log), log


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_the_debug_page_says_it_as_well(accept: str) -> None:
    for role in ("plain", "async"):
        app = application(role, lambda: None)
        app.debug = True
        with served(app) as client:
            page = client.get("/a/b", headers={"Accept": accept}).text
            assert "returned None. Is a `return` missing?" in page
            assert "test_wrong_results.py, line" in page
        app = application(role, lambda: {"a": {1}})
        app.debug = True
        with served(app) as client:
            page = client.get("/a/b", headers={"Accept": accept}).text
            assert "It is about the result of the endpoint" in page


def test_results_without_a_body() -> None:
    for status in (204, 205, 304):
        for value in ((status, None), (status, None, {"X-A": "b"}), (status, b"")):
            made = respond(value)
            assert (made.status, made.body) == (status, b"")
            assert made.headers == ((("X-A", "b"),) if len(value) == 3 else ())
    app = Application()
    app.add("DELETE", "/", lambda request: (204, None))
    app.add("GET", "/", lambda request: (304, None, {"ETag": '"1"'}))
    app.add("POST", "/", lambda request: (205, None))
    with Client(app) as client:
        response = client.delete("/")
        assert (response.status, response.content) == (204, b"")
        assert "content-type" not in response.headers
        assert "content-length" not in response.headers
        assert client.get("/").headers["etag"] == '"1"'
        assert client.post("/").status == 205


# --- middlewares and hooks -----------------------------------------------------------------------

WRONG: list[tuple[Any, str]] = [
    (lambda request, next: None, r"returned None\. Is a `return` missing\?"),
    (lambda request, next: "text", r"text\(\.\.\.\) or json\(\.\.\.\) makes a Response"),
    (lambda request, next: (403, "no"), r"makes a Response"),
    (lambda request, next: load(), "The coroutine of load .* was not awaited"),
    (lambda request, next: text, "parentheses of a call"),
    (lambda request, next: pieces(), "A function with a `yield` returns a generator"),
]


class Before(Middleware):
    def __init__(self, make: Any) -> None:
        self.make = make

    def before(self, request: Any) -> Any:
        return self.make(request, None)


class After(Before):
    def before(self, request: Any) -> Any:
        return None

    def after(self, request: Any, response: Response) -> Any:
        return self.make(request, None)


class AsyncAfter(Before):
    def before(self, request: Any) -> Any:
        return None

    async def after(self, request: Any, response: Response) -> Any:
        return self.make(request, None)


def middleware_of(kind: str, make: Any) -> Any:
    def culprit(request: Any, next: Any) -> Any:
        return make(request, next)

    async def async_culprit(request: Any, next: Any) -> Any:
        return make(request, next)

    made: dict[str, Any] = {
        "plain": culprit,
        "async": async_culprit,
        "before only": before_only(lambda request, next: make(request, next)),
        "Before": Before(make),
        "After": After(make),
        "AsyncAfter": AsyncAfter(make),
    }
    return made[kind]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("endpoint", ["plain", "async"])
@pytest.mark.parametrize("kind", ["plain", "async", "before only", "Before", "After", "AsyncAfter"])
@pytest.mark.parametrize(("make", "message"), WRONG)
def test_middlewares_and_hooks(
    kind: str, make: Any, message: str, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    if (kind, endpoint) == ("plain", "async"):
        return  # refused when the application is composed
    value = make(None, None)
    if hasattr(value, "cr_code"):
        value.close()
        if kind in ("before only", "After"):
            return  # these may return an awaitable
    if value is None and kind == "Before":
        return  # goes on
    app = Application(middleware_of(kind, make))

    async def later(request: Request) -> str:
        await sleep(0.1)
        return "x"

    app.add("GET", "/", later if endpoint == "async" else lambda request: "x")
    with served(app) as client, caplog.at_level(logging.ERROR, "reactor"):
        assert client.get("/").status == 500
    (record,) = caplog.records
    log = logging.Formatter().format(record)
    assert re.search(message, log), log
    role = "hook" if kind in ("Before", "After", "AsyncAfter") else "middleware"
    assert re.search(rf"the {role} .* \({re.escape(__file__)}, line \d+\) returned", log), log


def test_a_coroutine_of_next_that_was_not_awaited(caplog: pytest.LogCaptureFixture) -> None:
    async def forgets(request: Any, next: Any) -> Any:
        return next(request)

    app = Application(forgets)
    app.add("GET", "/", lambda request: "x")
    with served(app) as client, caplog.at_level(logging.ERROR, "reactor"):
        assert client.get("/").status == 500
    assert "forgets" in caplog.text
    assert "was not awaited: is an `await` missing?" in caplog.text


# --- generators ----------------------------------------------------------------------------------


def returns_too(request: Request) -> Any:
    if "none" in request.query:
        return 404, "nothing"
    yield "one"
    return 404, "nothing"


def yields_a_number(request: Request) -> Any:
    yield 1


async def yields_none(request: Request) -> Any:
    yield None


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (returns_too, r"returns_too \(.*, line \d+\) is a generator.*return \(404, 'nothing'\)`"),
        (yields_a_number, r"not 1, which yields_a_number \(.*, line \d+\) yields"),
        (yields_none, r"not None, which yields_none \(.*, line \d+\) yields"),
        (
            lambda request: stream(iter([1])),  # type: ignore[arg-type]
            "not 1, which the list_iterator yields",
        ),
    ],
)
def test_generators(endpoint: Any, message: str, caplog: pytest.LogCaptureFixture) -> None:
    app = Application()
    app.add("GET", "/", endpoint)
    caplog.set_level(logging.ERROR, "reactor")
    with served(app) as client, suppress(ConnectionError):  # the head may have left before it
        client.get("/?none")
    log = "".join(logging.Formatter().format(record) for record in caplog.records)
    assert re.search(message, log), log


# --- handlers without an application -------------------------------------------------------------


def test_a_bare_handler_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def nothing(request: BaseRequest) -> Any:
        return None

    async def nothing_later(request: BaseRequest) -> Any:
        return "text"

    for handler in (nothing, nothing_later):
        caplog.clear()
        client = Client(handler, raise_server_exceptions=False)
        with client, caplog.at_level(logging.ERROR, "reactor"):
            assert client.get("/").status == 500
        assert re.search(rf"{handler.__name__} \({re.escape(__file__)}, line", caplog.text)


# --- responses that cannot be sent ---------------------------------------------------------------

UNSENDABLE: list[tuple[Any, str]] = [
    (lambda: Response(200, "text"), "not str"),  # type: ignore[arg-type]
    (lambda: Response(200, None), "not NoneType"),  # type: ignore[arg-type]
    (lambda: Response(200, {"a": 1}), "not dict"),  # type: ignore[arg-type]
    (lambda: Response(200, b"x", (("X-A", "a\r\nb"),)), "not a header field"),
    (lambda: Response(200, b"x", ("X-A", "b")), "pairs"),  # type: ignore[arg-type]
    (lambda: Response(200, b"x", {"Content-Length": "7"}), "Content-Length is 7"),
    (lambda: Response(99, b"x"), "a status must be an int of 100 to 999"),
    (lambda: Response(b"x"), "a status must be an int of 100 to 999, not b'x'"),  # type: ignore[arg-type]
    (lambda: (200, "x", {"X-A": "a\nb"}), "not a header field"),
    (lambda: (200, "x", {"X-A": None}), "a pair of texts, not 'X-A': None"),
    (lambda: Response(200, b"x", [("X-A", 5)]), "a pair of texts"),  # type: ignore[list-item]
    (lambda: Response(200, b"x", {b"X-A": b"b"}), "a pair of texts"),  # type: ignore[dict-item]
    (lambda: Response(204, b"x"), "cannot have a body"),
]


@pytest.mark.parametrize(("make", "message"), UNSENDABLE)
@pytest.mark.parametrize("role", ["plain", "async", "mounted", "bare", "error handler"])
def test_a_response_that_cannot_be_sent(
    make: Any, message: str, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    def culprit(request: Any) -> Any:
        return make()

    async def async_culprit(request: Any) -> Any:
        await sleep(0.1)
        return make()

    def raises(request: Any) -> Any:
        raise KeyError

    if role == "bare" and isinstance(make(), tuple):
        return
    handler: Any = culprit
    if role != "bare":
        handler = Application()
        if role == "mounted":
            handler.mount("/a", culprit if isinstance(make(), Response) else async_culprit)
        endpoint = {"error handler": raises, "async": async_culprit}.get(role, culprit)
        handler.add("GET", "/a/b" if role != "mounted" else "/b", endpoint)
        handler.error(KeyError)(lambda request, error: make())
        handler.error(500)(lambda request, error: (500, "our page"))
    client = Client(handler, raise_server_exceptions=False)
    with client, caplog.at_level(logging.ERROR, "reactor"):
        response = client.get("/a/b")
        assert (response.status, "page" in response.text) == (500, role != "bare")
        assert client.get("/a/b").status == 500  # the connection goes on
    log = logging.Formatter().format(caplog.records[0])
    assert re.search(message, log), log
    name = "raises" if role == "error handler" else "culprit"
    assert re.search(rf"The response is that of .*{name} \({re.escape(__file__)}, line", log), log


@pytest.mark.parametrize("wrong", ["field", "stream", "raises", "async"])
def test_an_error_page_that_cannot_be_sent_either(wrong: str) -> None:
    app = Application()
    app.add("GET", "/", lambda request: (200, "x", {"X-A": "a\nb"}))

    def page(request: Any, error: Any) -> Any:
        if wrong == "raises":
            raise KeyError
        return (500, "x", {"X-A": "a\nb"}) if wrong == "field" else stream(iter(["x"]))

    async def page_later(request: Any, error: Any) -> Any:
        return 500, "later"

    app.error(500)(page_later if wrong == "async" else page)
    with served(app) as client:
        response = client.get("/")
        failed = "The server failed to process this request.\n"
        assert response.text == ("x" if wrong == "stream" else failed)
        assert client.get("/none").status == 404


def test_the_debug_page_of_a_response_that_cannot_be_sent() -> None:
    app = Application()
    app.debug = True
    app.add("GET", "/", lambda request: Response(200, "text"))  # type: ignore[arg-type]
    with served(app) as client:
        page = client.get("/", headers={"Accept": "text/html"}).text
        assert "The response is that of GET /" in page
        assert "not str" in page
        assert "test_wrong_results.py, line" in page


@pytest.mark.parametrize(
    "misuse",
    [
        lambda response: response.headers.__setitem__("X-A", "b"),
        lambda response: exec_item(response),
        lambda response: response.headers.append(("X-A", "b")),
        lambda response: response.headers["X-A"],
        lambda response: response.headers.get("X-A"),
    ],
)
@pytest.mark.parametrize("shared", [Response(200, b"x", (("A", "b"),)), html("x")])
def test_the_fields_of_a_response_used_as_a_mapping(
    misuse: Any, shared: Response, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application()
    app.add("GET", "/", lambda request: misuse(shared))
    with served(app) as client, caplog.at_level(logging.ERROR, "reactor"):
        assert client.get("/").status == 500
    assert "response.with_headers((name, value)) returns a new Response" in caplog.text


def exec_item(response: Any) -> None:
    response.headers["X-A"] = "b"


def test_a_file_is_the_body_of_one_response(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "page").write_bytes(b"page")
    page = File(os.open(tmp_path / "page", os.O_RDONLY), 4)
    shared = Response(200, FileRegion(page, 0, 4))
    app = Application()
    app.add("GET", "/", lambda request: shared)
    with served(app) as client, caplog.at_level(logging.ERROR, "reactor"):
        assert client.get("/").text == "page"
        assert client.get("/").status == 500
    assert "the file of this response is closed" in caplog.text
    assert "The response is that of GET /" in caplog.text
