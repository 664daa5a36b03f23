"""HTML that is always escaped: a string is text until `tag` has made HTML of it.

A Markup is HTML; every other string is text, which `tag` escapes. The texts of failures and command
lines come from other processes, so there is no other way to put a string into a page.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

ALONE: Final = frozenset({"meta", "br", "wbr"})  # elements without an end


class Markup(str):
    """HTML that needs no escaping."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str) -> Markup:
    """An element. `class_` is class, as in `tag("p", "a < b", class_="note")`."""
    fields = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    if name in ALONE:
        return Markup(f"<{name}{fields}>")
    return Markup(f"<{name}{fields}>{joined(content)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """The parts as one, those that are text escaped."""
    return Markup(_html(between).join(map(_html, parts)))


def _html(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text, quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Markup:
    """A table that scrolls in narrow windows; the fields of its first column are heads."""
    head = tag("tr", *(tag("th", one, scope="col") for one in header))
    body = [tag("tr", tag("th", row[0], scope="row"), *_fields(row[1:])) for row in rows]
    return framed(tag("thead", head), tag("tbody", *body), class_=class_)


def framed(*content: str, class_: str = "") -> Markup:
    """A table, of its parts, in an element that scrolls."""
    return tag("div", tag("table", *content, class_=class_), class_="scroll", tabindex="0")


def _fields(row: Sequence[str]) -> list[Markup]:
    return [tag("td", one) for one in row]


def details(summary: str, *content: str, class_: str = "") -> Markup:
    """Content that is shown after a click on the summary."""
    kind = {"class_": class_} if class_ else {}
    return tag("details", tag("summary", summary), *content, **kind)
