"""Requests taken apart: arguments, cookies, text, JSON and forms, and what is refused of them."""

import json
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from encodings import _cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reactor
from reactor import Headers, Limits, ProtocolError, Response
from reactor.messages import request as messages
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.request_data import (
    _CHARSETS,
    Arguments,
    form_of,
    json_of,
    parse_cookies,
    parse_pairs,
    text_of,
)
from reactor.web.app.requests import Request
from reactor.web.semantics.multipart import FormPart

FORM = "application/x-www-form-urlencoded"


def having(content: bytes, media_type: str = "", **fields: str) -> Request:
    """A request whose body has been read."""
    if media_type:
        fields["content_type"] = media_type
    lines = (f"\r\n{name.replace('_', '-')}: {value}" for name, value in fields.items())
    request = Request("POST", "/", "/", "", 1, Headers("".join(lines)))
    request.content = content
    return request


def asked(query: str) -> Request:
    request = having(b"")
    request.query = query
    return request


def refused(function: Callable[..., Any], *arguments: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        function(*arguments)
    assert caught.value.reason.endswith(".")
    assert caught.value.reason.isascii()
    return caught.value


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("&", []),
        ("&&a=1&&", [("a", "1")]),
        ("b=2&a=1&b=1", [("b", "2"), ("a", "1"), ("b", "1")]),
        ("a", [("a", "")]),
        ("a=", [("a", "")]),
        ("=", [("", "")]),
        ("=b", [("", "b")]),
        ("a=b=c", [("a", "b=c")]),
        ("a+b=c+d%2B", [("a b", "c d+")]),
        ("a%3Db%26=%26", [("a=b&", "&")]),
        ("a;b=1;c", [("a;b", "1;c")]),
        ("a=%", [("a", "%")]),
        ("a=%zz%2", [("a", "%zz%2")]),
        ("a=%u00e9", [("a", "%u00e9")]),
        ("%C3%A9=%e2%82%AC", [("é", "€")]),
        ("a=%00%0d%0A", [("a", "\0\r\n")]),
        ("a=%F0%9F%92%A9", [("a", "💩")]),
        ("a=%2541", [("a", "%41")]),
        ("a[]=1&a[]=2", [("a[]", "1"), ("a[]", "2")]),
    ],
)
def test_arguments(query: str, pairs: list[tuple[str, str]]) -> None:
    assert list(asked(query).args) == pairs
    assert len(asked(query).args) == len(pairs)
    assert list(form_of(having(query.encode(), FORM))) == pairs


@pytest.mark.parametrize("text", ["a=%FF", "%C3=1", "a=%ED%A0%80", "a=%C0%AF", "a=%F4%90%80%80"])
def test_arguments_that_are_no_utf_8(text: str) -> None:
    assert refused(lambda: asked(text).args).status == 400
    assert refused(form_of, having(text.encode(), FORM)).status == 400


def test_there_are_so_many_arguments_and_no_more() -> None:
    most = Limits().form_parts
    assert len(asked("&".join(["a"] * most)).args) == most
    assert refused(lambda: asked("&".join(["a"] * (most + 1))).args).status == 414
    assert refused(lambda: asked("&" * most).args).status == 414
    body = b"&".join([b"a"] * most)
    assert len(form_of(having(body, FORM))) == most
    assert refused(form_of, having(body + b"&a", FORM)).status == 413


def test_arguments_by_name() -> None:
    args = asked("a=1&b=&a=2").args
    assert (args.get("a"), args.get("b", "x"), args.get("c"), args.get("c", "x")) == (
        *("1", "", "", "x"),
    )
    assert (args["a"], args["b"], args.get_all("a"), args.get_all("c")) == ("1", "", ["1", "2"], [])
    assert "a" in args
    assert "c" not in args
    assert 1 not in args
    assert refused(lambda: args["é"]).status == 400
    assert repr(args) == "Arguments([('a', '1'), ('b', ''), ('a', '2')])"
    assert dict(Arguments([])) == {}


