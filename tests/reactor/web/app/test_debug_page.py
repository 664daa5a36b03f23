"""The debug page: its content, the secrets that it hides, and objects that must not break it."""

import re
import sys
from collections import OrderedDict
from dataclasses import dataclass
from html.parser import HTMLParser
from time import perf_counter
from typing import Any

import pytest

from reactor import Headers, ProtocolError, sleep
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.debug_page import (
    EXCEPTIONS,
    FRAMES,
    MESSAGE_CHARACTERS,
    ROUTES,
    TEXT_CHARACTERS,
    VARIABLES,
    _hide,
    _repr,
    debug_response,
)
from reactor.web.app.request_data import Arguments
from reactor.web.app.requests import Request

VOID = {"meta", "br"}
LEFT_OPEN = {"html", "tr", "th", "td"}  # their ends may be left out


class Reader(HTMLParser):
    """The text of the page, whose HTML is checked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in VOID | LEFT_OPEN:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def request_of(target: str = "/", accept: str = "text/html", **fields: str) -> BaseRequest:
    fields["accept"] = accept
    lines = "".join(f"\r\n{name}: {value}" for name, value in fields.items())
    path, _, query = target.partition("?")
    return BaseRequest("GET", target, path, query, 1, Headers(lines))


def raised(error: BaseException, **local: Any) -> Any:
    try:
        raise error
    except BaseException as caught:
        return caught


def page(error: Any, request: BaseRequest | None = None) -> str:
    response = debug_response(request or request_of(), error)
    assert response.status == 500
    assert isinstance(response.body, bytes)
    text = response.body.decode()
    if dict(response.headers)["Content-Type"].startswith("text/html"):
        reader = Reader(text)
        assert not reader.open
        assert "script" not in reader.tags
        return reader.text
    return text


# --- content -------------------------------------------------------------------------------------


def test_the_place_its_variables_and_the_request() -> None:
    text = page(raised(ValueError("<b>&"), shown="<i>"), request_of("/a?b=<c>", host="é"))
    for part in ("ValueError: <b>&", "GET /a?b=<c>", "raise error", "'shown': '<i>'", "host", "é"):
        assert part in text
    assert "test_debug_page.py" in text


def test_the_frames_of_coroutines() -> None:
    app = Application()
    app.debug = True

    async def inner(depth: int) -> None:
        await sleep(1)
        if depth:
            return await inner(depth - 1)
        raise LookupError("deep")

    @app.get("/{name}")
    async def endpoint(request: BaseRequest) -> None:
        await inner(3)

    with Client(app, raise_server_exceptions=False) as client:
        text = client.get("/x", headers={"Accept": "text/html"}).text
    reader = Reader(text)
    assert reader.text.count("inner") >= 4
    assert "LookupError: deep" in reader.text
    assert "{name}" in reader.text
    assert "127.0.0.1:50000" in reader.text


def test_causes_and_contexts() -> None:
    def chained(suppress: bool) -> Any:
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                if suppress:
                    raise TypeError("second") from None
                raise TypeError("second") from error
        except TypeError:
            try:
                raise OSError("third")
            except OSError as error:
                return error

    text = page(chained(False))
    for part in (
        "OSError: third",
        "It happened while this was handled\nTypeError: second",
        "It was raised because of\nKeyError: 'first'",
    ):
        assert part in text
    assert "KeyError" not in page(chained(True)).replace("raise KeyError", "").replace(
        "except KeyError", ""
    )


def test_groups_and_notes() -> None:
    inner = ExceptionGroup("inner", [raised(KeyError("one"))])
    group = ExceptionGroup("outer", [inner, raised(ValueError("two"))])
    group.add_note("<a note>")
    text = page(raised(group))
    for part in ("outer", "inner", "KeyError: 'one'", "ValueError: two", "<a note>"):
        assert part in text


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "application/json, text/html;q=0.1"]
)
def test_a_client_without_html_gets_text(accept: str) -> None:
    response = debug_response(request_of(accept=accept), raised(ValueError("<x>\ud800")))
    assert dict(response.headers)["Content-Type"] == "text/plain; charset=utf-8"
    text = page(raised(ValueError("<x>\ud800")), request_of(accept=accept))
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("ValueError: <x>\\ud800\n")


def test_fields_of_the_response() -> None:
    fields = dict(debug_response(request_of(), ValueError()).headers)
    assert fields["Cache-Control"] == "no-store"
    assert fields["Content-Security-Policy"].startswith("default-src 'none'")


# --- secrets -------------------------------------------------------------------------------------

SECRET = "".join(["hun", "ter", "2"])  # not as a word of the source, which is shown


@dataclass
class User:
    name: str
    password: str


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"a": [{"API_KEY": {"x": SECRET}}]},
        {b"token": SECRET.encode()},
        [("session", SECRET)],
        Arguments([("a", "b"), ("new-password", SECRET)]),
        User("a", SECRET),
        [User("a", f"it's {SECRET}")],
        OrderedDict(password=SECRET),
        f"/?token={SECRET}&a=b",
        f'{{"secret": "{SECRET}"}}',
        f'{{"secret": "{SECRET}", \'a\': 1}}',
        f'{{"secret": "{SECRET}"}}'.encode(),
        f"\r\nCookie: a={SECRET}; b={SECRET}\r\nHost: x",
        f"\r\nAuthorization: Basic {SECRET}\r\nHost: x",
        f"password: {SECRET}",
        f"token={SECRET}" + "x" * 10_000,
        User("a", SECRET + "x" * 10_000),
    ],
)
def test_secrets_in_values(value: Any) -> None:
    text = page(raised(ValueError("x"), value=value))
    assert SECRET not in text
    assert "(hidden)" in text


def test_secrets_in_the_request_and_in_variables() -> None:
    def failing(password: str, my_token: str) -> Any:
        return raised(ValueError())

    def run() -> Any:
        try:
            user_session = SECRET
            raise ValueError(len(user_session))
        except ValueError as error:
            return error

    request = request_of(
        f"/x?access_token={SECRET}&shown=yes",
        cookie=f"a={SECRET}",
        authorization=f"Bearer {SECRET}",
        referer=f"http://a/?api_key={SECRET}",
        **{"X-Auth-Token": SECRET},
    )
    text = page(run(), request)
    assert SECRET not in text
    assert "shown=yes" in text
    assert "user_session" in text
    failing("", "")


def test_other_values_are_shown() -> None:
    for text in ("name=value", "'a': 'b'", "secret", "a token", "cookies", "pass"):
        assert _hide(text) == text
    assert _hide("key=a, other=b") == "key=(hidden), other=b"
    assert _hide(_hide("key=a&token=b")) == "key=(hidden)&token=(hidden)"


@pytest.mark.parametrize(
    "text", ["pass" * 50_000, "key=" * 50_000, "key='" + "\\" * 100_000, "key" + " " * 100_000]
)
def test_searching_for_secrets_is_fast(text: str) -> None:
    began = perf_counter()
    _hide(text)
    assert perf_counter() - began < 2


# --- objects that could break it -----------------------------------------------------------------


class Hostile(Exception):
    """An object all of whose methods fail."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RecursionError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("no bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __len__(self) -> int:
        raise RuntimeError("no len")


