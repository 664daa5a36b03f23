"""The pages of a 500 and of a 404 for developers.

That of a 404 lists the routes. That of a 500, instead of "The server failed to process this
request.", shows the error and its causes, each with its traceback, the lines of source around each
place and the variables there, and the request. Everything is escaped, since all of it may come from
a client. A client that does not accept HTML gets the same as text. The pages are made only while
`debug` is on, which it must not be in production.

Screens are seen by others and pages are passed on, so values with a name like a secret are hidden:
header fields, variables, members of a mapping, pairs, and in texts the words behind such a name.
That is a guess by names, and no promise.

The pages must not fail on any object that they show, and each of their tables, values and lists has
a limit.
"""

import linecache
import re
import reprlib
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from types import FrameType
from typing import Any, Final

from reactor.errors import ProtocolError, all_but_interrupts
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.web.semantics.negotiation import prefers_html

AROUND: Final = 4  # lines of source shown before and after the one that raised the error
LINE_CHARACTERS: Final = 200  # per line of source
VALUE_CHARACTERS: Final = 300  # per variable or header field
MESSAGE_CHARACTERS: Final = 2000  # per error message
TEXT_CHARACTERS: Final = 64 * 1024  # per traceback as text
MEMBERS: Final = 20  # per list or mapping
VARIABLES: Final = 40  # per frame
ROUTES: Final = 500  # on the page of a 404
FRAMES: Final = 50  # per exception; the first and the last half of more
EXCEPTIONS: Final = 10  # with causes and members of groups

_HIDDEN: Final = "(hidden)"
_NAMES: Final = r"pass|secret|token|key|cookie|authori|session|credential"
_SECRET: Final = re.compile(_NAMES, re.IGNORECASE)
# In a text: whole header fields, then `name=value`, `"name": "value"` and the like.
_SECRET_FIELD: Final = re.compile(
    r"((?:cookie|authorization)[ \t]*+:[ \t]*+)[^\r\n\\'\"]++", re.IGNORECASE
)
_SECRET_VALUE: Final = re.compile(
    rf"""((?:{_NAMES})[\w-]{{0,64}}+\\?['"]?\s*+(?:[:=]|,(?=\s*+b?['"]))\s*+)"""
    r"""(?:b?'(?:[^'\\]|\\.)*+(?:'|\Z)|b?"(?:[^"\\]|\\.)*+(?:"|\Z)|\\(['"]).*?(?:\\\2|\Z)"""
    r"""|(?!\(hidden\))[^\s,;&'")}\]]++)""",
    re.IGNORECASE | re.DOTALL,
)


def debug_response(request: BaseRequest, error: BaseException) -> Response:
    """A 500 with everything that is known about the error, as a page or as text."""
    if not prefers_html(request.headers.get("accept")):
        return plain_response(500, _encodable(_shortened(_text(error), TEXT_CHARACTERS)))
    return _page_response(500, "".join(_page(request, error)))


def routes_response(
    request: BaseRequest, error: ProtocolError, routes: Sequence[tuple[str, str]]
) -> Response:
    """A 404 that lists the routes that there are, as a page or as text.

    Each of `routes` is a method, and a pattern with its place.
    """
    more = f"... and {len(routes) - ROUTES} more"
    rows = [*routes[:ROUTES], *[("", more)] * (len(routes) > ROUTES)]
    if not prefers_html(request.headers.get("accept")):
        lines = [error.reason, "The application has these routes:", *map(" ".join, rows)]
        return plain_response(404, _encodable("\n".join(lines)))
    title = f"404: {error.reason}"
    known = _table(rows) if routes else "<p>The application has no routes.</p>"
    return _page_response(404, f"{_begin(request, title)}<h2>The routes</h2>{known}")


def _page_response(status: int, page: str) -> Response:
    fields = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    )
    return Response(status, _encodable(page).encode(), fields)


@cache
def _style() -> str:
    return files("reactor.web.app").joinpath("pages", "debug.css").read_text("utf-8")