@given(st.lists(st.tuples(st.text(), st.text()), max_size=20))
def test_what_is_encoded_is_read(pairs: list[tuple[str, str]]) -> None:
    from_browser = "&".join(
        "=".join("".join(f"%{byte:02x}" for byte in part.encode(errors="ignore")) for part in pair)
        for pair in pairs
    )
    clean = [
        (name.encode(errors="ignore").decode(), value.encode(errors="ignore").decode())
        for name, value in pairs
    ]
    assert parse_pairs(from_browser, 1000) == clean


def test_what_is_taken_apart_is_kept() -> None:
    request = asked("a=1")
    request.state["mine"] = 1
    assert request.args is request.args
    assert request.cookies is request.cookies
    assert request.state["mine"] == 1
    assert "mine" not in asked("").state


# --- where it is for -----------------------------------------------------------------------------


def test_the_url_that_was_asked_for() -> None:
    app = Application()
    app.add(("GET", "OPTIONS"), "/{rest:path}", lambda request: request.url)
    with Client(app, "http://host:81") as client:
        assert client.get("/a%20b?c=%2F").text == "http://host:81/a%20b?c=%2F"
        assert client.get("/").text == "http://host:81/"
    request = having(b"")
    assert refused(lambda: request.url).status == 400
    request.host, request.path = "host", "*"
    assert request.url == "http://host"


# --- cookies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("", {}),
        (";", {}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;", {"a": "1", "b": "2"}),
        ("\t a = 1 \t;\tb=", {"a": "1", "b": ""}),
        ("a=1; a=2", {"a": "1"}),
        ('a="1 2"; b="', {"a": "1 2", "b": '"'}),
        ('a=""; b="""', {"a": "", "b": '"'}),
        ('a="x', {"a": '"x'}),
        ('a="1;2"', {"a": '"1'}),
        ("a=b=c==", {"a": "b=c=="}),
        ("a=1, b=2", {"a": "1, b=2"}),
        ("a; =b; =; c", {}),
        ("$Version=1; a=%20", {"$Version": "1", "a": "%20"}),
        ("a=Ã©; b=\xff", {"a": "é", "b": "\ufffd"}),
        ("A=1; a=2", {"A": "1", "a": "2"}),
    ],
)
def test_cookies(value: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(value) == cookies
    assert having(b"", cookie=value).cookies == cookies


def test_cookies_in_several_lines() -> None:
    request = having(b"")
    request.headers = Headers("\r\nCookie: a=1\r\nX: y\r\ncookie: a=2; b=3\r\nCookie:")
    assert request.cookies == {"a": "1", "b": "3"}


@given(st.text(st.characters(max_codepoint=255)))
def test_no_cookie_is_too_odd(value: str) -> None:
    assert all(name and ";" not in name + text for name, text in parse_cookies(value).items())


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "media_type", "text"),
    [
        (b"", "", ""),
        ("é".encode(), "", "é"),
        ("é".encode(), "text/plain", "é"),
        (b"\xef\xbb\xbfx", "", "x"),
        (b"\xe9", "text/plain; charset=ISO-8859-1", "é"),
        (b"\x80", 'text/plain;charset="windows-1252"', "€"),
        ("ü".encode("utf-16"), "text/plain; format=flowed; CHARSET=utf-16", "ü"),
        ("\ufeffü".encode("utf-16-le"), "text/plain; charset=utf-16le", "ü"),
        ("漢".encode("shift_jis"), "text/plain; charset=Shift_JIS", "漢"),
        (b"x", 'text/plain; a="; charset=nothing"', "x"),
        (b"x", "text/plain;", "x"),
        (b"x", ";charset=ascii", "x"),
    ],
)
def test_text(content: bytes, media_type: str, text: str) -> None:
    assert text_of(having(content, media_type)) == text


