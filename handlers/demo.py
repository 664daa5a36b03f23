"""The application that `make run` serves: a landing page, an echo, a mirror, and files."""

import html
from importlib.resources import files
from typing import Final

from handlers.compression import INLINE_BYTES, gzip_bytes, gzip_in_pool
from handlers.files import Files
from handlers.negotiation import accepts_gzip
from handlers.router import Answer, Router
from reactor import Request, Response

_TEXT: Final = (
    ("Content-Type", "text/plain"),
    ("X-Content-Type-Options", "nosniff"),
    ("Vary", "Accept-Encoding"),
)
_GZIPPED_TEXT: Final = (*_TEXT, ("Content-Encoding", "gzip"))
_AGENT: Final = (("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff"))
_HTML: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
)


def demo(directory: str | None, *, read_only: bool) -> Router:
    """The routes of the demo. Raises OSError for a directory that cannot be used."""
    page = files("handlers").joinpath("pages/landing.html").read_text("utf-8")
    stored = Files(directory, read_only=read_only)
    router = Router()
    router.add("GET", "/", lambda request: landing(page, request))
    router.add("GET", "/echo/{text:path}", echo)
    router.add("GET", "/user-agent", user_agent)
    router.add("GET", "/files/{name:path}", stored.get)
    if not read_only:
        router.add("POST", "/files/{name:path}", stored.post)
    return router


def landing(page: str, request: Request) -> Response:
    """The page that says what this is; its examples name the host that was asked for."""
    return Response(200, page.replace("{host}", html.escape(request.host)).encode(), _HTML)


def echo(request: Request) -> Answer:
    """The rest of the path, decoded; compressed, however short, for who accepts it."""
    text = "/".join(request.params["text"]).encode()
    if not accepts_gzip(request.headers.get("accept-encoding")):
        return Response(200, text, _TEXT)
    if len(text) <= INLINE_BYTES:
        return Response(200, gzip_bytes(text), _GZIPPED_TEXT)
    return _echo_long(text)


async def _echo_long(text: bytes) -> Response:
    zipped = await gzip_in_pool(text)
    return Response(200, text, _TEXT) if zipped is None else Response(200, zipped, _GZIPPED_TEXT)


def user_agent(request: Request) -> Response:
    """What the client calls itself."""
    return Response(200, request.headers.get("user-agent").encode("latin-1"), _AGENT)
