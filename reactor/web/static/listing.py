"""The listing of a directory: a page for people, JSON for programs.

The directory is read before the response begins, so that errors still have their status; HEAD only
checks that it exists. The page is made while it is sent, ROWS entries at a time with a turn of the
loop for each, so that 100,000 entries delay nobody else.

Everything works without JavaScript: sorting is a link, uploading a form. The script of the page
adds dropping, progress and deleting, and is included only where uploads or deletes are allowed.
Style and script are inline, and the page's Content-Security-Policy, with their hashes, allows no
others.

Clients that may upload choose the names, so names are hostile. In text they are escaped; characters
that are invisible or change how the rest reads (controls, bidirectional overrides) are shown as
escapes like `\\n`, which no visible name contains, since names with a backslash are hidden. In
links, everything but letters, digits and `-._~` is percent-encoded. URLs are UTF-8: a name that is
not is shown without a link.
"""

import json
import os
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.operations import in_pool, sleep
from reactor.web.semantics.negotiation import prefers_json
from reactor.web.static.directory_reader import (
    Contents,
    ListedEntry,
    ListingQuota,
    Order,
    read_directory,
)
from reactor.web.storage.safe_path import Root

ROWS: Final = 32  # entries made in one step: 2 ms where all names are long and strange
PIECE_CHARACTERS: Final = 32 * 1024  # collected before a piece of the page is sent

_OURS: Final = {"content-type", "x-content-type-options"}  # fields of a listing that stay ours
_ADDED: Final = {"vary", "content-security-policy"}  # fields that are added to ours
_FIRST: Final = {  # the order at the first click: the largest and the latest come first
    "name": Order("name"),
    "size": Order("size", descending=True),
    "date": Order("date", descending=True),
}
_TITLES: Final = {"name": "Name", "size": "Size", "date": "Changed <small>UTC</small>"}
_DATES: Final = range(-30610224000, 253402300800)  # years of four digits, as RFC 3339 has them
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~ -]*")
_quoted: Final = [quote_from_bytes(bytes([byte]), safe="") for byte in range(256)].__getitem__
_MARKS: Final = re.compile("</?(?:bdi|i)>")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_EMPTY: Final = '<tr class="none"><td colspan="3">This directory is empty.</td></tr>\n'


@dataclass(frozen=True)
class ListingOptions:
    """The options of the listings of one mount, which share a quota.

    `prefix` is the mount's path, `most` the number of entries of one directory that are listed. The
    fields in `headers` are on every response. They replace fields of ours with the same name, but
    for those that say what the page is and what it may do: a policy of theirs is added to ours.
    """

    prefix: str = "/"
    uploads: bool = False
    deletes: bool = False
    resumable: bool = False
    most: int = 100_000
    headers: Fields = ()
    quota: ListingQuota = field(default_factory=ListingQuota, compare=False)


async def list_directory(
    request: BaseRequest, root: Root, segments: Sequence[str], options: ListingOptions
) -> Response:
    """Return the listing of the directory as HTML or, where the client prefers it, JSON.

    `segments` are its decoded names below the root, without the empty one after the path's last
    slash. Raises OSError if it is not a directory or cannot be read, ProtocolError(503) when the
    listings together take too much memory.
    """
    as_json = prefers_json(request.headers.get("accept"))
    page = _ACTIVE if options.uploads or options.deletes else _QUIET
    headers = _headers(_JSON_FIELDS if as_json else page.fields, options)
    if request.method == "HEAD":
        await in_pool(_check, root, tuple(segments))
        return Response(200, _nothing(), headers)
    contents = await read_directory(
        options.quota, root, segments, _order(request.query), options.most
    )
    if as_json:
        return Response(200, _json(contents, _path(segments, options)), headers)
    return Response(200, _html(page, contents, request, segments, options), headers)


def _check(root: Root, segments: Sequence[str]) -> None:
    os.close(root.open_directory(segments))


def _headers(ours: Fields, options: ListingOptions) -> Fields:
    theirs = [field for field in options.headers if field[0].lower() not in _OURS]
    given = {name.lower() for name, _ in theirs} - _ADDED
    return (*((name, value) for name, value in ours if name.lower() not in given), *theirs)