@pytest.mark.parametrize("charset", sorted(_CHARSETS))
def test_every_charset_is_there(charset: str) -> None:
    assert text_of(having("A".encode(charset), f"text/plain; charset={charset}")) == "A"


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"\xff", "", 400),
        (b"\xed\xa0\x80", "", 400),  # half a surrogate pair
        (b"\xe9", "text/plain; charset=us-ascii", 400),
        (b"x", "text/plain; charset=utf-16", 400),
        (b"x", "text/plain; charset=punycode", 415),
        (b"x", "text/plain; charset=idna", 415),
        (b"x", "text/plain; charset=base64", 415),
        (b"x", "text/plain; charset=unicode_escape", 415),
        (b"x", "text/plain; charset=utf-7", 415),
        (b"x", "text/plain; charset=../x", 415),
        (b"x", 'text/plain; charset=""', 415),
        (b"x", "text/plain; charset=\xe9", 415),
        (b"x", "text/plain; charset", 400),
        (b"x", "text/plain; charset=ascii; charset=utf-8", 400),
        (b"x", 'text/plain; charset="utf-8', 400),
    ],
)
def test_text_that_cannot_be_read(content: bytes, media_type: str, status: int) -> None:
    assert refused(text_of, having(content, media_type)).status == status


def test_names_of_charsets_that_nobody_knows_are_not_remembered() -> None:
    before = len(_cache)
    for number in range(100):
        refused(text_of, having(b"x", f"text/plain; charset=none-{number}"))
    assert len(_cache) == before


@pytest.mark.parametrize("read", [text_of, json_of, form_of])
def test_what_is_compressed_is_not_taken(read: Callable[[reactor.Request], Any]) -> None:
    kind = FORM if read is form_of else "application/json"
    error = refused(read, having(b"1", kind, content_encoding="gzip"))
    assert (error.status, error.headers) == (415, [("Accept-Encoding", "identity")])
    assert refused(read, having(b"1", kind, content_encoding="identity, gzip")).status == 415
    read(having(b"1", kind, content_encoding="Identity"))


# --- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "media_type", "value"),
    [
        (b'{"a": [1, 2.5, null]}', "application/json", {"a": [1, 2.5, None]}),
        (b"1", "", 1),
        (b"\xef\xbb\xbf{}", "Application/JSON ; charset=UTF-8", {}),
        (b'"x"', "application/problem+json", "x"),
        (' {"é":1}\r\n'.encode("utf-16"), "application/json;charset=utf-16", {"é": 1}),
        (b'{"a":1,"a":2}', "application/json", {"a": 2}),  # as the docstring says
        (b'"\\ud83d\\udca9"', "application/json", "💩"),
        (b'"\\\\ud83d"', "application/json", "\\ud83d"),
        (b"-0", "", 0),
        (b"1e308", "", 1e308),
        (b"1e-999", "", 0.0),
        (b"9" * 4300, "", int("9" * 4300)),
        (b"[" * 200 + b"]" * 200, "", eval("[" * 100 + "]" * 100)),
    ],
)
def test_json(content: bytes, media_type: str, value: Any) -> None:
    found = json_of(having(content, media_type))
    if content.startswith(b"[["):
        while found:
            (found,) = found
        value = []
    assert found == value


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "Expecting value at line 1, column 1."),
        (b'{"a":\n}', "line 2, column 1."),
        (b"{} {}", "Extra data"),
        (b"\x00", "Expecting value"),
        (b"'a'", "Expecting value"),
        (b'{"a":1,}', ""),
        (b'"\n"', "control character"),
        (b"NaN", "NaN is not a JSON value."),
        (b"[-Infinity]", "-Infinity is not a JSON value."),
        (b'{"a":Infinity}', "Infinity is not a JSON value."),
        (b"1e999", "A number in it is too large."),
        (b"-" + b"9" * 400 + b".0", "A number in it is too large."),
        (b"9" * 4301, "A number in it has too many digits."),
        (b"[" * 100_000, "It is nested too deeply."),
        (b'{"a":' * 100_000, "It is nested too deeply."),
        (b'"\\ud83d"', "one half of a surrogate pair"),
        (b'{"\\udca9":1}', "one half of a surrogate pair"),
        (b"[01]", ""),
        (b"tru", ""),
        (b"\xef\xbb\xbf\xef\xbb\xbf1", ""),
    ],
)
def test_json_that_is_none(content: bytes, sentence: str) -> None:
    error = refused(json_of, having(content))
    assert error.status == 400
    assert error.reason.startswith("The body is not valid JSON: ")
    assert sentence in error.reason
    assert len(error.reason) < 150


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/plain", "application/jsonp", "text/json", "json", FORM),
        *("application/json, text/plain", "application/json charset=utf-8"),
    ],
)
def test_what_says_that_it_is_no_json(media_type: str) -> None:
    assert refused(json_of, having(b"1", media_type)).status == 415


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_any_json_is_read(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json_of(having(text.encode())) == value


@given(st.binary())
def test_json_of_anything_is_a_value_or_400(content: bytes) -> None:
    try:
        value = json_of(having(content))
    except ProtocolError as error:
        status, value = error.status, None
    else:
        status = 400
    assert status == 400
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


# --- forms ---------------------------------------------------------------------------------------


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """Of what stands behind `form-data` in a part's head, and its content."""
    pieces = [
        b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head.encode(), content)
        for head, content in parts
    ]
    return b"".join((*pieces, b"--b--\r\n"))


