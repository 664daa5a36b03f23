"""A listing for people.

Everything works without JavaScript: turning pages is a link, sorting and uploading are forms. An
order is no link, nor is the archive, since programs that mirror a site follow all links, also with
`rel=nofollow`, and would fetch each directory once more for each. The script of the page adds local
times and a filter and, where they are allowed, uploads with progress and deletes. Style and script
are inline, and the page's Content-Security-Policy, with their hashes, allows no others.

Clients that may upload choose the names, so names are hostile. In text they are escaped; characters
that are invisible or change how the rest reads (controls, bidirectional overrides) are shown as
escapes like `\\n` in a style of their own.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Final, NamedTuple

from reactor.messages.headers import Fields
from reactor.web.compression.splice import Constant
from reactor.web.semantics.content_policy import source_of
from reactor.web.static.listing_entries import (
    FIRST_ORDERS,
    Shown,
    date_of,
    direction,
    link_of,
    order_query,
)
from reactor.web.static.listing_kinds import kind_of
from reactor.web.static.listing_pages import PageForm
from reactor.web.static.snapshot import ListedEntry, Order, Summary

NEIGHBOURS: Final = 1  # numbers of pages that are shown on both sides of this one's

_TITLES: Final = {"name": "Name", "size": "Size", "date": "Changed <small>UTC</small>"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~ -]*")
_MARKS: Final = re.compile("</?(?:bdi|i)>")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_COMMENT: Final = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)
_EMPTY: Final = '<tr class="none"><td colspan="3">This directory is empty.</td></tr>\n'


class Layout(NamedTuple):
    """The page around its rows, and its header fields; `head` and `foot` have places for values."""

    start: Constant
    head: str
    foot: str
    end: Constant
    fields: Fields


def _read(name: str) -> str:
    return files("reactor.web.static").joinpath("pages", name).read_text("utf-8")


def _small(source: str) -> str:
    """Return a style or script without indentation and comments, as it is part of each page.

    So no string in it goes on in another line.
    """
    source = _COMMENT.sub("", source)
    return "".join(f"{text}\n" for line in source.splitlines() if (text := line.strip()))


def _layout(*scripts: str, connects: bool = False) -> Layout:
    style = _small(_read("listing.css"))
    script = _small("".join(map(_read, scripts)))
    head, _, foot = _read("listing.html").partition("{{rows}}")
    start, _, head = head.partition("{{style}}")
    foot, _, end = foot.partition("{{script}}")
    policy = [
        "default-src 'none'",
        f"style-src {source_of(style)}",
        "img-src data:",  # icons
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        f"script-src {source_of(script)}",
    ]
    if connects:
        policy.append("connect-src 'self'")
    fields = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "; ".join(policy)),
    )
    start, end = f"{start}<style>{style}</style>\n", f"<script>{script}</script>{end}"
    return Layout(Constant(start.encode()), head, foot, Constant(end.encode()), fields)


QUIET: Final = _layout("listing.js")
ACTIVE: Final = _layout("listing.js", "changes.js", "upload.js", "uploads.js", connects=True)
_FORM: Final = _read("listing_form.html")


def html_frame(
    layout: Layout,
    summary: Summary,
    shown: Shown,
    path: str,
    names: Sequence[str],
    above: Sequence[str],
    can: Sequence[str],
) -> tuple[str, str]:
    """Return the text before and behind the rows, between the start and the end of the layout.

    `names` are those of the mount and of the directories down to this one, `above` the references
    to all of these but the last, `can` the words for what the page offers: "uploads", "deletes",
    "resumable", "archives".
    """
    title = _MARKS.sub("", _visible(path))  # a title is text only
    values = {
        "title": title if shown.page == 1 else f"{title} (page {shown.page:,})",
        "can": " ".join(can),
        "crumbs": _crumbs(names, above, shown.order) if above else "",
        "name": _visible(names[-1]),
        "form": _FORM if "uploads" in can else "",
        "archive": _archive(shown) if "archives" in can else "",
        "sum": _sentence(summary),
        "pages": _pages(shown),
        "titles": "".join(_title(by, shown.order) for by in FIRST_ORDERS),
    }
    head, foot = (
        _PLACE.sub(lambda place: values[place[1]], text) for text in (layout.head, layout.foot)
    )
    return head, ("" if shown.total else _EMPTY) + foot


def _archive(shown: Shown) -> str:
    """Return the button that downloads the directory: no link, for mirrors would follow it."""
    hidden = "" if shown.total else " hidden"  # the script shows it when there are entries
    return f'<form{hidden}><button name="archive" value="tar">Download as .tar</button></form>'


def _row(entry: ListedEntry, order: Order) -> str:
    """Return one line of the table; links to directories pass the order on."""
    directory = entry.size is None
    decoded = entry.name.decode(errors="replace")
    kind = "directory" if directory else kind_of(decoded)
    name = _visible(decoded) + ("/" if directory else "")
    link = link_of(entry)
    href = _to_directory(link, order) if directory else f'href="{link}"'
    name = f"<a {href}>{name}</a>"
    size = (
        "<td>" if entry.size is None else f'<td title="{entry.size:,} bytes">{_amount(entry.size)}'
    )
    kinds = f' class="{kind}"' if kind else ""
    return f"<tr{kinds}><td>{name}</td>{size}</td><td>{_time(entry.modified)}</td></tr>\n"


HTML_FORM: Final = PageForm("html", _row, "")


def _time(seconds: int) -> str:
    date = date_of(seconds)
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


def _href(link: str, order: Order, relation: str = "") -> str:
    """Return the attributes of a link; one that passes an order on is none for crawlers."""
    relations = [relation] if relation else []
    if order != Order():
        relations.append("nofollow")
    rel = f' rel="{" ".join(relations)}"' if relations else ""
    return f'href="{escape(link)}"{rel}'


def _to_directory(link: str, order: Order) -> str:
    """Return the attributes of a link to a directory in the same order."""
    return _href(link if order == Order() else link + order_query(order), order)


def _crumbs(names: Sequence[str], above: Sequence[str], order: Order) -> str:
    """Return links to the directories above this one, from the mount's own down."""
    links = (
        f"<li><a {_to_directory(reference, order)}>{_visible(name)}</a></li>"
        for name, reference in zip(names, above, strict=False)
    )
    return f'<nav aria-label="Directories above"><ol>{"".join(links)}</ol></nav>'


