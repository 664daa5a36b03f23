"""Media types by name: the table, and the operator's changes to it."""

import inspect
import mimetypes
import re

import pytest

from reactor.web.compression.encoders import shrinks
from reactor.web.semantics import media_types as tables
from reactor.web.semantics.media_types import (
    _NAMES,
    _TEXT,
    _TEXT_NAMES,
    _TYPES,
    checked_type,
    media_type,
    media_types,
    runs_script,
)

PLAIN = "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
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
        ("a.m2ts", "video/mp2t"),
        ("license.exe", "application/octet-stream"),
        ("LICENSE ", "application/octet-stream"),
        ("my-license", "application/octet-stream"),
        ("LICENSE.pdf", "application/pdf"),
        ("apple-app-site-association", "application/json"),
        ("a.rss", "application/rss+xml"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.jsonl", "application/x-ndjson"),
        ("a.cjs", "text/javascript; charset=utf-8"),
        ("a\n.css", "text/css; charset=utf-8"),
        ("\udcff.css", "text/css; charset=utf-8"),
    ],
)
def test_types_by_name(name: str, expected: str) -> None:
    assert media_type(name) == expected
    assert media_types({})(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("a.yml", "a.yaml", "a.toml", "a.ts", "a.tsx", "a.rs", "a.go", "a.ini", "a.cfg", "a.log"),
        *("a.diff", "a.patch", "a.conf", "a.py", "a.h", "a.md", "a.sh", "a.sql", "a.YAML", "a.txt"),
        *("LICENSE", "license", "COPYING", "Makefile", "README", "readme", "Dockerfile", "TODO"),
        *("CHANGELOG", "Jenkinsfile", "go.mod", "go.sum", "Cargo.lock", "SHA256SUMS", "InRelease"),
    ],
)
def test_files_that_people_read_are_shown_as_text(name: str) -> None:
    assert media_type(name) == PLAIN
    assert shrinks(media_type(name))
    assert not runs_script(media_type(name))


def test_the_tables_do_not_depend_on_the_machine() -> None:
    """Debian's /etc/mime.types says something else of .ts and .go, and Windows of .js."""
    mimetypes.add_type("text/other", ".ts")
    mimetypes.add_type("text/other", ".unknown")
    try:
        changed = media_types({})
        assert (changed("a.ts"), changed("a.unknown")) == (PLAIN, "application/octet-stream")
    finally:
        mimetypes.init()


def test_all_types_in_the_table_are_lower_case() -> None:
    for extension, kind in _TYPES.items():
        assert re.fullmatch(r"[a-z0-9]+", extension)
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", kind)
    for name, kind in _NAMES.items():
        assert checked_type(name, kind) == (name, kind)
    others = re.findall(r'^    "(\w+)":', inspect.getsource(tables), re.M)
    for table in (_TEXT.split(), _TEXT_NAMES.split(), others):
        assert table == sorted(set(table))
    assert sorted(_TYPES) == sorted([*_TEXT.split(), *others])  # no extension is in both


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
    changed = media_types({".new": kind, ".html": kind, "Whole.name": kind})
    assert changed("whole.NAME") == changed("Whole.name") == expected
    assert changed("a.whole.name") == "application/octet-stream"
    assert changed("a.new") == expected
    assert changed("a.NEW") == expected
    assert changed("a.html") == expected
    assert changed("a.htm") == "text/html; charset=utf-8"
    assert changed("new") == "application/octet-stream"
    assert media_type("a.html") == "text/html; charset=utf-8"  # the shared table is unchanged


def test_a_whole_name_comes_before_its_extension() -> None:
    changed = media_types({".mod": "audio/mod", "page": "text/html", "LICENSE": "text/x"})
    assert changed("song.mod") == "audio/mod"
    assert changed("go.mod") == PLAIN
    assert changed("PAGE") == "text/html; charset=utf-8"
    assert runs_script(changed("page"))
    assert changed("license") == "text/x; charset=utf-8"
    assert media_types({"go.mod": "a/b"})("go.mod") == "a/b"


@pytest.mark.parametrize("key", ["", ".", "..", ".a.b", "a/b", "a\\b", "a\0", "a\nb", ".a b", "/"])
def test_keys_that_no_name_can_have(key: str) -> None:
    with pytest.raises(ValueError, match="neither an extension nor a name"):
        media_types({key: "text/plain"})


def test_changes_are_checked() -> None:
    with pytest.raises(ValueError, match="'text' is not a media type"):
        media_types({".md": "text"})


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