MULTIPART = "multipart/form-data; boundary=b"


def test_a_form_with_files() -> None:
    body = multipart(
        ('name="a"', b"1"),
        ('name="f"; filename="x.bin"', b"\xff\x00"),
        ('name="a"', "ü\r\n".encode()),
        ('name="f"; filename="y.txt"', b""),
        ('name="g"; filename=""', b""),  # a file that nobody chose
        ('name=""', b""),
    )
    body = body.replace(b'x.bin"', b'x.bin"\r\nContent-Type: image/x')
    form = form_of(having(body, MULTIPART))
    assert list(form) == [("a", "1"), ("a", "ü\r\n"), ("", "")]
    assert [(name, file.name) for name, file in form.files] == [("f", "x.bin"), ("f", "y.txt")]
    file = form.file("f")
    assert file is not None
    assert (file.name, file.media_type, file.content) == ("x.bin", "image/x", b"\xff\x00")
    assert form.file("g") is None
    assert form.file("a") is None
    assert repr(form).startswith("Form([")


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"a=1", "", 415),
        (b"a=1", "text/plain", 415),
        (b"a=1", "application/json", 415),
        (b"a=\xff", FORM, 400),
        (b"", MULTIPART, 400),
        (b"--b\r\n", MULTIPART, 400),
        (multipart(('name="a"', b"1"))[:-4], MULTIPART, 400),
        (multipart(('name="a"', b"\xff")), MULTIPART, 400),
        (multipart(("", b"1")), MULTIPART, 400),
        (multipart(('name="f"; filename="../x"', b"1")), MULTIPART, 400),
        (multipart(('name="a"', b"")), "multipart/form-data", 400),
        (multipart(*[('name="a"', b"")] * 1001), MULTIPART, 413),
        (multipart((f'name="{"a" * 9000}"', b"")), MULTIPART, 413),
    ],
)
def test_forms_that_cannot_be_read(content: bytes, media_type: str, status: int) -> None:
    assert refused(form_of, having(content, media_type)).status == status


def test_a_form_is_utf_8_whatever_its_type_says() -> None:
    request = having("ä=%C3%A4+".encode(), f"{FORM}; charset=iso-8859-1")
    assert list(form_of(request)) == [("ä", "ä ")]
    assert len(form_of(having(multipart(), MULTIPART))) == 0


# --- limits --------------------------------------------------------------------------------------


def test_the_limits_are_those_of_the_server() -> None:
    limits = Limits(form_parts=2, form_head_bytes=100)
    app = Application()
    app.add("POST", "/", lambda request: str(len(form_of(request))))
    app.add("GET", "/", lambda request: str(len(request.args)))
    with Client(app, limits=limits) as client:
        app.prepare(client.server)
        assert client.post("/", data={"a": "1", "b": "2"}).text == "2"
        assert client.post("/", data={"a": "1", "b": "2", "c": "3"}).status == 413
        assert client.get("/?a&b&c").status == 414
        assert client.post("/", data={"a": ""}, files={"b": b"", "c": b""}).status == 413
        assert client.post("/", data={"a" * 100: ""}, files={}).status == 413


