"""Directories as HTML and JSON: what is shown, in which order, and what hostile names can do
(nothing).

The page is read by html.parser, as a browser would, and compared as a set of facts.
"""

import json
import os
import re
import socket
import tempfile
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import ProtocolError, Response
from reactor.web.compression.splice import Constant
from reactor.web.static import listing_entries, listing_html
from reactor.web.static.directory_reader import BATCH, natural
from reactor.web.static.listing import ListingOptions, Listings, list_directory, unless_known
from reactor.web.static.listing_pages import ROWS
from reactor.web.static.snapshot import ListedEntry, Order
from reactor.web.storage.safe_path import Root
from tests.support.coroutine_driver import (
    drive,
    make_request,
)

DAY = 86400

UNSEEN = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *"\u2066\u2067\u2068\u2069\ufeff",
}


class Row(NamedTuple):
    """A line of the table."""

    name: str
    href: str | None
    kind: str
    size: str  # as shown
    exact: str | None
    date: str | None


class Read(HTMLParser):
    """The content of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.titles: list[tuple[str, str | None, str | None]] = []  # text, href, aria-sort
        self.crumbs: list[tuple[str, str | None]] = []
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.texts: dict[str, str] = {}  # elements that come once
        self._open: list[str] = []
        self._cells: list[str] = []
        self._facts: dict[str, Any] = {}
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.attributes |= set(found)
        if tag not in {"meta", "link", "input", "br", "!doctype"}:
            self._open.append(tag)
        if tag in {"tr", "th", "nav"}:
            self._facts = {"class": found.get("class") or "", "sort": found.get("aria-sort")}
            self._cells = [""] if tag == "th" else []
        elif tag == "td":
            self._cells.append("")
            if "title" in found:
                self._facts["exact"] = found["title"]
        elif tag == "time":
            self._facts["date"] = found["datetime"]
        elif tag == "input" and "th" in self._open:  # a form becomes this query
            assert found["type"] == "hidden"
            query = self._facts.get("href")
            joint = f"{query}&" if query else "?"
            self._facts["href"] = f"{joint}{found['name']}={found['value']}"
        elif tag == "a":
            self._facts["href"] = found["href"]
            followed = found.get("rel") != "nofollow"
            assert followed == ("sort=" not in (found["href"] or "")), found
            if "nav" in self._open:
                self.crumbs.append(("", found["href"]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        facts = self._facts
        if tag == "th":
            self.titles.append((self._cells[0], facts.get("href"), facts["sort"]))
        elif tag == "tr" and len(self._cells) == 3:
            name, size, _ = self._cells
            kind = facts["class"] or "file"  # the icon
            exact, date = facts.get("exact"), facts.get("date")
            self.rows.append(Row(name, facts.get("href"), kind, size, exact, date))

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            # Marks that cannot be in the text itself distinguish an escape that the page has
            # made from text that only looks like one.
            assert not UNSEEN & set(data)
            self._cells[-1] += f"\1{data}\2" if self._open[-1] == "i" else data
        elif "nav" in self._open and self._open[-1] in {"a", "bdi", "i"}:
            text, href = self.crumbs[-1]
            self.crumbs[-1] = (text + data, href)
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def put(directory: Path, name: str | bytes, size: int = 0, age: int = 0) -> None:
    """Create a file of this size that is so many days older than the first of January 2020."""
    path = os.path.join(os.fsencode(directory), os.fsencode(name))
    with open(path, "wb") as file:
        file.truncate(size)
    when = datetime(2020, 1, 1, tzinfo=UTC).timestamp() - age * DAY
    os.utime(path, (when, when))


def ask(
    directory: Path,
    path: str = "/",
    options: ListingOptions | None = None,
    method: str = "GET",
    prefix: str = "",
    **headers: str,
) -> Response:
    """The response for a path below the mount."""
    target, _, query = path.partition("?")
    request = make_request(method, prefix + target, None, **headers)
    request.query = query
    segments = [unquote_to_bytes(name).decode() for name in target.split("/")[1:-1]]
    return drive(list_directory(request, Root(directory), segments, options or ListingOptions()))


def body(response: Response) -> str:
    async def collect(pieces: Any) -> str:
        return b"".join([piece async for piece in pieces]).decode()

    return drive(collect(response.body))


def read(
    directory: Path, path: str = "/", options: ListingOptions | None = None, prefix: str = ""
) -> Read:
    return Read(body(ask(directory, path, options, prefix=prefix)))


def read_json(
    directory: Path, path: str = "/", options: ListingOptions | None = None, prefix: str = ""
) -> dict[str, Any]:
    response = ask(directory, path, options, prefix=prefix, Accept="application/json")
    found: dict[str, Any] = json.loads(body(response))
    return found


def names(directory: Path, path: str = "/") -> list[str]:
    """The names of the JSON, which must be those of the page, in the same order."""
    listed = [entry["name"] for entry in read_json(directory, path)["entries"]]
    assert [row.name.removesuffix("/") for row in read(directory, path).rows] == listed
    return listed


# --- what is shown -------------------------------------------------------------------------------


def test_a_page(directory: Path) -> None:
    put(directory, "b.txt", 1234567, age=1)
    put(directory, "a.txt", 5)
    (directory / "photos").mkdir()
    os.utime(directory / "photos", (0, 0))
    assert read(directory).rows == [
        Row("photos/", "photos/", "directory", "", None, "1970-01-01T00:00:00Z"),
        Row("a.txt", "a.txt", "text", "5\xa0B", "5 bytes", "2020-01-01T00:00:00Z"),
        Row("b.txt", "b.txt", "text", "1.2\xa0MB", "1,234,567 bytes", "2019-12-31T00:00:00Z"),
    ]


def test_the_same_as_json(directory: Path) -> None:
    put(directory, "a b.txt", 5)
    (directory / "photos").mkdir()
    os.utime(directory / "photos", (1.5, 1.5))
    assert read_json(directory, prefix="/files") == {
        "path": "/files/",
        "complete": True,
        "omitted": 0,
        "total": 2,
        "page": 1,
        "pages": 1,
        "entries": [
            {
                "name": "photos",
                "type": "directory",
                "size": None,
                "modified": "1970-01-01T00:00:01Z",
                "href": "photos/",
            },
            {
                "name": "a b.txt",
                "type": "file",
                "size": 5,
                "modified": "2020-01-01T00:00:00Z",
                "href": "a%20b.txt",
            },
        ],
    }
    assert read_json(directory, "/photos/", prefix="/files")["path"] == "/files/photos/"
    assert read_json(directory, "/photos/")["path"] == "/photos/"


def test_an_empty_directory(directory: Path) -> None:
    page = read(directory)
    assert page.rows == []
    assert "This directory is empty" in page.texts["td"]
    assert read_json(directory)["entries"] == []


@pytest.mark.system
def test_hidden_entries(directory: Path) -> None:
    put(directory, "shown")
    for name in (".hidden", "..hidden", ".0123456789abcdef.part", b".\xff", ".\\"):
        put(directory, name)
    for name in (".uploads", ".well-known"):
        (directory / name).mkdir()
    os.mkfifo(directory / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
        assert names(directory) == ["shown"]
        assert read_json(directory)["omitted"] == 2
        assert read(directory).texts["p"].endswith("2 names not shown: no file to serve")
        listener.close()
        (directory / "fifo").unlink()
        assert read(directory).texts["p"].endswith("1 name not shown: no file to serve")


def test_every_name_has_a_link_that_leads_to_it(directory: Path) -> None:
    """Without a needless "./", which programs that compare links do not expect."""
    put(directory, "back\\slash")
    put(directory, b"latin1 \xe9")
    put(directory, "a:b")
    (directory / "C:\\").mkdir()
    assert [(one["name"], one["href"]) for one in read_json(directory)["entries"]] == [
        ("C:\\", "C%3A%5C/"),
        ("a:b", "a%3Ab"),
        ("back\\slash", "back%5Cslash"),
        ("latin1 \ufffd", "latin1%20%E9"),
    ]
    assert [row.href for row in read(directory).rows][1:] == [
        "a%3Ab",
        "back%5Cslash",
        "latin1%20%E9",
    ]


def test_links_are_what_they_lead_to(directory: Path) -> None:
    put(directory, "file", 7, age=3)
    (directory / "sub").mkdir()
    put(directory / "sub", ".secret")
    put(directory.parent, "outside")
    links = {
        "to-file": "file",
        "to-directory": "sub",
        "twice": "to-file",
        "absolute": f"{directory}/file",
        "by-parent": "sub/../file",
        "out": "../outside",
        "out-absolute": "/etc/passwd",
        "nowhere": "missing",
        "loop": "loop",
        "to-hidden": "sub/.secret",
        "to-device": "/dev/null",
    }
    for name, target in links.items():
        (directory / name).symlink_to(target)
    os.symlink("file", os.fsencode(directory) + b"/\xff")
    assert read_json(directory)["omitted"] == 6
    found = {entry["name"]: entry for entry in read_json(directory)["entries"]}
    assert found["\ufffd"]["size"] == 7
    assert set(found) - {"\ufffd"} == {
        "file",
        "sub",
        "to-file",
        "to-directory",
        "twice",
        "absolute",
        "by-parent",
    }
    for name in ("to-file", "twice", "absolute", "by-parent"):
        assert found[name] == {**found["file"], "name": name, "href": name}
    assert found["to-directory"]["type"] == "directory"
    assert found["to-directory"]["href"] == "to-directory/"


def test_links_in_a_directory_below(directory: Path) -> None:
    (directory / "a" / "b").mkdir(parents=True)
    put(directory, "file", 7)
    (directory / "a" / "b" / "up").symlink_to("../../file")
    (directory / "a" / "b" / "out").symlink_to("../../../outside")
    put(directory.parent, "outside")
    assert [entry["size"] for entry in read_json(directory, "/a/b/")["entries"]] == [7]


def test_a_file_that_goes_meanwhile_is_left_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(directory, "stays")
    put(directory, "goes")
    stat = os.stat

    def after_a_while(path: Any, **options: Any) -> os.stat_result:
        (directory / "goes").unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", after_a_while)
    assert names(directory) == ["stays"]


def test_more_than_is_shown(directory: Path) -> None:
    for number in range(2 * BATCH + 2):
        put(directory, f"{number}", 1)
    most = 2 * BATCH + 1
    listed = read_json(directory, options=ListingOptions(most=most))
    assert (len(listed["entries"]), listed["complete"]) == (most, False)
    page = read(directory, options=ListingOptions(most=most))
    assert len(page.rows) == most
    assert "has more entries than the 129 shown" in page.texts["p"]
    listed = read_json(directory, options=ListingOptions(most=most + 1))
    assert (len(listed["entries"]), listed["complete"]) == (most + 1, True)
    assert (
        "130 files, 130\xa0B" in read(directory, options=ListingOptions(most=most + 1)).texts["p"]
    )


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, ROWS * 2])
def test_no_entry_is_lost_at_a_seam(directory: Path, count: int) -> None:
    for number in range(count):
        put(directory, f"{number}")
    (directory / "z").mkdir()
    assert names(directory) == ["z", *map(str, range(count))]


# --- order ---------------------------------------------------------------------------------------


def test_sorted_by_each_column_both_ways(directory: Path) -> None:
    put(directory, "b", 1, age=5)
    put(directory, "a", 3, age=1)
    put(directory, "c", 2, age=9)
    for name, date in (("y", 2), ("x", 3), ("z", 1)):
        (directory / name).mkdir()
        os.utime(directory / name, (date * DAY, date * DAY))
    expected = {
        "?sort=name&order=asc": "xyzabc",
        "?sort=name&order=desc": "zyxcba",
        "?sort=size&order=asc": "xyzbca",
        "?sort=size&order=desc": "zyxacb",
        "?sort=date&order=asc": "zyxcba",
        "?sort=date&order=desc": "xyzabc",
    }
    for query, order in expected.items():
        assert "".join(names(directory, "/" + query)) == order, query


@pytest.mark.parametrize(
    "query", ["", "sort=colour", "sort", "=&=", "order=up", "sort=%6eame", "a=b&&c", "sort=name;x"]
)
def test_meaningless_queries_are_ignored(directory: Path, query: str) -> None:
    put(directory, "b")
    put(directory, "a")
    assert names(directory, f"/?{query}") == ["a", "b"]


def test_an_order_without_a_column_is_that_of_names(directory: Path) -> None:
    put(directory, "b")
    put(directory, "a")
    assert names(directory, "/?order=desc") == ["b", "a"]
    assert names(directory, "/?sort=nonsense&order=desc") == ["b", "a"]


def test_dates_sort_to_the_nanosecond_and_before_1970(directory: Path) -> None:
    for name, when in (("c", 5), ("b", 6), ("a", -(10**15)), ("d", 0)):
        put(directory, name)
        os.utime(directory / name, ns=(when, when))
    assert names(directory, "/?sort=date&order=asc") == ["a", "d", "c", "b"]


def test_names_in_natural_order(directory: Path) -> None:
    expected = ["A1", "a2", "A10", "a10b", "b", "B007", "b8", "Straße", "strasse2", "ä"]
    for name in expected:
        put(directory, name)
    assert names(directory) == expected


@given(st.text("ab", max_size=3), st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_in_names_compare_as_numbers(before: str, one: int, other: int) -> None:
    keys = [natural(f"{before}{number}x".encode()) for number in (one, other)]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (one < other, one == other)


def test_the_titles_are_links_that_sort(directory: Path) -> None:
    assert read(directory).titles == [
        ("Name", "?sort=name&order=desc", "ascending"),
        ("Size", "?sort=size&order=desc", None),
        ("Changed UTC", "?sort=date&order=desc", None),
    ]
    assert read(directory, "/?sort=size&order=desc").titles == [
        ("Name", "?sort=name&order=asc", None),
        ("Size", "?sort=size&order=asc", "descending"),
        ("Changed UTC", "?sort=date&order=desc", None),
    ]
    assert read(directory, "/?sort=size&order=asc").titles[1][1:] == (
        "?sort=size&order=desc",
        "ascending",
    )


def test_an_order_is_kept_on_the_way(directory: Path) -> None:
    (directory / "sub" / "deep").mkdir(parents=True)
    put(directory / "sub", "file")
    page = read(directory, "/sub/?sort=size&order=desc")
    assert [row.href for row in page.rows] == ["deep/?sort=size&order=desc", "file"]
    assert page.crumbs == [("example.com", "../?sort=size&order=desc")]
    listed = read_json(directory, "/sub/?sort=size&order=desc")["entries"]
    assert listed[0]["href"] == "deep/"


# --- names ---------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)<",
    "\"quotes\" & 'more'",
    "javascript:alert(1)",
    "a?b#c%2f%00",
    "new\nline\r\ttab\x00"[:-1],
    "photo\u202egpj.exe",
    "zero\u200bwidth\ufeff",
    "c1\x85\x9b31m",
    "two  spaces ",
    "日本語 👩‍👩‍👧 עברית",
    "{{rows}} {{style}}",
    "&lt;i&gt;",
    "~",
    "x" * 255,
]


def test_hostile_names(directory: Path) -> None:
    for name in HOSTILE:
        put(directory, name)
    put(directory, b"latin1 \xe9")
    page = read(directory)
    assert {unquote_to_bytes(row.href or "") for row in page.rows} == {
        *(name.encode() for name in HOSTILE),
        b"latin1 \xe9",
    }
    assert {row.name for row in page.rows} == {
        *(name for name in HOSTILE if name.isprintable() or "👩" in name),
        "new\1\\n\2line\1\\r\2\1\\t\2tab",
        "photo\1\\u202e\2gpj.exe",
        "zero\1\\u200b\2width\1\\ufeff\2",
        "c1\1\\x85\2\1\\x9b\00231m",
        "latin1 �",
    }
    assert page.tags["script"] == 1  # the page's own
    listed = read_json(directory)["entries"]
    assert {entry["name"] for entry in listed} == {*HOSTILE, "latin1 �"}
    assert [one["href"] for one in listed if one["name"] == "latin1 �"] == ["latin1%20%E9"]


def test_hostile_names_of_directories_above(directory: Path) -> None:
    for name in HOSTILE:
        (directory / name / "b").mkdir(parents=True)
        page = read(directory, f"/{quote(name, '')}/", prefix='/"<&')
        assert (page.tags["script"], page.tags["h2"]) == (1, 0)
        assert page.crumbs == [('"<&', "../")]
        assert visible(page.texts["title"]) == visible(f'/"<&/{name}/')
        assert [row.href for row in page.rows] == ["b/"]
        page = read(directory, f"/{quote(name, '')}/b/", prefix='/"<&')
        assert [href for _, href in page.crumbs] == ["../../", "../"]
        assert page.texts["h1"] == "b"


def visible(text: str) -> str:
    """The text without the parts that may be an escape."""
    return re.sub(r"\\(?:[nrt]|x..|u....)|[^ -~]", "", text)


# A name as a file system has it: any bytes but NUL and the slash.
NAMES = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {0, 0x2F} & set(name) and name[:1] != b"."
) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=60
).filter(lambda name: name[0] != ".").map(str.encode)

ALLOWED = {"tr", "td", "a", "bdi", "i", "time", "span"}


@pytest.mark.slow
@settings(deadline=None)
@given(st.sets(NAMES, max_size=5))
def test_any_name(given_names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for name in given_names:
            put(directory, name)
        text = body(ask(directory))
        listed = read_json(directory)["entries"]
    # The only markup of rows, for any names.
    rows = text[text.index("<tbody>") + 7 : text.index("</tbody>")]
    if given_names:
        assert set(Read(rows).tags) <= ALLOWED
        assert Read(rows).attributes <= {"href", "title", "datetime", "class"}
    page = Read(text)
    assert len(page.rows) == len(listed) == len(given_names)
    assert {behind(row.href or "") for row in page.rows} == given_names
    assert {behind(entry["href"]) for entry in listed} == given_names
    readable = sorted(name.decode(errors="replace") for name in given_names)
    assert sorted(entry["name"] for entry in listed) == readable
    assert sorted(re.sub("\1([^\2]*)\2", unescape, row.name) for row in page.rows) == readable


def unescape(match: re.Match[str]) -> str:
    return match[1].encode().decode("unicode_escape")


def behind(href: str) -> bytes:
    """The name that a browser requests; the link cannot lead anywhere else."""
    assert re.fullmatch(r"[A-Za-z0-9._~%-]+", href)
    joined = urljoin("http://host/files/", href)
    assert joined.startswith("http://host/files/")
    return unquote_to_bytes(joined.removeprefix("http://host/files/"))


# --- the page ------------------------------------------------------------------------------------


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(directory: Path) -> None:
    put(directory, "file")
    for options in (ListingOptions(), ListingOptions(uploads=True), ListingOptions(deletes=True)):
        response = ask(directory, options=options)
        page = body(response)
        policy = dict(
            part.split(" ", 1) for part in fields(response)["content-security-policy"].split("; ")
        )
        assert policy.pop("default-src") == "'none'"
        assert policy.pop("style-src") == source_of("style", page)
        assert policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
        assert policy.pop("form-action") == "'self'"
        assert policy.pop("img-src") == "data:"
        assert policy.pop("script-src") == source_of("script", page)
        if options.uploads or options.deletes:
            assert policy.pop("connect-src") == "'self'"
        assert not policy
        handlers = {name for name in Read(page).attributes if name.startswith("on")}
        assert not handlers | ({"style"} & Read(page).attributes)
        assert "{{" not in page.replace("<script>", "").split("<script")[0]


def source_of(tag: str, page: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    assert len(found) == 1
    return f"'sha256-{b64encode(sha256(found[0].encode()).digest()).decode()}'"


def fields(response: Response) -> dict[str, str]:
    names = [name.lower() for name, _ in response.headers]
    assert len(names) == len(set(names))
    return {name.lower(): value for name, value in response.headers}


def test_the_fields(directory: Path) -> None:
    html, listed = ask(directory), ask(directory, Accept="application/json")
    assert fields(html)["content-type"] == "text/html; charset=utf-8"
    assert fields(listed)["content-type"] == "application/json"
    for response in (html, listed):
        assert fields(response)["vary"] == "Accept, Accept-Encoding"
        assert fields(response)["cache-control"] == "no-cache"
        assert fields(response)["x-content-type-options"] == "nosniff"


def test_the_operator_has_the_last_word(directory: Path) -> None:
    options = ListingOptions(headers=[("cache-control", "max-age=60"), ("X-Served-By", "us")])
    both = ask(directory, options=ListingOptions(headers=[("Vary", "Origin")])).headers
    assert [value for name, value in both if name == "Vary"] == [
        "Accept, Accept-Encoding",
        "Origin",
    ]
    for accept in ("", "application/json"):
        found = fields(ask(directory, options=options, Accept=accept))
        assert found["cache-control"] == "max-age=60"
        assert found["x-served-by"] == "us"
        assert found["vary"] == "Accept, Accept-Encoding"


def test_the_form_is_there_where_files_are_taken(directory: Path) -> None:
    page = body(ask(directory, options=ListingOptions(uploads=True, resumable=True)))
    form = re.search(
        r'<form [^>]*>.*?<input type="file"[^>]*>.*?<button>.*?</form>', page, re.DOTALL
    )
    assert form is not None
    assert 'method="post" action="./" enctype="multipart/form-data"' in form[0]
    assert re.search(r"<label>.*<input.*</label>", form[0])
    assert '<body data-can="uploads resumable">' in page
    for options in (ListingOptions(), ListingOptions(deletes=True)):
        assert 'method="post"' not in body(ask(directory, options=options))
    assert '<body data-can="deletes">' in body(ask(directory, options=ListingOptions(deletes=True)))


def test_the_archive_is_a_form(directory: Path) -> None:
    """It is no link, which mirrors would follow."""
    options = ListingOptions(archives=True)
    button = '<button name="archive" value="tar">Download as .tar</button>'
    assert f"<form hidden>{button}</form>" in body(ask(directory, options=options))
    put(directory, "file")
    page = body(ask(directory, options=options))
    assert f"<form>{button}</form>" in page
    assert "?archive" not in page
    assert button not in body(ask(directory))


def test_the_way_back(directory: Path) -> None:
    (directory / "a" / "b c" / "d").mkdir(parents=True)
    page = read(directory, "/a/b%20c/d/", prefix="/files")
    assert page.crumbs == [("files", "../../../"), ("a", "../../"), ("b c", "../")]
    assert page.texts["h1"] == "d"
    assert page.texts["title"] == "/files/a/b c/d/"
    assert page.attributes >= {"aria-label", "lang", "scope", "aria-sort"}
    assert read(directory, "/", prefix="/files").crumbs == []
    assert read(directory, "/", prefix="/files").texts["h1"] == "files"
    assert read(directory, "/").texts["h1"] == "example.com"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (2**40, "1.1 TB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_sizes_for_people(size: int, shown: str) -> None:
    assert listing_html._amount(size) == shown.replace(" ", "\xa0")


def test_dates_that_cannot_be_said(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    put(directory, "file")
    assert listing_entries.date_of(-30610224000) == "1000-01-01T00:00:00Z"
    assert listing_entries.date_of(253402300799) == "9999-12-31T23:59:59Z"
    stat = os.stat

    def of_another_age(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        return os.stat_result((*found[:10],), {"st_mtime_ns": ages[-1] * 10**9})

    monkeypatch.setattr(os, "stat", of_another_age)
    ages = [-30610224001, 253402300800, 2**62, -(2**63)]
    while ages:
        for query in ("", "?sort=date"):
            assert [row.date for row in read(directory, "/" + query).rows] == [None]
            listed = read_json(directory, "/" + query)["entries"]
            assert [entry["modified"] for entry in listed] == [None]
        ages.pop()


def test_the_summary(directory: Path) -> None:
    assert read(directory).texts.get("p", "") == ""
    put(directory, "one", 1)
    assert read(directory).texts["p"] == "1 file, 1\xa0B"
    put(directory, "two", 1000)
    (directory / "sub").mkdir()
    assert read(directory).texts["p"] == "1 directory, 2 files, 1.0\xa0kB"


# --- errors, HEAD --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors_come_before_the_response(directory: Path, method: str) -> None:
    put(directory, "file")
    for path, error in (
        ("/missing/", FileNotFoundError),
        ("/file/", NotADirectoryError),
        ("/..%2f/", FileNotFoundError),
        ("/.hidden/", FileNotFoundError),
    ):
        with pytest.raises(error):
            ask(directory, path, method=method)


def test_head_is_as_get(directory: Path) -> None:
    put(directory, "file")
    for accept in ("", "application/json"):
        head = ask(directory, method="HEAD", Accept=accept)
        whole = ask(directory, Accept=accept)
        assert (head.status, head.headers) == (200, whole.headers)
        assert body(head) == body(whole)  # the connection sends its length only


# --- pages ---------------------------------------------------------------------------------------

TEN = ListingOptions(page=10)


class Pager(HTMLParser):
    """The links to other pages, once: the page has them above and below."""

    def __init__(self, page: str) -> None:
        super().__init__()
        found = re.findall(r'<nav class="pages".*?</nav>', page, re.DOTALL)
        assert len(found) in (0, 2)
        assert len(set(found)) <= 1
        self.links: dict[str, str] = {}
        self.shown: list[str] = []
        self.current = ""
        self._tag, self._facts = "", dict[str, Any]()
        self.feed(found[0] if found else "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag, self._facts = tag, dict(attrs)

    def handle_data(self, data: str) -> None:
        if not data.strip():
            return
        self.shown.append(data)
        if self._tag == "a":
            self.links[data] = self._facts["href"]
            relations = self._facts.get("rel", "").split()
            assert ("nofollow" in relations) == ("sort=" in self._facts["href"])
            turns = {"Previous": ["prev"], "Next": ["next"]}
            assert [one for one in relations if one != "nofollow"] == turns.get(data, [])
        elif self._facts.get("aria-current") == "page":
            self.current = data


@pytest.mark.parametrize(
    ("count", "pages"), [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (99, 10)]
)
def test_all_pages_together_are_the_directory(directory: Path, count: int, pages: int) -> None:
    for number in range(count):
        put(directory, f"{number}")
    found: list[str] = []
    seen: list[str] = []
    for page in range(1, pages + 1):
        listed = read_json(directory, f"/?page={page}", TEN)
        assert (listed["total"], listed["page"], listed["pages"]) == (count, page, pages)
        assert listed["complete"]
        found += [entry["name"] for entry in listed["entries"]]
        seen += [row.name for row in read(directory, f"/?page={page}", TEN).rows]
    assert found == seen == list(map(str, range(count)))


@pytest.mark.parametrize("by", ["name", "size", "date"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_each_order_is_paged(directory: Path, by: str, order: str) -> None:
    for number in range(25):
        put(directory, f"file {number}", size=number * 7 % 25, age=number * 11 % 25)
    for number in range(8):
        (directory / f"directory {number}").mkdir()
        os.utime(directory / f"directory {number}", (number * 3 % 8, number * 3 % 8))
    query = f"/?sort={by}&order={order}"
    whole = [entry["name"] for entry in read_json(directory, query)["entries"]]
    found: list[str] = []
    for page in range(1, 5):
        listed = read_json(directory, f"{query}&page={page}", TEN)
        found += [entry["name"] for entry in listed["entries"]]
    assert found == whole
    assert all(name.startswith("directory") for name in found[:8])


def test_links_to_other_pages(directory: Path) -> None:
    for number in range(95):
        put(directory, f"{number}")
    first = Pager(body(ask(directory, "/", TEN)))
    assert first.shown == ["Previous", "1", "2", "…", "10", "Next", "1 to 10 of 95"]
    assert first.links == {"2": "?page=2", "10": "?page=10", "Next": "?page=2"}
    middle = Pager(body(ask(directory, "/?page=5&sort=size&order=desc", TEN)))
    assert middle.shown == [
        *("Previous", "1", "…", "4", "5", "6", "…", "10", "Next", "41 to 50 of 95"),
    ]
    assert middle.current == "5"
    assert middle.links["Previous"] == "?sort=size&order=desc&page=4"
    assert middle.links["1"] == "?sort=size&order=desc"
    third = Pager(body(ask(directory, "/?page=3", TEN)))
    assert third.shown[:6] == ["Previous", "1", "2", "3", "4", "…"]
    assert third.links["1"] == "./"  # an empty link would keep the query
    last = Pager(body(ask(directory, "/?page=10", TEN)))
    assert last.shown[-4:] == ["9", "10", "Next", "91 to 95 of 95"]
    assert "Next" not in last.links
    assert Pager(body(ask(directory, "/"))).shown == []


def test_every_page_can_be_reached_by_links_alone(directory: Path) -> None:
    for number in range(130):
        put(directory, f"{number}")
    seen, todo = set[str](), [""]
    while todo:
        query = todo.pop()
        if query not in seen:
            seen.add(query)
            links = Pager(body(ask(directory, f"/{query}", TEN))).links
            todo += ["" if link == "./" else link for link in links.values()]
    assert len(seen) == 13


def test_other_links_on_a_page_lead_to_first_pages(directory: Path) -> None:
    (directory / "a").mkdir()
    for number in range(25):
        put(directory, f"{number}")
    page = read(directory, "/?page=2", ListingOptions(page=1))
    assert [href for _, href, _ in page.titles] == [
        "?sort=name&order=desc",
        "?sort=size&order=desc",
        "?sort=date&order=desc",
    ]
    assert read(directory, "/?page=1", ListingOptions(page=1)).rows[0].href == "a/"
    assert page.texts["title"] == "/ (page 2)"
    assert "1 directory, 25 files" in page.texts["p"]  # the sum is that of all pages


def test_pages_are_linked_for_programs(directory: Path) -> None:
    for number in range(25):
        put(directory, f"{number}")

    def links(query: str) -> str | None:
        return fields(ask(directory, query, TEN, Accept="application/json")).get("link")

    assert links("/") == '<?page=2>; rel="next", <?page=3>; rel="last"'
    assert links("/?page=2&sort=date&order=desc") == ", ".join(
        f'<?sort=date&order=desc{page}>; rel="{relation}"'
        for page, relation in [
            *(("", "first"), ("", "prev"), ("&page=3", "next"), ("&page=3", "last")),
        ]
    )
    assert links("/?page=3") == '<./>; rel="first", <?page=2>; rel="prev"'
    response = ask(directory, "/", ListingOptions(), Accept="application/json")
    assert "link" not in fields(response)
    assert "link" not in fields(ask(directory, "/", TEN))  # some browsers would fetch it ahead


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "x", "1.5", "+2", "2_0", "٢", "1e3", "%32", "9" * 5000, " 2", "²"]
)
def test_pages_without_a_meaning_are_the_first(directory: Path, value: str) -> None:
    for number in range(25):
        put(directory, f"{number}")
    listed = read_json(directory, f"/?page={value}", TEN)
    assert (listed["page"], len(listed["entries"])) == (1, 10)


def test_pages_that_do_not_exist(directory: Path) -> None:
    """People get the last one, since a directory becomes smaller; a program must notice."""
    for number in range(25):
        put(directory, f"{number}")
    for page in ("4", "999999999"):
        assert len(read(directory, f"/?page={page}", TEN).rows) == 5
        with pytest.raises(ProtocolError, match="this listing ends with page 3") as refused:
            ask(directory, f"/?page={page}", TEN, Accept="application/json")
        assert refused.value.status == 404
    assert read_json(directory, "/?page=3", TEN)["page"] == 3
    (directory / "empty").mkdir()
    assert read(directory, "/empty/?page=7", TEN).rows == []


def test_a_directory_that_changes_between_two_pages(directory: Path) -> None:
    """Each page is true when it is made; what was removed moves the rest."""
    for number in range(30):
        put(directory, f"{number:02}")
    options = ListingOptions(page=10)
    first = read_json(directory, "/", options)
    (directory / "00").unlink()
    put(directory, "zz")
    second = read_json(directory, "/?page=2", options)
    assert [entry["name"] for entry in first["entries"]] == [f"{n:02}" for n in range(10)]
    assert [entry["name"] for entry in second["entries"]] == [f"{n:02}" for n in range(11, 21)]


def test_an_incomplete_listing_is_paged(directory: Path) -> None:
    for number in range(30):
        put(directory, f"{number}")
    options = ListingOptions(page=10, most=25)
    listed = read_json(directory, "/?page=3", options)
    assert (listed["complete"], listed["total"], len(listed["entries"])) == (False, 25, 5)
    assert "more entries than the 25 shown" in read(directory, "/?page=2", options).texts["p"]


# --- conditions ----------------------------------------------------------------------------------


def test_a_listing_has_a_tag_of_all_that_it_shows(directory: Path) -> None:
    put(directory, "a")
    for number in range(25):
        put(directory, f"{number}")
    options = ListingOptions(page=10)
    tags = [
        fields(ask(directory, query, options, Accept=accept))["etag"]
        for query in ("/", "/?page=2", "/?sort=size", "/?order=desc")
        for accept in ("", "application/json")
    ]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch('"[0-9a-f]{32}"', tag) for tag in tags)
    assert fields(ask(directory, "/", options))["etag"] == tags[0]
    assert fields(ask(directory, "/", ListingOptions(page=10)))["etag"] == tags[0]
    assert fields(ask(directory, "/", ListingOptions(page=10, uploads=True)))["etag"] != tags[0]
    put(directory, "a", 5)
    assert fields(ask(directory, "/", ListingOptions(page=10)))["etag"] != tags[0]


def known(response: Response, **headers: str) -> Response:
    return unless_known(make_request("GET", "/", None, **headers), response)


def test_a_tag_changes_with_style_and_script(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fields(ask(directory))["etag"]
    other = listing_html.QUIET._replace(start=Constant(b"another style"))
    monkeypatch.setattr("reactor.web.static.listing.QUIET", other)
    assert fields(ask(directory))["etag"] != before


def test_a_script_is_sent_without_comments_and_indentation() -> None:
    source = "  /* one\n two */\n  let a = 1;\n\n    // why\n    a += 2; // here\n"
    assert listing_html._small(source) == "let a = 1;\na += 2; // here\n"
    for layout in (listing_html.QUIET, listing_html.ACTIVE):
        sent = (layout.start.data + layout.end.data).decode()
        assert not re.search(r"^\s+\S|^//|/\*", sent, re.MULTILINE)


def test_a_listing_that_the_client_has_is_not_sent(directory: Path) -> None:
    put(directory, "a")
    tag = fields(ask(directory))["etag"]
    for value in (tag, f'"x", W/{tag}', "*"):
        response = known(ask(directory), If_None_Match=value)
        assert (response.status, response.body) == (304, b"")
        assert fields(response)["etag"] == tag
        assert fields(response)["cache-control"] == "no-cache"
        assert not {"content-type", "content-length"} & set(fields(response))
    for headers in (
        {"If_None_Match": '"x"'},
        {"If_None_Match": tag.replace('"', "")},
        {"If_Match": tag},
        {"If_Match": "*"},
        {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},  # it has no date
        {"If_Unmodified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {},
    ):
        assert known(ask(directory), **headers).status == 200, headers
    with pytest.raises(ProtocolError) as refused:
        known(ask(directory), If_Match='"x"')
    assert refused.value.status == 412


def test_a_tag_of_the_operator_is_left_alone(directory: Path) -> None:
    options = ListingOptions(headers=[("ETag", '"own"')])
    response = ask(directory, options=options)
    assert fields(response)["etag"] == '"own"'
    assert known(response, If_None_Match='"own"').status == 304


# --- entries -------------------------------------------------------------------------------------


def test_an_entry_says_what_it_is(directory: Path) -> None:
    put(directory, b"\xff", 3)
    (directory / "sub").mkdir()
    os.utime(directory / "sub", (5, 5))
    find = Listings().directories.find("client", Root(directory), (), 10)
    found = drive(find)
    assert found.entries(Order(), 0, 10) == [
        ListedEntry(b"sub", None, 5),
        ListedEntry(b"\xff", 3, 1577836800),
    ]
    assert (found.directories, found.files, found.size, found.complete) == (1, 1, 3, True)
