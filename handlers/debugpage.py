"""The page that a developer sees where others see "The server failed to answer this request."

It shows the traceback with the lines of source around each place, the variables there, and the
request; everything is escaped, since all of it may come from a client. Values of fields and
variables whose names speak of secrets are not shown, and long ones are cut. A client that wants no
HTML gets the traceback as text. It is made only while debugging is on, which no public server does.
"""

import linecache
import re
import traceback
from collections.abc import Iterable, Iterator
from html import escape
from types import FrameType
from typing import Any, Final

from handlers.negotiation import prefers_json
from reactor import Request, Response, plain_response

AROUND: Final = 4  # lines of source shown before and after the one that failed
VALUE_CHARACTERS: Final = 300  # of a variable
VARIABLES: Final = 40  # of one frame
FRAMES: Final = 50  # of one exception; of more, the first and the last

_SECRET: Final = re.compile(
    "pass|secret|token|key|cookie|authori|session|credential", re.IGNORECASE
)
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --hot: #f443; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
pre, td, th, summary { font: 13px/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
mark { background: var(--hot); color: inherit; display: block; }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
td, th { padding: .1rem .8rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
details { margin: .6rem 0; }
"""


def debug_response(request: Request, error: Exception) -> Response:
    """A 500 that tells all about the error."""
    accept = request.headers.get("accept").lower()
    if "text/html" not in accept or prefers_json(accept):
        return plain_response(500, "".join(traceback.format_exception(error)).rstrip("\n"))
    fields = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    )
    page = "".join(_page(request, error))
    return Response(500, page.encode(errors="backslashreplace"), fields)


def _page(request: Request, error: Exception) -> Iterator[str]:
    title = escape("".join(traceback.format_exception_only(error)).strip())
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield f"<style>{_STYLE}</style><h1>{title}</h1>"
    yield f"<p><code>{escape(request.method)} {escape(request.target)}</code></p>"
    for one in _chain(error):
        yield f"<h2>{escape(type(one).__name__)}: {escape(_shortened(str(one)))}</h2>"
        frames = list(traceback.walk_tb(one.__traceback__))
        if len(frames) > FRAMES:
            frames = [*frames[: FRAMES // 2], *frames[-FRAMES // 2 :]]
        for number, (frame, line) in enumerate(frames, 1):
            yield _frame(frame, line, number == len(frames))
    yield "<h2>The request</h2>"
    yield _table(request.headers)


def _chain(error: BaseException) -> list[BaseException]:
    """The error, then what it came from."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found


def _frame(frame: FrameType, line: int, last: bool) -> str:
    code = frame.f_code
    place = f"{escape(code.co_filename)}, line {line}, in {escape(code.co_qualname)}"
    variables = _table(
        (name, _repr(value)) for name, value in list(frame.f_locals.items())[:VARIABLES]
    )
    return (
        f"<details{' open' if last else ''}><summary>{place}</summary>"
        f"<pre>{_source(code.co_filename, line)}</pre>{variables}</details>"
    )


def _source(filename: str, line: int) -> str:
    lines = []
    for number in range(max(1, line - AROUND), line + AROUND + 1):
        text = escape(linecache.getline(filename, number).rstrip("\n"))
        row = f"{number:5} {text}"
        lines.append(f"<mark>{row}</mark>" if number == line else f"{row}\n")
    return "".join(lines)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (
        f"<tr><th>{escape(name)}<td>{escape('(hidden)' if _SECRET.search(name) else value)}"
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _repr(value: Any) -> str:
    try:
        return _shortened(repr(value))
    except Exception as error:
        return f"(its repr failed: {type(error).__name__})"


def _shortened(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + "…"
