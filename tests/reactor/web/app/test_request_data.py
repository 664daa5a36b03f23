"""The data of requests, decoded: arguments, cookies, text, JSON and forms; and refusals."""

import json
from collections.abc import Callable
from encodings import _cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reactor
from reactor import Limits, ProtocolError
from reactor.web.app.request_data import (
    _CHARSETS,
    Arguments,
    form_of,
    json_of,
    parse_cookies,
    parse_pairs,
    text_of,
)
from tests.support.form_data import FORM, MULTIPART, multipart, refusal, request_for, request_with

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
    assert list(request_for(query).args) == pairs
    assert len(request_for(query).args) == len(pairs)
    assert list(form_of(request_with(query.encode(), FORM))) == pairs


@pytest.mark.parametrize("text", ["a=%FF", "%C3=1", "a=%ED%A0%80", "a=%C0%AF", "a=%F4%90%80%80"])
def test_arguments_must_be_utf_8(text: str) -> None:
    assert refusal(lambda: request_for(text).args).status == 400
    assert refusal(form_of, request_with(text.encode(), FORM)).status == 400


def test_the_number_of_arguments_is_limited() -> None:
    most = Limits().form_parts
    assert len(request_for("&".join(["a"] * most)).args) == most
    assert refusal(lambda: request_for("&".join(["a"] * (most + 1))).args).status == 414
    assert refusal(lambda: request_for("&" * most).args).status == 414
    body = b"&".join([b"a"] * most)
    assert len(form_of(request_with(body, FORM))) == most
    assert refusal(form_of, request_with(body + b"&a", FORM)).status == 413


def test_arguments_by_name() -> None:
    args = request_for("a=1&b=&a=2").args
    assert (args.get("a"), args.get("b", "x"), args.get("c"), args.get("c", "x")) == (
        *("1", "", "", "x"),
    )
    assert (args["a"], args["b"], args.get_all("a"), args.get_all("c")) == ("1", "", ["1", "2"], [])
    assert "a" in args
    assert "c" not in args
    assert 1 not in args
    assert refusal(lambda: args["é"]).status == 400
    assert repr(args) == "Arguments([('a', '1'), ('b', ''), ('a', '2')])"
    assert dict(Arguments([])) == {}


@given(st.lists(st.tuples(st.text(), st.text()), max_size=20))
def test_encoded_arguments_are_decoded(pairs: list[tuple[str, str]]) -> None:
    from_browser = "&".join(
        "=".join("".join(f"%{byte:02x}" for byte in part.encode(errors="ignore")) for part in pair)
        for pair in pairs
    )
    clean = [
        (name.encode(errors="ignore").decode(), value.encode(errors="ignore").decode())
        for name, value in pairs
    ]
    assert parse_pairs(from_browser, 1000) == clean


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
    assert request_with(b"", cookie=value).cookies == cookies


@given(st.text(st.characters(max_codepoint=255)))
def test_any_cookie_field_is_parsed(value: str) -> None:
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
    assert text_of(request_with(content, media_type)) == text


@pytest.mark.parametrize("charset", sorted(_CHARSETS))
def test_every_charset_exists(charset: str) -> None:
    assert text_of(request_with("A".encode(charset), f"text/plain; charset={charset}")) == "A"


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
def test_text_that_cannot_be_decoded(content: bytes, media_type: str, status: int) -> None:
    assert refusal(text_of, request_with(content, media_type)).status == status


def test_unknown_charsets_are_not_cached() -> None:
    before = len(_cache)
    for number in range(100):
        refusal(text_of, request_with(b"x", f"text/plain; charset=none-{number}"))
    assert len(_cache) == before


@pytest.mark.parametrize("read", [text_of, json_of, form_of])
def test_an_encoded_body_is_refused(read: Callable[[reactor.Request], Any]) -> None:
    kind = FORM if read is form_of else "application/json"
    error = refusal(read, request_with(b"1", kind, content_encoding="gzip"))
    assert (error.status, error.headers) == (415, [("Accept-Encoding", "identity")])
    assert refusal(read, request_with(b"1", kind, content_encoding="identity, gzip")).status == 415
    read(request_with(b"1", kind, content_encoding="Identity"))


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
    found = json_of(request_with(content, media_type))
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
def test_malformed_json(content: bytes, sentence: str) -> None:
    error = refusal(json_of, request_with(content))
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
def test_json_with_another_type_is_refused(media_type: str) -> None:
    assert refusal(json_of, request_with(b"1", media_type)).status == 415


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(VALUES, st.booleans())
def test_any_json_is_decoded(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert json_of(request_with(text.encode())) == value


@given(st.binary())
def test_any_bytes_as_json_are_a_value_or_a_400(content: bytes) -> None:
    try:
        value = json_of(request_with(content))
    except ProtocolError as error:
        status, value = error.status, None
    else:
        status = 400
    assert status == 400
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


# --- forms ---------------------------------------------------------------------------------------


def test_a_form_with_files() -> None:
    body = multipart(
        ('name="a"', b"1"),
        ('name="f"; filename="x.bin"', b"\xff\x00"),
        ('name="a"', "ü\r\n".encode()),
        ('name="f"; filename="y.txt"', b""),
        ('name="g"; filename=""', b""),  # a file field without a file
        ('name=""', b""),
    )
    body = body.replace(b'x.bin"', b'x.bin"\r\nContent-Type: image/x')
    form = form_of(request_with(body, MULTIPART))
    assert list(form) == [("a", "1"), ("a", "ü\r\n"), ("", "")]
    assert [(name, file.name) for name, file in form.files] == [("f", "x.bin"), ("f", "y.txt")]
    file = form.file("f")
    assert file is not None
    assert (file.name, file.media_type, file.content) == ("x.bin", "image/x", b"\xff\x00")
    assert form.require_file("f") is file
    for name in ("g", "a", "none"):
        assert form.file(name) is None
        with pytest.raises(ProtocolError, match=f"The request has no file '{name}'") as missing:
            form.require_file(name)
        assert missing.value.status == 400
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
def test_malformed_forms(content: bytes, media_type: str, status: int) -> None:
    assert refusal(form_of, request_with(content, media_type)).status == status


def test_a_form_is_utf_8_in_spite_of_its_type() -> None:
    request = request_with("ä=%C3%A4+".encode(), f"{FORM}; charset=iso-8859-1")
    assert list(form_of(request)) == [("ä", "ä ")]
    assert len(form_of(request_with(multipart(), MULTIPART))) == 0
