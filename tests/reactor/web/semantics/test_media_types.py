"""Media types by name: the table, and the operator's changes to it."""

import re

import pytest

from reactor.web.compression.encoders import shrinks
from reactor.web.semantics.media_types import _TYPES, media_type, media_types, runs_script


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LICENSE", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("data.", "application/octet-stream"),
        ("data.unknown", "application/octet-stream"),
        ("txt", "application/octet-stream"),
        ("a.txt ", "application/octet-stream"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("A.TXT", "text/plain; charset=utf-8"),
        ("a.html.TxT", "text/plain; charset=utf-8"),
        ("a.tar.gz", "application/gzip"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.xhtml", "application/xhtml+xml"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.vtt", "text/vtt; charset=utf-8"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.ts", "video/mp2t"),
        ("a.yml", "application/yaml"),
        ("a.toml", "application/toml"),
        ("a.py", "text/x-python; charset=utf-8"),
        ("a.log", "text/plain; charset=utf-8"),
        ("a.conf", "text/plain; charset=utf-8"),
        ("a.ini", "text/plain; charset=utf-8"),
        ("a.rss", "application/rss+xml"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.jsonl", "application/x-ndjson"),
        ("a.cjs", "text/javascript; charset=utf-8"),
        ("a.h", "text/x-c; charset=utf-8"),
        ("a\n.css", "text/css; charset=utf-8"),
        ("\udcff.css", "text/css; charset=utf-8"),
    ],
)
def test_types_by_name(name: str, expected: str) -> None:
    assert media_type(name) == expected
    assert media_types({})(name) == expected


def test_all_types_in_the_table_are_lower_case() -> None:
    for extension, kind in _TYPES.items():
        assert re.fullmatch(r"[a-z0-9]+", extension)
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", kind)
    assert list(_TYPES) == sorted(_TYPES)


@pytest.mark.parametrize("name", ["a.m3u8", "a.yaml", "a.toml", "a.jsonl", "a.atom", "a.eot"])
def test_text_types_outside_of_text_shrink(name: str) -> None:
    assert shrinks(media_type(name))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("text/x-c", "text/x-c; charset=utf-8"),
        ("Text/X-C", "Text/X-C; charset=utf-8"),
        ("text/x; q=1", "text/x; q=1; charset=utf-8"),
        ("text/x; charset=latin-1", "text/x; charset=latin-1"),
        ("text/x;Charset=utf-8", "text/x;Charset=utf-8"),
        ('text/x; a=b; charset="x"', 'text/x; a=b; charset="x"'),
        ("text/x; xcharset=a", "text/x; xcharset=a; charset=utf-8"),
        ("application/json", "application/json"),
        ("application/javascript", "application/javascript"),
        ("image/svg+xml", "image/svg+xml"),
    ],
)
def test_changes_by_the_operator(kind: str, expected: str) -> None:
    changed = media_types({"new": kind, "html": kind})
    assert changed("a.new") == expected
    assert changed("a.NEW") == expected
    assert changed("a.html") == expected
    assert changed("a.htm") == "text/html; charset=utf-8"
    assert changed("new") == "application/octet-stream"
    assert media_type("a.html") == "text/html; charset=utf-8"  # the shared table is unchanged


@pytest.mark.parametrize(
    "kind",
    [
        *("text/html", "TEXT/HTML", "text/html; charset=utf-8", "text/html \t;x=y", "text/html;"),
        *("application/xhtml+xml", "application/vnd.wap.xhtml+xml", "image/svg+xml", "text/xml"),
        *("application/xml", "application/atom+xml", "application/mathml+xml", "any/thing+XML"),
        *("application/xslt+xml", "text/xsl", "application/rdf+xml", "text/rdf", "text/x-html"),
        *("multipart/related", "multipart/related; boundary=x", "multipart/x-mixed-replace"),
        *("message/rfc822", "application/x-mimearchive", "application/x-webarchive"),
    ],
)
def test_types_that_run_script(kind: str) -> None:
    assert runs_script(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain; charset=utf-8", "application/octet-stream", "application/pdf", "image/png"),
        *("image/jpeg", "image/gif", "image/webp", "video/mp4", "video/webm", "audio/mpeg"),
        *("text/javascript", "text/css", "application/json", "application/zip", "font/woff2"),
        *("text/plain; x=text/html", 'text/plain; x="text/html"', "text/markdown"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        *("application/java-archive", "application/wasm", "*/*", ""),
    ],
)
def test_types_that_run_no_script(kind: str) -> None:
    assert not runs_script(kind)


def test_extensions_that_run_script() -> None:
    names = [f"a.{extension}" for extension in _TYPES]
    assert {name for name in names if runs_script(media_type(name))} == {
        *("a.atom", "a.gpx", "a.htm", "a.html", "a.kml", "a.mpd", "a.rss", "a.svg", "a.xhtml"),
        *("a.xml", "a.xsd", "a.xsl", "a.xslt"),
    }