def _order(query: str) -> Order:
    """Return the order that the query asks for; other parameters are ignored."""
    asked = dict(pair.partition("=")[::2] for pair in query.split("&"))
    by = asked.get("sort", "")
    return Order(by if by in _FIRST else "name", asked.get("order") == "desc")


def _path(segments: Sequence[str], options: ListingOptions) -> str:
    prefix = options.prefix.strip("/")
    return "/".join(("", *([prefix] if prefix else ()), *segments, ""))


# --- a body on its way ---------------------------------------------------------------------------


async def _nothing() -> AsyncIterator[bytes]:
    """A body that HEAD never pulls: as with GET, there is no Content-Length."""
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece


async def _stream(
    head: str, contents: Contents, render: Callable[[ListedEntry], str], between: str, tail: str
) -> AsyncIterator[bytes]:
    """Yield the head, the entries with `between` between them, and the tail."""
    entries = contents.take()
    piece = head
    joint = ""
    while rows := [render(entry) for entry in islice(entries, ROWS)]:
        piece += joint + between.join(rows)
        joint = between
        if len(piece) >= PIECE_CHARACTERS:
            yield piece.encode()
            piece = ""
        await sleep(0)  # let other connections have their turn
    yield (piece + tail).encode()


def _date(seconds: int) -> str | None:
    """Return the time as RFC 3339 writes it; None for a year outside of its range."""
    if seconds not in _DATES:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _href(entry: ListedEntry) -> str | None:
    """Return a link relative to the directory; "./" keeps a colon from making a scheme.

    Returns None for a name that is not UTF-8: its URL would mean another name.
    """
    try:
        entry.name.decode()
    except UnicodeDecodeError:
        return None
    return f"./{''.join(map(_quoted, entry.name))}{'/' if entry.size is None else ''}"


# --- JSON ----------------------------------------------------------------------------------------

_JSON_FIELDS: Final = (
    ("Content-Type", "application/json"),
    ("Vary", "Accept, Accept-Encoding"),
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
)

_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


def _json(contents: Contents, path: str) -> AsyncIterator[bytes]:
    complete = _to_json(contents.complete)
    head = f'{{"path": {_to_json(path)}, "complete": {complete}, "entries": [\n'
    return _stream(head, contents, _json_entry, ",\n", "\n]}\n")


def _json_entry(entry: ListedEntry) -> str:
    return _to_json(
        {
            "name": entry.name.decode(errors="replace"),
            "type": "folder" if entry.size is None else "file",
            "size": entry.size,
            "modified": _date(entry.modified),
            "href": _href(entry),
        }
    )


# --- HTML ----------------------------------------------------------------------------------------


class _Page(NamedTuple):
    """The parts of the page around the rows, and its fields."""

    head: str
    tail: str
    fields: Fields


def _read(name: str) -> str:
    return files("reactor.web.static").joinpath("pages", name).read_text("utf-8")