def test_limits_without_a_server_are_the_default_ones() -> None:
    request = Request("GET", "/", "/", "", 1, Headers())
    assert request.limits == Limits()
    assert not hasattr(request, "__dict__")


def test_a_request_of_the_engine_is_adopted_as_it_is() -> None:
    """A handler around an application, which has no `request_class`, passes the request on."""
    app = Application()

    @app.get("/")
    def show(request: Request) -> str:
        request.id = "seen"
        request.state["a"] = 1
        return f"{request.limits.ranges} {request.args['b']}"

    seen: list[messages.Request] = []

    def around(request: messages.Request) -> Any:
        seen.append(request)
        assert type(request) is messages.Request
        return app(request)

    with Client(around, limits=Limits(ranges=7)) as client:
        assert client.get("/?b=2").text == "7 2"
    assert type(seen[0]) is Request
    assert seen[0].id == "seen"
    with Client(app) as client:
        assert client.get("/?b=2").text == "32 2"


# --- through a server ----------------------------------------------------------------------------


def application() -> Application:
    app = Application()
    for name, function in (("text", text_of), ("json", json_of), ("form", form_of)):
        app.add(
            "POST", f"/plain/{name}", lambda request, function=function: told(function(request))
        )
    app.add("POST", "/plain/read", lambda request: request.content)

    @app.post("/async/{how}")
    async def read(request: Request, how: str) -> Any:
        first = await getattr(request, how)()
        again = await getattr(request, how)()
        assert told(first) == told(again)
        return told(first)

    return app


def told(value: Any) -> Any:
    return value if isinstance(value, bytes) else repr(value)


@pytest.mark.parametrize("how", ["plain", "async"])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_are_read_by_either_kind_of_endpoint(how: str, chunked: bool) -> None:
    def sent(content: bytes) -> Any:
        pieces = [content[:1], content[1:]]
        return (piece for piece in pieces if piece) if chunked else content

    def typed(kind: str) -> dict[str, str]:
        return {"Content-Type": kind}

    with Client(application(), limits=Limits(memory_body_bytes=1000)) as client:
        for content in (b"", b"x", b"x" * 1000):
            assert client.post(f"/{how}/read", content=sent(content)).content == content
            assert client.post(f"/{how}/text", content=sent(content)).text == repr(content.decode())
        for kind in ("read", "text", "json", "form"):
            answer = client.post(
                f"/{how}/{kind}",
                content=sent(b"1" * 1001),
                headers=typed(FORM if kind == "form" else "application/json"),
            )
            assert answer.status == 413
            assert "1000 bytes" in answer.text
        assert client.post(f"/{how}/json", content=sent(b"[1]")).text == "[1]"
        assert client.post(f"/{how}/json", content=sent(b"[1")).status == 400
        form = client.post(f"/{how}/form", content=sent(b"a=b"), headers=typed(FORM))
        assert form.text == "Form([('a', 'b')])"
        assert client.post(f"/{how}/form", content=sent(b"a=b")).status == 415


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/async/json", {"Content-Type": "text/plain"}),
        ("/async/form", {"Content-Type": "text/plain"}),
        ("/async/text", {"Content-Type": "text/plain; charset=punycode"}),
        ("/async/json", {"Content-Type": "application/json; charset=punycode"}),
        ("/async/text", {"Content-Encoding": "gzip"}),
        ("/async/parts", {"Content-Type": MULTIPART, "Content-Encoding": "gzip"}),
        ("/async/parts", {"Content-Type": FORM}),
    ],
)
def test_what_cannot_be_read_is_refused_before_it_comes(path: str, fields: dict[str, str]) -> None:
    with Client(application()) as client:
        headers = {"Expect": "100-continue", "Accept": "application/json", **fields}
        answer = client.post(path, content=b"x", headers=headers)
        assert (answer.status, answer.informational) == (415, [])
        assert answer.headers.get("content-type") == "application/problem+json"
        assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("chunked", [False, True])
