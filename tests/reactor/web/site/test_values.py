"""Values of options that name files, URLs and header fields: which are accepted."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.web.site import values


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
    assert values.mount(text) == expected


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
        values.mount(text)


@given(st.text(max_size=20))
def test_a_prefix_is_a_path_that_needs_no_decoding(text: str) -> None:
    try:
        prefix, directory = values.mount(text + "=x")
    except ValueError:
        return
    assert re.fullmatch(r"/(?:[!$&'()+,\-.:;@_~0-9A-Za-z]+/)*", prefix)
    assert not {"", ".", ".."} & set(prefix[1:-1].split("/")) or prefix == "/"
    assert directory.endswith("x")
    assert values.mount(f"{prefix}=x") == (prefix, "x")


@pytest.mark.parametrize("text", ["index.html", "app/index.html", "a b.html", "\u00e9.html"])
def test_paths_below_a_mount(text: str) -> None:
    assert values.path_below(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "/index.html", "a//b", "a/", ".hidden", "../x", "a/../b", "./a", "a\\b", "a\0", "\udc80"],
)
def test_no_paths_below_a_mount(text: str) -> None:
    with pytest.raises(ValueError, match="not a path below a mount"):
        values.path_below(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".md=text/plain", (".md", "text/plain")),
        (".MD=text/plain", (".md", "text/plain")),
        (".x=text/plain; charset=latin-1", (".x", "text/plain; charset=latin-1")),
        (".x=text/plain;charset=utf-8", (".x", "text/plain;charset=utf-8")),
        ('.x=a/b; c="d;=\\" e"', (".x", 'a/b; c="d;=\\" e"')),
        (".x= application/vnd.a+json ", (".x", "application/vnd.a+json")),
        (".c++=text/x-c", (".c++", "text/x-c")),
        ("md=text/plain", ("md", "text/plain")),
        ("LICENSE=text/plain", ("license", "text/plain")),
        ("go.mod=text/plain", ("go.mod", "text/plain")),
        ("two words=text/plain", ("two words", "text/plain")),
    ],
)
def test_media_types(text: str, expected: tuple[str, str]) -> None:
    assert values.media_type(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "=", ".md", ".md=", ".=text/plain", "a/b=text/plain", ".tar.gz=a/b", "./x=a/b"),
        *(".md=text", ".md=text/", ".md=/plain", ".md=text/plain;", ".md=text/plain; x"),
        *(".md=text/plain; x=", '.md=a/b; x="', ".md=a/b/c", ".md=a /b", ".md=a/b,c/d"),
        *(".md=a/b\r\nX: y", ".md=a/b\n", '.md=a/b; x="\u00e9"', ".m d=a/b", ".m\n=a/b"),
    ],
)
def test_no_media_types(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a media type|EXT=TYPE|neither an ext"):
        values.media_type(text)


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
    assert values.header(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "X", "X-A:", "X-A: ", ": b", "X A: b", "X-A : b", " X-A: b", "X\u00e9: b"),
        *("X-A: b\r\nX-B: c", "X-A: b\n", "X-A: b\rc", "X-A: b\0", "X-A: \u00e9", "X-A: \x7f"),
        *("X\r\nY: b", "X\n: b", "(X): b"),
    ],
)
def test_no_headers(text: str) -> None:
    with pytest.raises(ValueError, match=r"Name: value|not a value"):
        values.header(text)


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
        values.header(f"{name}: x")


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
    assert values.cache_rule(text) == expected


@pytest.mark.parametrize("text", ["", "=", "*", "*=", "=x", "/=x", "*= ", "*=a\nb", "*=\u00e9"])
def test_no_cache_rules(text: str) -> None:
    with pytest.raises(ValueError, match=r"PATTERN=VALUE|not a value"):
        values.cache_rule(text)


@pytest.mark.parametrize(
    "check", [values.mount, values.media_type, values.header, values.cache_rule]
)
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
    if check is not values.mount:  # its directory is any name
        assert all("\n" not in part and "\r" not in part for part in found)