class HostileDict(dict[Any, Any]):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("accept", ["text/html", ""])
def test_hostile_errors(accept: str) -> None:
    request = request_of(accept=accept)
    error = Hostile()
    error.__cause__ = Hostile()
    error.__cause__.__context__ = error
    text = page(raised(error), request)
    assert "Hostile" in text
    error.__notes__ = [1, None, "a note"]  # type: ignore[list-item]
    assert "Hostile" in page(error, request)
    error.__notes__ = 7  # type: ignore[assignment]
    assert "Hostile" in page(error, request)


@pytest.mark.parametrize(
    "value",
    [
        Hostile(),
        [Hostile()],
        {Hostile: Hostile()},
        HostileDict(a=1),
        {1: 10**5000},
        [10**5000],
        "\ud800",
        "\0\r\n\x1b[31m",
        b"\xff" * 10,
    ],
    ids=map(str, range(9)),
)
def test_hostile_values(value: Any) -> None:
    assert "ValueError" in page(raised(ValueError("x"), value=value))


def test_endless_values() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    values: list[Any] = [
        circle,
        deep,
        ["x" * 10**6] * 10**6,
        dict.fromkeys(range(1000), "y" * 1000),
        b"z" * 10**7,
        bytearray(10**7),
        set(range(10**5)),
        User("u" * 10**6, ""),
    ]
    for value in values:
        assert len(_repr(value)) < 20_000
        text = page(raised(ValueError("x"), value=value))
        assert len(text) < 20_000
    while deep:
        (deep,) = deep  # to be freed without recursion


def test_endless_messages() -> None:
    for accept, most in (("text/html", 4 * MESSAGE_CHARACTERS), ("", TEXT_CHARACTERS)):
        text = page(raised(ValueError("x" * 10**6 + "the end")), request_of(accept=accept))
        assert len(text) < most + 10_000
        assert "the end" in text


