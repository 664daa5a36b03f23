"""The page of an error, in the style of a listing: the status, a sentence, and ways back.

The sentence may repeat what the client has sent, so it is escaped; the page contains nothing else
of the request. It has no script, and its policy allows none. Its links are relative, since a proxy
may have removed a prefix from the path.
"""

from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from reactor.messages.request import BaseRequest
from reactor.protocol.reason_phrases import reason_phrase
from reactor.web.semantics.content_policy import source_of

DEEPEST: Final = 32  # directories down, from which a link leads to the start

# Statuses after which the same request may succeed.
_PASSING: Final = frozenset({401, 408, 421, 425, 429, 500, 502, 503, 504, 507})


def _read(name: str) -> str:
    return files("reactor.web.problems").joinpath("pages", name).read_text("utf-8")


_STYLE: Final = _read("error.css")
PAGE_FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("Content-Type", "text/html; charset=utf-8"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src {source_of(_STYLE)}; img-src data:; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
)


@cache
def _template() -> Template:
    return Template(_read("error.html").replace("{{style}}", _STYLE))


def error_page(request: BaseRequest, status: int, sentence: str) -> str:
    """Return the page as text."""
    phrase = reason_phrase(status) or "Error"
    links = " ".join(f'<a href="{href}">{words}</a>' for href, words in _ways_back(request, status))
    return _template().substitute(
        title=escape(f"{status} {phrase}"),
        status=status,
        phrase=escape(phrase),
        sentence=escape(sentence),
        back=f'<nav aria-label="Ways back">{links}</nav>' if links else "",
    )


def _ways_back(request: BaseRequest, status: int) -> Iterator[tuple[str, str]]:
    """Yield links and their words; each place once."""
    path = request.path
    if not path.startswith("/"):  # OPTIONS *
        return
    if request.method not in ("GET", "HEAD"):
        yield "", "Back to the page"
    elif status in _PASSING:
        yield "", "Try again"
    depth = path.count("/") - 1  # directories above the last name
    if depth > 1 or (depth == 1 and not path.endswith("/")):
        yield "../" if path.endswith("/") else "./", "One level up"
    if path != "/":
        yield "/" if depth > DEEPEST else "../" * depth or "./", "Start page"
