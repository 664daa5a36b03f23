"""Values of options: what is taken, in which form, and the sentence for what is not."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.config import types


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("app:handler", True),
        ("package.module:name", True),
        ("package.module:name.attribute", True),
        ("_a1:_b2", True),
        ("m\u00f6bel:t\u00fcr", True),
        ("./a:b", False),
        ("a:b/", False),
        ("a/b:c", False),
        ("app", False),
        ("app:", False),
        (":app", False),
        ("app:1", False),
        ("a:b:c", False),
        ("a..b:c", False),
        (".a:b", False),
        ("a:b.", False),
        ("a-b:c", False),
        ("a :b", False),
        ("", False),
        (":", False),
    ],
)
def test_what_names_an_application(text: str, is_one: bool) -> None:
    assert types.names_application(text) is is_one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/=site", ("/", "site")),
        ("//=site", ("/", "site")),
        ("/docs/=site", ("/docs/", "site")),
        ("/docs=site", ("/docs/", "site")),
        ("docs=site", ("/docs/", "site")),
        ("///docs///=site", ("/docs/", "site")),
        ("/a/b/=/x/y", ("/a/b/", "/x/y")),
        ("/a/=x=y", ("/a/", "x=y")),
        ("/.well-known/=x", ("/.well-known/", "x")),
        ("/.../=x", ("/.../", "x")),
        ("/A-b_c~!$&'()+,;:@/= ", ("/A-b_c~!$&'()+,;:@/", " ")),
    ],
)
def test_mounts(text: str, expected: tuple[str, str]) -> None:
    assert types.mount(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", "site", "=site", "/docs/=", "/"),
        *("/./=x", "/../=x", "..=x", "/a/../b=x", "/a/.=x"),
        *("/a//b/=x", "/a%20b/=x", "/%2e%2e/=x", "/a?b=x", "/a#b=x", "/a b=x", "/a\\b=x"),
        *("/{name}/=x", "/{name:path}=x", "/*/=x", "/\u00e9/=x", "/\udcff/=x", "/a\n/=x", "/a\0=x"),
    ],
)
def test_no_mounts(text: str) -> None:
    with pytest.raises(ValueError, match=r"prefix|PREFIX"):
        types.mount(text)


@given(st.text(max_size=20))
def test_a_prefix_is_a_path_that_needs_no_decoding(text: str) -> None:
    try:
        prefix, directory = types.mount(text + "=x")
    except ValueError:
        return
    assert re.fullmatch(r"/(?:[!$&'()+,\-.:;@_~0-9A-Za-z]+/)*", prefix)
    assert not {"", ".", ".."} & set(prefix[1:-1].split("/")) or prefix == "/"
    assert directory.endswith("x")
    assert types.mount(f"{prefix}=x") == (prefix, "x")


@pytest.mark.parametrize("text", ["index.html", "app/index.html", "a b.html", "\u00e9.html"])
def test_paths_below_a_mount(text: str) -> None:
    assert types.path_below(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "/index.html", "a//b", "a/", ".hidden", "../x", "a/../b", "./a", "a\\b", "a\0", "\udc80"],
)
def test_no_paths_below_a_mount(text: str) -> None:
    with pytest.raises(ValueError, match="no path below a mount"):
        types.path_below(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".md=text/plain", ("md", "text/plain")),
        (".MD=text/plain", ("md", "text/plain")),
        (".x=text/plain; charset=latin-1", ("x", "text/plain; charset=latin-1")),
        (".x=text/plain;charset=utf-8", ("x", "text/plain;charset=utf-8")),
        ('.x=a/b; c="d;=\\" e"', ("x", 'a/b; c="d;=\\" e"')),
        (".x= application/vnd.a+json ", ("x", "application/vnd.a+json")),
        (".c++=text/x-c", ("c++", "text/x-c")),
    ],
)
def test_media_types(text: str, expected: tuple[str, str]) -> None:
    assert types.media_type(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", ".md", ".md=", ".=text/plain", "md=text/plain", ".tar.gz=a/b", "./x=a/b"),
        *(".md=text", ".md=text/", ".md=/plain", ".md=text/plain;", ".md=text/plain; x"),
        *(".md=text/plain; x=", '.md=a/b; x="', ".md=a/b/c", ".md=a /b", ".md=a/b,c/d"),
        *(".md=a/b\r\nX: y", ".md=a/b\n", '.md=a/b; x="\u00e9"', ".m d=a/b", ".m\n=a/b"),
    ],
)
def test_no_media_types(text: str) -> None:
    with pytest.raises(ValueError, match=r"no media type|EXT=TYPE"):
        types.media_type(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("X-A: b", ("X-A", "b")),
        ("X-A:b", ("X-A", "b")),
        ("X-A:  b\t c \t", ("X-A", "b\t c")),
        ("Link: <a:b>; rel=x", ("Link", "<a:b>; rel=x")),
        ("Content-Disposition: attachment", ("Content-Disposition", "attachment")),
        ("Access-Control-Allow-Origin: *", ("Access-Control-Allow-Origin", "*")),
    ],
)
def test_headers(text: str, expected: tuple[str, str]) -> None:
    assert types.header(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "X", "X-A:", "X-A: ", ": b", "X A: b", "X-A : b", " X-A: b", "X\u00e9: b"),
        *("X-A: b\r\nX-B: c", "X-A: b\n", "X-A: b\rc", "X-A: b\0", "X-A: \u00e9", "X-A: \x7f"),
        *("X\r\nY: b", "X\n: b", "(X): b"),
    ],
)
def test_no_headers(text: str) -> None:
    with pytest.raises(ValueError, match=r"Name: value|no value"):
        types.header(text)


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date", "Trailer"),
        *("Upgrade", "Server", "ETag", "Last-Modified", "Content-Type", "Content-Encoding"),
        *("Content-Range", "Accept-Ranges", "Vary", "Location", "Allow", "Cache-Control"),
        *("content-length", "CONTENT-TYPE", "eTAG", "X-Content-Type-Options"),
    ],
)
def test_fields_that_are_taken(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} cannot be added: "):
        types.header(f"{name}: x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*.css=max-age=60", ("*.css", "max-age=60")),
        ("*= no-store ", ("*", "no-store")),
        ("/index.html=no-cache", ("/index.html", "no-cache")),
        ("assets/*=public, max-age=1", ("assets/*", "public, max-age=1")),
        ("[!a]?=x", ("[!a]?", "x")),
    ],
)
def test_cache_rules(text: str, expected: tuple[str, str]) -> None:
    assert types.cache_rule(text) == expected


@pytest.mark.parametrize("text", ["", "=", "*", "*=", "=x", "/=x", "*= ", "*=a\nb", "*=\u00e9"])
def test_no_cache_rules(text: str) -> None:
    with pytest.raises(ValueError, match=r"PATTERN=VALUE|no value"):
        types.cache_rule(text)


@pytest.mark.parametrize("check", [types.mount, types.media_type, types.header, types.cache_rule])
@given(text=st.text(max_size=30))
def test_nothing_else_is_raised_and_nothing_ends_a_line(
    check: Callable[[str], tuple[str, str]], text: str
) -> None:
    found: Any = ()
    said = ""
    try:
        found = check(text)
    except ValueError as error:
        said = str(error)
    assert said.isprintable()  # values stand in it as their repr
    if check is not types.mount:  # whose directory is any name
        assert all("\n" not in part and "\r" not in part for part in found)