def _source(text: str) -> str:
    """Return how the policy names an inline style or script (CSP Level 3, section 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _page(script: str) -> _Page:
    style = _read("listing.css")
    head, _, tail = _read("listing.html").partition("{{rows}}")
    policy = [
        "default-src 'none'",
        f"style-src {_source(style)}",
        "img-src data:",  # icons
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if script:
        policy += [f"script-src {_source(script)}", "connect-src 'self'"]
    fields = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "; ".join(policy)),
        *_JSON_FIELDS[1:],
    )
    script = script and f"<script>{script}</script>\n"
    return _Page(head.replace("{{style}}", style), tail.replace("{{script}}", script), fields)


_QUIET: Final = _page("")
_ACTIVE: Final = _page(_read("listing.js"))
_FORM: Final = _read("listing_form.html")


def _html(
    page: _Page,
    contents: Contents,
    request: BaseRequest,
    segments: Sequence[str],
    options: ListingOptions,
) -> AsyncIterator[bytes]:
    order = contents.order
    kept = "" if order == Order() else escape(_query(order))
    home = options.prefix.strip("/") or request.host or "/"
    values = {
        "title": _MARKS.sub("", _visible(_path(segments, options))),  # a title is text only
        "can": " ".join(
            can for can in ("uploads", "deletes", "resumable") if getattr(options, can)
        ),
        "crumbs": _crumbs((home, *segments[:-1]), kept) if segments else "",
        "name": _visible(segments[-1] if segments else home),
        "form": _FORM if options.uploads else "",
        "sum": _summary(contents),
        "titles": "".join(_title(by, order) for by in _FIRST),
    }
    head = _PLACE.sub(lambda place: values[place[1]], page.head)
    tail = page.tail if len(contents) else _EMPTY + page.tail
    return _stream(head, contents, partial(_row, kept=kept), "", tail)


def _row(entry: ListedEntry, kept: str) -> str:
    """Return one line of the table; `kept` is the order that links to directories pass on."""
    directory = entry.size is None
    name = _visible(entry.name.decode(errors="replace")) + ("/" if directory else "")
    href = _href(entry)
    if href is not None:
        name = f'<a href="{href}{kept if directory else ""}">{name}</a>'
    size = (
        "<td>" if entry.size is None else f'<td title="{entry.size:,} bytes">{_amount(entry.size)}'
    )
    kind = ' class="directory"' if directory else ""
    return f"<tr{kind}><td>{name}</td>{size}</td><td>{_time(entry.modified)}</td></tr>\n"


def _time(seconds: int) -> str:
    date = _date(seconds)
    if date is None:
        return ""
    return f'<time datetime="{date}">{date[:10]} <span>{date[11:16]}</span></time>'


def _amount(size: int) -> str:
    """Return a size in units of a thousand, with two or three digits and a no-break space."""
    if size < 1000:
        return f"{size}\xa0B"
    value = size / 1000
    units = iter("kMGTPE")
    unit = next(units)
    while value >= 999.5:
        value /= 1000
        unit = next(units)
    return f"{value:.{1 if value < 9.95 else 0}f}\xa0{unit}B"


def _visible(name: str) -> str:
    """Return the name as text of the page: special characters escaped, invisible ones shown."""
    if _PLAIN.fullmatch(name):
        return name
    return f"<bdi>{name.translate(_ESCAPES)}</bdi>"


def _escapes() -> dict[int, str]:
    unseen = (
        *(range(0x20), range(0x7F, 0xA0), (0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F)),
        *(range(0x2028, 0x202F), range(0x2060, 0x2070), (0xFEFF,), range(0xFFF9, 0xFFFC)),
    )
    seen = {code: chr(code).encode("unicode_escape").decode() for row in unseen for code in row}
    escapes = {code: f"<i>{text}</i>" for code, text in seen.items()}
    return escapes | {ord(special): escape(special) for special in "<>&\"'"}


_ESCAPES: Final = _escapes()


def _crumbs(names: Sequence[str], kept: str) -> str:
    """Return links to the directories above this one, from the mount's own down."""
    steps = range(len(names), 0, -1)
    links = (
        f'<li><a href="{"../" * step}{kept}">{_visible(name)}</a></li>'
        for step, name in zip(steps, names, strict=True)
    )
    return f'<nav aria-label="Directories above"><ol>{"".join(links)}</ol></nav>'


def _title(by: str, order: Order) -> str:
    """Return the head of a column: a link that sorts by it, or reverses the order."""
    if by != order.by:
        return f'<th scope="col"><a href="{escape(_query(_FIRST[by]))}">{_TITLES[by]}</a></th>'
    turned = escape(_query(Order(by, not order.descending)))
    now = "descending" if order.descending else "ascending"
    return f'<th scope="col" aria-sort="{now}"><a href="{turned}">{_TITLES[by]}</a></th>'


def _query(order: Order) -> str:
    return f"?sort={order.by}&order={'desc' if order.descending else 'asc'}"


def _summary(contents: Contents) -> str:
    if not contents.complete:
        return f"This directory has more entries than the {len(contents):,} shown here."
    counts = [
        _count(contents.directories, "directory", "directories"),
        _count(contents.files, "file", "files"),
    ]
    if contents.files:
        counts.append(_amount(contents.size))
    return ", ".join(part for part in counts if part)


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}" if number else ""