def _text(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except all_but_interrupts() as other:  # an error with a failing __bool__
        return f"{_headline(error)} (its traceback failed: {type(other).__name__})"


def _page(request: BaseRequest, error: BaseException) -> Iterator[str]:
    yield _begin(request, _headline(error))
    for relation, one in _chain(error):
        if relation:
            yield f"<h2>{relation}\n{escape(_headline(one))}</h2>"
        yield from _notes(one)
        yield from _traceback(one)
    yield "<h2>The request</h2>"
    client = ":".join(map(str, request.client))
    params = {f"{{{name}}}": _repr(value) for name, value in request.params.items()}
    yield _table([("from", client), *params.items(), *request.headers.fields()])


def _begin(request: BaseRequest, title: str) -> str:
    title = escape(title)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>\n{_style()}</style><h1>{title}</h1>"
        f"<p><code>{escape(request.method)} {escape(_hide(request.target))}</code></p>"
    )


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The error and the errors that it came from, each once, with a sentence on the relation."""
    waiting = [("", error)]
    seen: set[int] = set()
    while waiting and len(seen) < EXCEPTIONS:
        relation, one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield relation, one
        if one.__cause__ is not None:
            waiting.append(("It was raised because of", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append(("It happened while this was handled", one.__context__))
        if isinstance(one, BaseExceptionGroup):
            waiting += [("One of the group", member) for member in one.exceptions]


def _headline(error: BaseException) -> str:
    try:
        message = str(error)
    except all_but_interrupts() as other:
        message = f"(its str failed: {type(other).__name__})"
    name = type(error).__qualname__
    return _shortened(f"{name}: {message}" if message else name, MESSAGE_CHARACTERS)


def _notes(error: BaseException) -> Iterator[str]:
    notes = getattr(error, "__notes__", ())
    for note in notes[:MEMBERS] if isinstance(notes, list) else ():
        if isinstance(note, str):
            yield f"<p>{escape(_shortened(note, MESSAGE_CHARACTERS))}</p>"


def _traceback(error: BaseException) -> Iterator[str]:
    frames = list(traceback.walk_tb(error.__traceback__))
    half = FRAMES // 2
    for number, (frame, line) in enumerate(frames, 1):
        if number <= half or number > len(frames) - half:
            yield _frame(frame, line, number == len(frames))
        elif number == half + 1:
            yield f"<p>{len(frames) - 2 * half} more calls</p>"


def _frame(frame: FrameType, line: int, last: bool) -> str:
    code = frame.f_code
    place = f"<b>{escape(code.co_qualname)}</b> <i>{escape(code.co_filename)}, line {line}</i>"
    variables = _table(
        (name, _HIDDEN if _SECRET.search(name) else _repr(value))
        for name, value in list(frame.f_locals.items())[:VARIABLES]
    )
    return (
        f"<details{' open' if last else ''}><summary>{place}</summary>"
        f"{_source(frame, line)}{variables}</details>"
    )


def _source(frame: FrameType, line: int) -> str:
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    begin = max(1, line - AROUND)
    rows = []
    for number, text in enumerate(lines[begin - 1 : line + AROUND], begin):
        tag = "mark" if number == line else "span"
        row = f"{number:5}  {_shortened(text.rstrip(), LINE_CHARACTERS)}"
        rows.append(f"<{tag}>{escape(row)}</{tag}>")
    return f"<pre>{''.join(rows)}</pre>" if rows else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (
        f"<tr><th>{escape(name)}<td>"
        f"{escape(_HIDDEN if _SECRET.search(name) else _shortened(_hide(value)))}"
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


# --- values --------------------------------------------------------------------------------------


class _Values(reprlib.Repr):
    """Reprs of bounded length, in which values with a name like a secret are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = MEMBERS
        self.maxfrozenset = self.maxdeque = self.maxarray = MEMBERS
        self.maxstring = self.maxlong = self.maxother = VALUE_CHARACTERS

    def repr_dict(self, x: Mapping[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        shown = [
            f"{self.repr1(name, level - 1)}: {self._member(name, value, level)}"
            for name, value in list(x.items())[:MEMBERS]
        ]
        return "{" + ", ".join([*shown, *(["..."] if len(x) > MEMBERS else [])]) + "}"

    def repr_tuple(self, x: tuple[Any, ...], level: int) -> str:
        if len(x) == 2 and level > 0:
            name, value = x
            return f"({self.repr1(name, level - 1)}, {self._member(name, value, level)})"
        return super().repr_tuple(x, level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.maxstring])

    def repr_bytearray(self, x: bytearray, level: int) -> str:
        return repr(x[: self.maxstring])

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            return repr(x)[: 10 * VALUE_CHARACTERS]
        except all_but_interrupts() as error:
            return f"(its repr failed: {type(error).__name__})"

    def _member(self, name: Any, value: Any, level: int) -> str:
        if isinstance(name, str | bytes) and _SECRET.search(
            name if isinstance(name, str) else name.decode("latin-1")
        ):
            return _HIDDEN
        return self.repr1(value, level - 1)


_VALUES: Final = _Values()


def _repr(value: Any) -> str:
    try:
        return _VALUES.repr(value)
    except all_but_interrupts() as error:  # a broken container, or a number of 4,301 digits
        return f"(its repr failed: {type(error).__name__})"


def _hide(text: str) -> str:
    text = _SECRET_FIELD.sub(rf"\1{_HIDDEN}", text)
    return _SECRET_VALUE.sub(rf"\1{_HIDDEN}", text)


def _shortened(text: str, most: int = VALUE_CHARACTERS) -> str:
    """The beginning and the end of a long text: the last line of a traceback says most."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} … {text[-(most // 2) :]}"


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which file names and messages may have."""
    return text.encode(errors="backslashreplace").decode()
