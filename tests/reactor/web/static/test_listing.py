"""Folders as HTML and JSON: what is shown, in which order, and what hostile names can do (nothing).

The page is read by html.parser, as a browser would, and compared as a set of facts.
"""

import gc
import json
import os
import re
import socket
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Cancelled, ProtocolError, Response
from reactor.web.static import directory_reader, listing
from reactor.web.static.directory_reader import (
    BATCH,
    READERS,
    Desk,
    Entry,
    Order,
    natural,
    read_folder,
)
from reactor.web.static.listing import ROWS, ListingOptions, list_folder
from reactor.web.storage.safe_path import Root
from tests.support.coroutine_driver import (
    Play,
    Stage,
    drive,
    make_request,
    open_descriptors,
    opened_since,
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
    """What a page says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.titles: list[tuple[str, str | None, str | None]] = []  # text, href, aria-sort
        self.crumbs: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: dict[str, str] = {}  # of elements that come once
        self._open: list[str] = []
        self._cells: list[str] = []
        self._facts: dict[str, Any] = {}
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
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
        elif tag == "a":
            self._facts["href"] = found["href"]
            if "nav" in self._open:
                self.crumbs.append(("", found["href"]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        facts = self._facts
        if tag == "th":
            self.titles.append((self._cells[0], facts.get("href"), facts["sort"]))
        elif tag == "tr" and len(self._cells) == 3:
            name, size, _ = self._cells
            kind = facts["class"] or "file"
            exact, date = facts.get("exact"), facts.get("date")
            self.rows.append(Row(name, facts.get("href"), kind, size, exact, date))

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            # An escape that the page has made is told from text that only looks like one, by
            # marks that cannot be in the text itself.
            assert not UNSEEN & set(data)
            self._cells[-1] += f"\1{data}\2" if self._open[-1] == "i" else data
        elif "nav" in self._open and self._open[-1] in {"a", "bdi", "i"}:
            text, href = self.crumbs[-1]
            self.crumbs[-1] = (text + data, href)
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def put(folder: Path, name: str | bytes, size: int = 0, age: int = 0) -> None:
    """A file of this size that is so many days old: older than the first of January 2020."""
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    with open(path, "wb") as file:
        file.truncate(size)
    when = datetime(2020, 1, 1, tzinfo=UTC).timestamp() - age * DAY
    os.utime(path, (when, when))


def ask(
    folder: Path,
    path: str = "/",
    look: ListingOptions | None = None,
    method: str = "GET",
    **headers: str,
) -> Response:
    """The answer for a path below the mount."""
    target, _, query = path.partition("?")
    request = make_request(method, target, None, **headers)
    request.query = query
    segments = [unquote_to_bytes(name).decode() for name in target.split("/")[1:-1]]
    return drive(list_folder(request, Root(folder), segments, look or ListingOptions()))


def body(response: Response) -> str:
    async def collect(pieces: Any) -> str:
        return b"".join([piece async for piece in pieces]).decode()

    return drive(collect(response.body))


def read(folder: Path, path: str = "/", look: ListingOptions | None = None) -> Read:
    return Read(body(ask(folder, path, look)))


def read_json(folder: Path, path: str = "/", look: ListingOptions | None = None) -> dict[str, Any]:
    response = ask(folder, path, look, Accept="application/json")
    found: dict[str, Any] = json.loads(body(response))
    return found


def names(folder: Path, path: str = "/") -> list[str]:
    """As JSON has them, which must be the names that the page has, in the same order."""
    told = [entry["name"] for entry in read_json(folder, path)["entries"]]
    assert [row.name.removesuffix("/") for row in read(folder, path).rows] == told
    return told


# --- what is shown -------------------------------------------------------------------------------


def test_a_page(folder: Path) -> None:
    put(folder, "b.txt", 1234567, age=1)
    put(folder, "a.txt", 5)
    (folder / "photos").mkdir()
    os.utime(folder / "photos", (0, 0))
    assert read(folder).rows == [
        Row("photos/", "./photos/", "folder", "", None, "1970-01-01T00:00:00Z"),
        Row("a.txt", "./a.txt", "file", "5\xa0B", "5 bytes", "2020-01-01T00:00:00Z"),
        Row("b.txt", "./b.txt", "file", "1.2\xa0MB", "1,234,567 bytes", "2019-12-31T00:00:00Z"),
    ]


def test_the_same_as_json(folder: Path) -> None:
    put(folder, "a b.txt", 5)
    (folder / "photos").mkdir()
    os.utime(folder / "photos", (1.5, 1.5))
    look = ListingOptions(prefix="/files/")
    assert read_json(folder, look=look) == {
        "path": "/files/",
        "complete": True,
        "entries": [
            {
                "name": "photos",
                "type": "folder",
                "size": None,
                "modified": "1970-01-01T00:00:01Z",
                "href": "./photos/",
            },
            {
                "name": "a b.txt",
                "type": "file",
                "size": 5,
                "modified": "2020-01-01T00:00:00Z",
                "href": "./a%20b.txt",
            },
        ],
    }
    assert read_json(folder, "/photos/", look)["path"] == "/files/photos/"
    assert read_json(folder, "/photos/")["path"] == "/photos/"


def test_an_empty_folder(folder: Path) -> None:
    page = read(folder)
    assert page.rows == []
    assert "nothing in this folder" in page.texts["td"]
    assert read_json(folder)["entries"] == []


def test_what_is_hidden(folder: Path) -> None:
    put(folder, "shown")
    for name in (".hidden", "..hidden", ".0123456789abcdef.part", "back\\slash", b".\xff"):
        put(folder, name)
    (folder / ".uploads").mkdir()
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        assert names(folder) == ["shown"]


def test_links_are_what_they_lead_to(folder: Path) -> None:
    put(folder, "file", 7, age=3)
    (folder / "sub").mkdir()
    put(folder / "sub", ".secret")
    put(folder.parent, "outside")
    links = {
        "to-file": "file",
        "to-folder": "sub",
        "twice": "to-file",
        "absolute": f"{folder}/file",
        "by-parent": "sub/../file",
        "out": "../outside",
        "out-absolute": "/etc/passwd",
        "nowhere": "missing",
        "loop": "loop",
        "to-hidden": "sub/.secret",
        "to-device": "/dev/null",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.symlink("file", os.fsencode(folder) + b"/\xff")  # a path that no URL can say
    found = {entry["name"]: entry for entry in read_json(folder)["entries"]}
    assert set(found) == {"file", "sub", "to-file", "to-folder", "twice", "absolute", "by-parent"}
    for name in ("to-file", "twice", "absolute", "by-parent"):
        assert found[name] == {**found["file"], "name": name, "href": f"./{name}"}
    assert found["to-folder"]["type"] == "folder"
    assert found["to-folder"]["href"] == "./to-folder/"


def test_links_in_a_folder_below(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    put(folder, "file", 7)
    (folder / "a" / "b" / "up").symlink_to("../../file")
    (folder / "a" / "b" / "out").symlink_to("../../../outside")
    put(folder.parent, "outside")
    assert [entry["size"] for entry in read_json(folder, "/a/b/")["entries"]] == [7]


def test_a_file_that_goes_meanwhile_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "stays")
    put(folder, "goes")
    stat = os.stat

    def after_a_while(path: Any, **options: Any) -> os.stat_result:
        (folder / "goes").unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", after_a_while)
    assert names(folder) == ["stays"]


def test_more_than_is_shown(folder: Path) -> None:
    for number in range(2 * BATCH + 2):
        put(folder, f"{number}", 1)
    most = 2 * BATCH + 1
    told = read_json(folder, look=ListingOptions(most=most))
    assert (len(told["entries"]), told["complete"]) == (most, False)
    page = read(folder, look=ListingOptions(most=most))
    assert len(page.rows) == most
    assert "more in this folder than the 129 entries" in page.texts["p"]
    told = read_json(folder, look=ListingOptions(most=most + 1))
    assert (len(told["entries"]), told["complete"]) == (most + 1, True)
    assert "130 files, 130\xa0B" in read(folder, look=ListingOptions(most=most + 1)).texts["p"]


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, ROWS * 2])
def test_none_is_lost_at_a_seam(folder: Path, count: int) -> None:
    for number in range(count):
        put(folder, f"{number}")
    (folder / "z").mkdir()
    assert names(folder) == ["z", *map(str, range(count))]


# --- order ---------------------------------------------------------------------------------------


def test_sorted_by_each_column_both_ways(folder: Path) -> None:
    put(folder, "b", 1, age=5)
    put(folder, "a", 3, age=1)
    put(folder, "c", 2, age=9)
    for name, date in (("y", 2), ("x", 3), ("z", 1)):
        (folder / name).mkdir()
        os.utime(folder / name, (date * DAY, date * DAY))
    expected = {
        "?sort=name&order=asc": "xyzabc",
        "?sort=name&order=desc": "zyxcba",
        "?sort=size&order=asc": "xyzbca",
        "?sort=size&order=desc": "zyxacb",
        "?sort=date&order=asc": "zyxcba",
        "?sort=date&order=desc": "xyzabc",
    }
    for query, order in expected.items():
        assert "".join(names(folder, "/" + query)) == order, query


@pytest.mark.parametrize(
    "query", ["", "sort=colour", "sort", "=&=", "order=up", "sort=%6eame", "a=b&&c", "sort=name;x"]
)
def test_what_makes_no_sense_is_ignored(folder: Path, query: str) -> None:
    put(folder, "b")
    put(folder, "a")
    assert names(folder, f"/?{query}") == ["a", "b"]


def test_an_order_without_a_column_is_that_of_names(folder: Path) -> None:
    put(folder, "b")
    put(folder, "a")
    assert names(folder, "/?order=desc") == ["b", "a"]
    assert names(folder, "/?sort=nonsense&order=desc") == ["b", "a"]


def test_dates_sort_to_the_nanosecond_and_before_1970(folder: Path) -> None:
    for name, when in (("c", 5), ("b", 6), ("a", -(10**15)), ("d", 0)):
        put(folder, name)
        os.utime(folder / name, ns=(when, when))
    assert names(folder, "/?sort=date&order=asc") == ["a", "d", "c", "b"]


def test_names_in_natural_order(folder: Path) -> None:
    expected = ["A1", "a2", "A10", "a10b", "b", "B007", "b8", "Straße", "strasse2", "ä"]
    for name in expected:
        put(folder, name)
    assert names(folder) == expected


@given(st.text("ab", max_size=3), st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_in_names_compare_as_numbers(before: str, one: int, other: int) -> None:
    keys = [natural(f"{before}{number}x".encode()) for number in (one, other)]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (one < other, one == other)


def test_the_titles_are_links_that_sort(folder: Path) -> None:
    assert read(folder).titles == [
        ("Name", "?sort=name&order=desc", "ascending"),
        ("Size", "?sort=size&order=desc", None),
        ("Changed UTC", "?sort=date&order=desc", None),
    ]
    assert read(folder, "/?sort=size&order=desc").titles == [
        ("Name", "?sort=name&order=asc", None),
        ("Size", "?sort=size&order=asc", "descending"),
        ("Changed UTC", "?sort=date&order=desc", None),
    ]
    assert read(folder, "/?sort=size&order=asc").titles[1][1:] == (
        "?sort=size&order=desc",
        "ascending",
    )


def test_an_order_is_kept_on_the_way(folder: Path) -> None:
    (folder / "sub" / "deep").mkdir(parents=True)
    put(folder / "sub", "file")
    page = read(folder, "/sub/?sort=size&order=desc")
    assert [row.href for row in page.rows] == ["./deep/?sort=size&order=desc", "./file"]
    assert page.crumbs == [("example.com", "../?sort=size&order=desc")]
    told = read_json(folder, "/sub/?sort=size&order=desc")["entries"]
    assert told[0]["href"] == "./deep/"


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


def test_hostile_names(folder: Path) -> None:
    for name in HOSTILE:
        put(folder, name)
    put(folder, b"latin1 \xe9")
    page = read(folder)
    assert {row.href and unquote_to_bytes(row.href[2:]).decode() for row in page.rows} == {
        *HOSTILE,
        None,
    }
    assert {row.name for row in page.rows} == {
        *(name for name in HOSTILE if name.isprintable() or "👩" in name),
        "new\1\\n\2line\1\\r\2\1\\t\2tab",
        "photo\1\\u202e\2gpj.exe",
        "zero\1\\u200b\2width\1\\ufeff\2",
        "c1\1\\x85\2\1\\x9b\00231m",
        "latin1 �",
    }
    assert "script" not in page.tags
    told = read_json(folder)["entries"]
    assert {entry["name"] for entry in told} == {*HOSTILE, "latin1 �"}
    assert [entry["name"] for entry in told if entry["href"] is None] == ["latin1 �"]


def test_hostile_names_of_folders_above(folder: Path) -> None:
    for name in HOSTILE:
        (folder / name / "b").mkdir(parents=True)
        look = ListingOptions(prefix='/"<&/')
        page = Read(body(drive(list_folder(make_request("GET", "/"), Root(folder), [name], look))))
        assert page.tags & {"script", "h2"} == set()
        assert page.crumbs == [('"<&', "../")]
        assert visible(page.texts["title"]) == visible(f'/"<&/{name}/')
        assert [row.href for row in page.rows] == ["./b/"]
        page = Read(
            body(drive(list_folder(make_request("GET", "/"), Root(folder), [name, "b"], look)))
        )
        assert [href for _, href in page.crumbs] == ["../../", "../"]
        assert page.texts["h1"] == "b"


def visible(text: str) -> str:
    """Without what may be shown as an escape."""
    return re.sub(r"\\(?:[nrt]|x..|u....)|[^ -~]", "", text)


# A name as a file system has it: any bytes but NUL and the slash.
NAMES = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {0, 0x2F, 0x5C} & set(name) and name[:1] != b"."
) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\"), min_size=1, max_size=60
).filter(lambda name: name[0] != ".").map(str.encode)

ALLOWED = {"tr", "td", "a", "bdi", "i", "time", "span"}


@given(st.sets(NAMES, max_size=5))
def test_any_name(given_names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in given_names:
            put(folder, name)
        text = body(ask(folder))
        told = read_json(folder)["entries"]
    # What the rows may be made of, whatever the names are.
    rows = text[text.index("<tbody>") + 7 : text.index("</tbody>")]
    if given_names:
        assert Read(rows).tags <= ALLOWED
        assert Read(rows).attributes <= {"href", "title", "datetime"}
    page = Read(text)
    assert len(page.rows) == len(told) == len(given_names)
    links = {name for name in given_names if is_utf8(name)}
    assert {behind(row.href) for row in page.rows if row.href is not None} == links
    assert {behind(entry["href"]) for entry in told if entry["href"] is not None} == links
    readable = sorted(name.decode(errors="replace") for name in given_names)
    assert sorted(entry["name"] for entry in told) == readable
    assert sorted(re.sub("\1([^\2]*)\2", unescape, row.name) for row in page.rows) == readable


def unescape(match: re.Match[str]) -> str:
    return match[1].encode().decode("unicode_escape")


def is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def behind(href: str) -> bytes:
    """The name that a browser asks for; the link cannot lead anywhere else."""
    assert re.fullmatch(r"\./[A-Za-z0-9._~%-]+", href)
    joined = urljoin("http://host/files/", href)
    assert joined.startswith("http://host/files/")
    return unquote_to_bytes(joined.removeprefix("http://host/files/"))


# --- the page ------------------------------------------------------------------------------------


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(folder: Path) -> None:
    put(folder, "file")
    for look in (ListingOptions(), ListingOptions(uploads=True), ListingOptions(deletes=True)):
        response = ask(folder, look=look)
        page = body(response)
        policy = dict(
            part.split(" ", 1) for part in fields(response)["content-security-policy"].split("; ")
        )
        assert policy.pop("default-src") == "'none'"
        assert policy.pop("style-src") == source_of("style", page)
        assert policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
        assert policy.pop("form-action") == "'self'"
        assert policy.pop("img-src") == "data:"
        if look.uploads or look.deletes:
            assert policy.pop("script-src") == source_of("script", page)
            assert policy.pop("connect-src") == "'self'"
        assert not policy
        assert ("script" in Read(page).tags) == (look.uploads or look.deletes)
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


def test_the_fields(folder: Path) -> None:
    html, told = ask(folder), ask(folder, Accept="application/json")
    assert fields(html)["content-type"] == "text/html; charset=utf-8"
    assert fields(told)["content-type"] == "application/json"
    for response in (html, told):
        assert fields(response)["vary"] == "Accept, Accept-Encoding"
        assert fields(response)["cache-control"] == "no-cache"
        assert fields(response)["x-content-type-options"] == "nosniff"


def test_the_operator_has_the_last_word(folder: Path) -> None:
    look = ListingOptions(headers=[("cache-control", "max-age=60"), ("X-Served-By", "us")])
    both = ask(folder, look=ListingOptions(headers=[("Vary", "Origin")])).headers
    assert [value for name, value in both if name == "Vary"] == [
        "Accept, Accept-Encoding",
        "Origin",
    ]
    for accept in ("", "application/json"):
        found = fields(ask(folder, look=look, Accept=accept))
        assert found["cache-control"] == "max-age=60"
        assert found["x-served-by"] == "us"
        assert found["vary"] == "Accept, Accept-Encoding"


def test_the_form_is_there_where_files_are_taken(folder: Path) -> None:
    page = body(ask(folder, look=ListingOptions(uploads=True, resumable=True)))
    form = re.search(
        r'<form [^>]*>.*?<input type="file"[^>]*>.*?<button>.*?</form>', page, re.DOTALL
    )
    assert form is not None
    assert 'method="post" action="./" enctype="multipart/form-data"' in form[0]
    assert re.search(r"<label>.*<input.*</label>", form[0])
    assert '<body data-can="uploads resumable">' in page
    for look in (ListingOptions(), ListingOptions(deletes=True)):
        assert "<form" not in body(ask(folder, look=look))
    assert '<body data-can="deletes">' in body(ask(folder, look=ListingOptions(deletes=True)))


def test_the_way_back(folder: Path) -> None:
    (folder / "a" / "b c" / "d").mkdir(parents=True)
    look = ListingOptions(prefix="/files/")
    page = read(folder, "/a/b%20c/d/", look)
    assert page.crumbs == [("files", "../../../"), ("a", "../../"), ("b c", "../")]
    assert page.texts["h1"] == "d"
    assert page.texts["title"] == "/files/a/b c/d/"
    assert page.attributes >= {"aria-label", "lang", "scope", "aria-sort"}
    assert read(folder, "/", look).crumbs == []
    assert read(folder, "/", look).texts["h1"] == "files"
    assert read(folder, "/").texts["h1"] == "example.com"


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
    assert listing._amount(size) == shown.replace(" ", "\xa0")


def test_dates_that_cannot_be_said(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    put(folder, "file")
    assert listing._date(-30610224000) == "1000-01-01T00:00:00Z"
    assert listing._date(253402300799) == "9999-12-31T23:59:59Z"
    stat = os.stat

    def of_another_age(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        return os.stat_result((*found[:10],), {"st_mtime_ns": ages[-1] * 10**9})

    monkeypatch.setattr(os, "stat", of_another_age)
    ages = [-30610224001, 253402300800, 2**62, -(2**63)]
    while ages:
        for query in ("", "?sort=date"):
            assert [row.date for row in read(folder, "/" + query).rows] == [None]
            told = read_json(folder, "/" + query)["entries"]
            assert [entry["modified"] for entry in told] == [None]
        ages.pop()


def test_the_summary(folder: Path) -> None:
    assert read(folder).texts.get("p", "") == ""
    put(folder, "one", 1)
    assert read(folder).texts["p"] == "1 file, 1\xa0B"
    put(folder, "two", 1000)
    (folder / "sub").mkdir()
    assert read(folder).texts["p"] == "1 folder, 2 files, 1.0\xa0kB"


# --- errors, HEAD --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_errors_come_before_the_answer(folder: Path, method: str) -> None:
    put(folder, "file")
    for path, error in (
        ("/missing/", FileNotFoundError),
        ("/file/", NotADirectoryError),
        ("/..%2f/", FileNotFoundError),
        ("/.hidden/", FileNotFoundError),
    ):
        with pytest.raises(error):
            ask(folder, path, method=method)


def test_head_reads_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "scandir")
    for accept in ("", "application/json"):
        head = ask(folder, method="HEAD", Accept=accept)
        assert head.status == 200
        assert not hasattr(head.body, "__len__")  # so no length is told that GET has not
        assert body(head) == ""
    monkeypatch.undo()
    assert head.headers == ask(folder, Accept="application/json").headers


# --- scale ---------------------------------------------------------------------------------------


class Counter:
    """How often a function is called, and the most between two looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.count = 0
        self.most = 0
        self._function = getattr(module, name)
        monkeypatch.setattr(module, name, self._call)

    def _call(self, *arguments: Any, **options: Any) -> Any:
        self.count += 1
        return self._function(*arguments, **options)

    def look(self) -> None:
        self.most = max(self.most, self.count)
        self.count = 0


def test_ten_thousand_entries_in_small_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No job looks at more than BATCH names; no step of the loop makes more than ROWS of anything.

    What a step costs was measured: 0.3 ms for usual names, 2 ms for the longest and strangest.
    """
    put(folder, "file 0")
    for number in range(1, 10_000):
        os.link(folder / "file 0", folder / f"file {number}")  # quicker than as many files
    looked = Counter(monkeypatch, os, "stat")
    made = [
        Counter(monkeypatch, directory_reader, "natural"),  # of the rows, as they are read
        Counter(monkeypatch, directory_reader, "Entry"),  # as they are merged
        Counter(monkeypatch, listing, "_row"),
    ]

    async def whole() -> list[bytes]:
        request = make_request("GET", "/")
        response = await list_folder(request, Root(folder), (), ListingOptions())
        return [piece async for piece in response.body]  # type: ignore[union-attr]

    stage = Stage()
    play = Play(whole(), stage)
    while play.wish is not None:
        looked.look()
        future = play.wish.start(stage)  # runs the job
        looked.look()
        play.resume(future)
        for counter in made:
            counter.look()
    assert looked.most == BATCH
    assert [counter.most for counter in made] == [BATCH, ROWS, ROWS]
    assert max(map(len, play.result)) < 4 * listing.PIECE_CHARACTERS
    rows = Read(b"".join(play.result).decode()).rows
    assert [row.name for row in rows] == [f"file {number}" for number in range(10_000)]


def test_a_row_is_small(folder: Path) -> None:
    for number in range(1000):
        put(folder, f"holiday picture {number:04}.jpeg", 1000)
    desk = Desk()
    contents = drive(read_folder(desk, Root(folder), (), Order("size"), 1000))
    assert 0 < desk.held / 1000 < 200
    del contents
    assert desk.held == 0


def test_all_listings_together_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        put(folder, f"{number:03}")
    look = ListingOptions()
    monkeypatch.setattr(directory_reader, "HELD_BYTES", 30_000)
    held = [ask(folder, look=look)]
    each = look.desk.held
    with pytest.raises(ProtocolError) as refused:
        while True:
            held.append(ask(folder, look=look))
    assert refused.value.status == 503
    assert len(held) == 30_000 // each > 1
    assert look.desk.held == each * len(held)  # what was refused holds nothing
    assert body(held.pop())
    assert ask(folder, look=look).status == 200  # there is room again
    held.clear()  # never begun
    assert look.desk.held == 0
    assert ask(folder, look=ListingOptions()).status == 200


# --- jobs and cancelling -------------------------------------------------------------------------


@pytest.fixture
def same_descriptors() -> Iterator[None]:
    gc.collect()
    before = open_descriptors()
    yield
    assert not opened_since(before)


def start(folder: Path, look: ListingOptions, stage: Stage) -> Play:
    """A listing whose folder is open, and which waits for its turn to read or has it."""
    play = Play(list_folder(make_request("GET", "/"), Root(folder), (), look), stage)
    play.step()
    return play


def test_nothing_is_open_while_a_page_is_sent(folder: Path, same_descriptors: None) -> None:
    for number in range(1000):
        put(folder, f"{number}")
    before = open_descriptors()
    response = ask(folder)
    assert not opened_since(before)

    async def begin() -> bytes:
        return await anext(response.body)  # type: ignore[arg-type]

    assert drive(begin())
    drive(response.body.aclose())  # type: ignore[union-attr]


def test_a_listing_that_is_cancelled_closes_its_folder(
    folder: Path, same_descriptors: None
) -> None:
    for number in range(3 * BATCH):
        put(folder, f"{number}")
    for steps in range(3):
        look = ListingOptions()
        play = start(folder, look, Stage())
        for _ in range(steps):
            play.step()
        with pytest.raises(Cancelled):
            play.throw(Cancelled())
        del play
        gc.collect()  # pytest's own view of the exception
        assert look.desk.held == 0


def test_a_job_under_way_keeps_the_folder_open(folder: Path, same_descriptors: None) -> None:
    """Its descriptor must not be somebody else's when it gets there."""
    put(folder, "file")
    stage = Stage()
    play = start(folder, ListingOptions(), stage)
    before = open_descriptors()
    stage.holding = True
    play.wish.start(stage)
    with pytest.raises(Cancelled):
        play.throw(Cancelled())
    del play
    gc.collect()
    assert not opened_since(before)
    stage.perform([0])


def test_two_listings_read_at_a_time_in_turn(folder: Path) -> None:
    for number in range(BATCH):
        put(folder, f"{number}")
    look, stage = ListingOptions(), Stage()
    plays = [start(folder, look, stage) for _ in range(READERS + 2)]
    # Who has a turn waits for a job, the others for a turn.
    reading, waiting = plays[:READERS], plays[READERS:]
    turns = [play.wish for play in waiting]
    assert not any(turn.done for turn in turns)
    reading[0].step()  # its first batch, full: it goes to the back for the next
    assert [turn.done for turn in turns] == [True, False]
    assert not reading[0].wish.done
    waiting[0].resume(turns[0])
    waiting[0].step()
    assert turns[1].done
    reading[1].step()
    plays_left = [(waiting[1], turns[1])]
    for play, turn in plays_left:
        play.resume(turn)
    while any(play.result is None for play in plays):
        for play in plays:
            if play.result is None and getattr(play.wish, "done", True):
                play.step()
    assert {len(body(play.result)) for play in plays} == {len(body(ask(folder)))}


def test_who_gives_up_waiting_holds_up_nobody(folder: Path) -> None:
    put(folder, "file")
    look, stage = ListingOptions(), Stage()
    first, second, gone, taken_away, last = (start(folder, look, stage) for _ in range(READERS + 3))
    with pytest.raises(Cancelled):
        gone.throw(Cancelled())
    first.step()
    assert first.result is not None
    assert taken_away.wish.done
    with pytest.raises(Cancelled):
        taken_away.throw(Cancelled())  # after it was given a turn, and before it has used it
    assert last.wish.done
    last.step()
    last.step()
    second.step()
    assert last.result is not None
    assert second.result is not None
    assert drive(list_folder(make_request("GET", "/"), Root(folder), (), look)).status == 200


def test_a_job_that_fails_gives_its_turn_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "file")
    desk = Desk()

    def fail() -> None:
        raise OSError("a broken disk")

    for _ in range(READERS + 1):
        with pytest.raises(OSError, match="broken"):
            drive(desk.run(fail))
    assert len(drive(read_folder(desk, Root(folder), (), Order(), 1))) == 1


def test_an_entry_says_what_it_is(folder: Path) -> None:
    put(folder, b"\xff", 3)
    (folder / "sub").mkdir()
    os.utime(folder / "sub", (5, 5))
    found = drive(read_folder(Desk(), Root(folder), (), Order(), 10))
    assert list(found.take()) == [Entry(b"sub", None, 5), Entry(b"\xff", 3, 1577836800)]
    assert (found.folders, found.files, found.size, found.complete) == (1, 1, 3, True)