def test_many_calls() -> None:
    def recursive(depth: int) -> int:
        return recursive(depth + 1)

    try:
        recursive(0)
    except RecursionError as error:
        response = debug_response(request_of(), error)
        text = page(error)
    assert isinstance(response.body, bytes)
    assert response.body.count(b"<details") == FRAMES
    assert response.body.count(b"<details open") == 1
    assert "more calls" in text


def test_many_errors() -> None:
    error: Exception = ValueError(0)
    for number in range(1, 500):
        later = ValueError(number)
        later.__cause__ = error
        error = later
    response = debug_response(request_of(), error)
    assert isinstance(response.body, bytes)
    assert response.body.count(b"<h2>") == EXCEPTIONS
    group = ExceptionGroup("many", [ValueError(number) for number in range(1000)])
    response = debug_response(request_of(), group)
    assert isinstance(response.body, bytes)
    assert response.body.count(b"<h2>") == EXCEPTIONS


def test_many_variables_and_missing_source() -> None:
    source = "\n".join([*(f"a{number} = {number}" for number in range(1000)), "1 / 0"])
    try:
        exec(compile(source, "<a\udcff source>", "exec"), {}, {})
    except ZeroDivisionError as error:
        text = page(error)
    assert "<a\\udcff source>" in text
    assert f"a{VARIABLES - 1}\n" in text
    assert f"a{VARIABLES}\n" not in text


def test_errors_of_the_compiler_and_of_decoding() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile("a b", "<x>", "exec")
    assert "invalid syntax" in page(caught.value)
    with pytest.raises(UnicodeDecodeError) as other:
        b"\xff".decode()
    assert "0xff" in page(other.value)
    assert sys.exc_info() == (None, None, None)


# --- 404 -----------------------------------------------------------------------------------------


def routed() -> Application:
    app = Application()
    app.debug = True
    api = app.group("/api")

    @api.get("/<b>/{number:int}")
    def found(request: Request) -> str:
        raise ProtocolError(404, "No such number.")

    app.add(["PUT", "PROPFIND"], "/{name:path}", found)
    app.mount("/raw", lambda request: None)
    return app


def test_a_404_lists_the_routes() -> None:
    with Client(routed()) as client:
        page = client.get("/none?token=abc", headers={"Accept": "text/html"})
        assert page.status == 405, "a path that takes other methods is no 404"
        page = client.get("/api/<b>/x", headers={"Accept": "text/html"})
        assert page.status == 405
    app = Application()
    app.debug = True
    app.mount("/inner", routed())
    with Client(app) as client:
        page = client.get("/none?token=abc", headers={"Accept": "text/html"})
        assert (page.status, page.headers["Cache-Control"]) == (404, "no-store")
        text = Reader(page.text).text
        assert "404: There is nothing here." in text
        assert "token=(hidden)" in text
        assert re.search(r"GET\s*/inner/api/<b>/\{number:int\} \(.*found .*, line \d+\)\)", text)
        places = [text.index(f"/inner/{name}") for name in ("api", "raw", "{name:path}")]
        assert places == sorted(places)
        assert text.count("/inner/{name:path}") == 2, "a line for each method"
        assert "HEAD" not in text
        plain = client.get("/none", headers={"Accept": "*/*"})
        assert plain.headers["Content-Type"].startswith("text/plain")
        assert "\nPROPFIND /inner/{name:path} (" in plain.text
        details = client.get("/none", headers={"Accept": "application/json"})
        assert details.headers["Content-Type"] == "application/problem+json"
        assert client.head("/none", headers={"Accept": "text/html"}).status == 404


def test_a_404_lists_no_routes_for_others() -> None:
    app = Application()
    app.add("GET", "/secret", lambda request: "")
    with Client(app) as client:
        assert "/secret" not in client.get("/none").text
        app.debug = True
        assert "/secret" in client.get("/none").text
        assert "/secret" not in client.get("/none", headers={"Host": "evil.example"}).text

        @app.error(404)
        def missing(request: Request, error: ProtocolError) -> str:
            return "mine"

        assert client.get("/none").text == "mine"


def test_an_application_with_many_routes_lists_some() -> None:
    app = Application()
    app.debug = True
    with Client(app) as client:
        page = client.get("/none", headers={"Accept": "text/html"})
        assert "has no routes" in page.text
        for number in range(ROUTES + 3):
            app.add("GET", f"/{number}", lambda request: "")
        page = client.get("/none", headers={"Accept": "text/html"})
        assert page.text.count("<tr>") == ROUTES + 1
        assert "... and 3 more" in page.text