def test_what_a_middleware_has_read_is_there_for_the_endpoint(chunked: bool) -> None:
    seen: list[bytes] = []

    async def signed(request: Request, next: Any) -> Response:
        seen.append(await request.read())
        answer: Response = await next(request)
        return answer

    app = Application(signed)
    app.add("POST", "/plain", lambda request: request.content)

    @app.post("/async")
    async def endpoint(request: Request) -> bytes:
        return await request.read()

    @app.post("/parts")
    async def parts(request: Request) -> str:
        return repr([event async for event in request.parts()])

    body = multipart(('name="a"', b"1"))
    fields = {"Content-Type": MULTIPART}
    with Client(app) as client:
        for path in ("/plain", "/async", "/parts"):
            content: Any = [body] if chunked else body
            answer = client.post(path, content=content, headers=fields)
            expected = repr([FormPart("a", None, ""), b"1"]).encode() if path == "/parts" else body
            assert answer.content == expected
    assert seen == [body] * 3


# --- a form that is streamed ---------------------------------------------------------------------


def streaming(seen: list[Any]) -> Application:
    app = Application()

    @app.post("/")
    async def receive(request: Request) -> dict[str, int]:
        sizes: dict[str, int] = {}
        name = ""
        async for event in request.parts():
            if isinstance(event, FormPart):
                name = event.name
                sizes[name] = 0
                seen.append(event)
            else:
                sizes[name] += len(event)
        return sizes

    return app


def test_a_form_as_it_comes() -> None:
    seen: list[Any] = []
    body = multipart(
        ('name="a"', b"1" * 100),
        ('name="e"', b""),
        ('name="f"; filename="x"', b"-b-\r\n--c" * 100),
    )
    fields = {"Content-Type": MULTIPART}
    for size in (1, 7, 10_000):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        with Client(streaming(seen)) as client:
            answer = client.post("/", content=pieces, headers=fields)
            assert answer.json() == {"a": 100, "e": 0, "f": 800}
    assert seen[:3] == [FormPart("a", None, ""), FormPart("e", None, ""), FormPart("f", "x", "")]


def test_a_part_may_be_larger_than_the_memory() -> None:
    count, piece = 64, b"x" * 256 * 1024

    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
        for _ in range(count):
            yield piece
        yield b"\r\n--b--"

    with Client(streaming([]), limits=Limits(memory_body_bytes=1000)) as client:
        tracemalloc.start()
        answer = client.post("/", content=body(), headers={"Content-Type": MULTIPART})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert answer.json() == {"f": count * len(piece)}
    assert peak < 16 * len(piece)  # 4 MiB; the form has 16


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nothing", 400),
        (multipart(('name="a"', b"1"))[:-6], 400),
        (multipart(("x", b"1")), 400),
        (multipart(*[('name="a"', b"")] * 3), 413),
        (multipart((f'name="{"a" * 200}"', b"")), 413),
    ],
)
def test_a_streamed_form_that_cannot_be_read(body: bytes, status: int) -> None:
    app = streaming([])
    with Client(app, limits=Limits(form_parts=2, form_head_bytes=100)) as client:
        app.prepare(client.server)
        answer = client.post("/", content=body, headers={"Content-Type": MULTIPART})
        assert answer.status == status


def test_a_form_of_which_only_the_beginning_is_wanted() -> None:
    app = Application()

    @app.post("/")
    async def first(request: Request) -> str:
        events: AsyncIterator[Any] = request.parts()
        async for event in events:
            return str(event.name)
        return ""

    with Client(app) as client:
        body = multipart(('name="a"', b"x" * 500_000))
        answer = client.post("/", content=body, headers={"Content-Type": MULTIPART})
        assert answer.text == "a"
        assert client.post("/", content=body, headers={"Content-Type": MULTIPART}).text == "a"