def _pages(shown: Shown) -> str:
    """Return links to other pages; nothing where there is one page."""
    if shown.pages == 1:
        return ""
    around = dict(shown.others())
    links = [
        _turn(shown, around.get("prev"), "prev", "Previous"),
        *_numbers(shown),
        _turn(shown, around.get("next"), "next", "Next"),
    ]
    span = shown.span
    place = f"{span.start + 1:,} to {span.stop:,} of {shown.total:,}"
    return f'<nav class="pages" aria-label="Pages">{"".join(links)} <small>{place}</small></nav>\n'


def _turn(shown: Shown, page: int | None, relation: str, word: str) -> str:
    if page is None:
        return f'<span class="{relation}">{word}</span>'
    return f'<a class="{relation}" {_to_page(shown, page, relation)}>{word}</a>'


def _numbers(shown: Shown) -> Iterator[str]:
    """Yield the first and the last page, this one and its neighbours, and a mark for each gap."""
    near = range(shown.page - NEIGHBOURS, shown.page + NEIGHBOURS + 1)
    numbers = sorted({1, shown.pages, *(one for one in near if 1 <= one <= shown.pages)})
    before = 0
    for number in numbers:
        if number == before + 2:
            yield _number(shown, number - 1)
        elif number > before + 1:
            yield "<span>…</span>"
        yield _number(shown, number)
        before = number


def _number(shown: Shown, page: int) -> str:
    if page == shown.page:
        return f'<b aria-current="page">{page:,}</b>'
    return f'<a {_to_page(shown, page)} aria-label="Page {page:,}">{page:,}</a>'


def _to_page(shown: Shown, page: int, relation: str = "") -> str:
    return _href(shown.query(page) or "./", shown.order, relation)


def _title(by: str, order: Order) -> str:
    """Return the head of a column: a form that sorts by it, or reverses the order."""
    sort, then = "", FIRST_ORDERS[by]
    if by == order.by:
        sort = f' aria-sort="{"descending" if order.descending else "ascending"}"'
        then = Order(by, not order.descending)
    fields = f"{_hidden('sort', by)}{_hidden('order', direction(then))}"
    return f'<th scope="col"{sort}><form>{fields}<button>{_TITLES[by]}</button></form></th>'


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{value}">'


def _sentence(summary: Summary) -> str:
    if not summary.complete:
        return f"This directory has more entries than the {summary.total:,} shown here."
    counts = [
        _count(summary.directories, "directory", "directories"),
        _count(summary.files, "file", "files"),
    ]
    if summary.files:
        counts.append(_amount(summary.size))
    if summary.omitted:
        counts.append(f"{_count(summary.omitted, 'name', 'names')} not shown: no file to serve")
    return ", ".join(part for part in counts if part)


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}" if number else ""
