"""A listing for programs.

    {"path": "/files/", "complete": true, "omitted": 0, "total": 2, "page": 1, "pages": 1,
     "entries": [
    {"name": "a", "type": "file", "size": 5, "modified": "2020-01-01T00:00:00Z", "href": "a"},
    {"name": "b", "type": "file", "size": 0, "modified": "2020-01-01T00:00:00Z", "href": "b"}
    ]}

The other pages are linked in the Link field (RFC 8288).
"""

import json
from typing import Final

from reactor.web.static.listing_entries import Shown, date_of, link_of
from reactor.web.static.listing_pages import PageForm
from reactor.web.static.snapshot import ListedEntry, Order, Summary

_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


def json_frame(summary: Summary, shown: Shown, path: str) -> tuple[str, str]:
    """Return the text before and behind the entries."""
    values = {
        "path": path,
        "complete": summary.complete,
        "omitted": summary.omitted,
        "total": shown.total,
        "page": shown.page,
        "pages": shown.pages,
    }
    return f'{_to_json(values)[:-1]}, "entries": [\n', "\n]}\n"


def link_field(shown: Shown) -> tuple[tuple[str, str], ...]:
    """Return the Link field; nothing where there is one page."""
    links = [
        f'<{shown.query(number) or "./"}>; rel="{relation}"' for relation, number in shown.others()
    ]
    return (("Link", ", ".join(links)),) if links else ()


def _entry(entry: ListedEntry, order: Order) -> str:
    return _to_json(
        {
            "name": entry.name.decode(errors="replace"),
            "type": "directory" if entry.size is None else "file",
            "size": entry.size,
            "modified": date_of(entry.modified),
            "href": link_of(entry),
        }
    )


JSON_FORM: Final = PageForm("json", _entry, ",\n")
