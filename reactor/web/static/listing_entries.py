"""Links, dates and queries: the two forms of a listing write them in the same way.

In links, everything but letters, digits and `-._~` is percent-encoded, byte by byte: a name that is
not UTF-8 has a link as any other.
"""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from reactor.web.static.snapshot import ListedEntry, Order

FIRST_ORDERS: Final = {  # the order at the first click: the largest and the latest come first
    "name": Order("name"),
    "size": Order("size", descending=True),
    "date": Order("date", descending=True),
}
_DATES: Final = range(-30610224000, 253402300800)  # years of four digits, as RFC 3339 has them
_PAGE_DIGITS: Final = 9
_quoted: Final = [quote_from_bytes(bytes([byte]), safe="") for byte in range(256)].__getitem__


class Shown(NamedTuple):
    """The part of a listing that a response shows: a page, counted from 1, in an order."""

    order: Order
    page: int = 1
    pages: int = 1
    size: int = 1  # entries on each page but the last
    total: int = 0  # entries on all pages

    @property
    def span(self) -> range:
        """The places of the entries in the order."""
        start = (self.page - 1) * self.size
        return range(start, max(start, min(start + self.size, self.total)))

    def query(self, page: int) -> str:
        """Return the query of another page in the same order: "" for the default one."""
        asked = [] if self.order == Order() else [order_query(self.order)[1:]]
        if page != 1:
            asked.append(f"page={page}")
        return f"?{'&'.join(asked)}" if asked else ""

    def others(self) -> Iterator[tuple[str, int]]:
        """Yield the relation (RFC 8288) and the number of the pages around this one."""
        if self.page > 1:
            yield "first", 1
            yield "prev", self.page - 1
        if self.page < self.pages:
            yield "next", self.page + 1
            yield "last", self.pages


def asked_for(query: str) -> tuple[Order, int]:
    """Return the order and the page that the query asks for; other parameters are ignored.

    Values without a meaning count as absent.
    """
    asked = dict(pair.partition("=")[::2] for pair in query.split("&"))
    by, page = asked.get("sort", ""), asked.get("page", "")
    order = Order(by if by in FIRST_ORDERS else "name", asked.get("order") == "desc")
    means = page.isascii() and page.isdigit() and len(page) <= _PAGE_DIGITS
    return order, max(1, int(page)) if means else 1


def direction(order: Order) -> str:
    """Return the value of the parameter `order`."""
    return "desc" if order.descending else "asc"


def order_query(order: Order) -> str:
    """Return the query that asks for an order."""
    return f"?sort={order.by}&order={direction(order)}"


def date_of(seconds: int) -> str | None:
    """Return the time as RFC 3339 writes it; None for a year outside of its range."""
    if seconds not in _DATES:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def link_of(entry: ListedEntry) -> str:
    """Return a link relative to the directory; an encoded colon cannot make a scheme."""
    return f"{''.join(map(_quoted, entry.name))}{'/' if entry.size is None else ''}"
