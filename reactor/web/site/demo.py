"""The application that `make run` serves beside files: a landing page, an echo, a mirror."""

import html
from importlib.resources import files
from typing import Final

from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.app.application import Application
from reactor.web.compression.encoders import IDENTITY, INLINE_BYTES, MADE, encode
from reactor.web.compression.responses import compress
from reactor.web.endpoint import ResponseOrAwaitable, may_wait
from reactor.web.semantics.negotiation import choose_coding

_AGENT: Final = FieldBlock([("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")])
_TEXT: Final = FieldBlock([*_AGENT, ("Vary", "Accept-Encoding")])
_CODED_TEXT: Final = {coding: FieldBlock([*_TEXT, ("Content-Encoding", coding)]) for coding in MADE}
_HTML: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
)


def demo() -> Application:
    """The routes of the demo; more can be added."""
    page = files("reactor.web.site").joinpath("pages/landing.html").read_text("utf-8")
    app = Application()

    @app.get("/")
    @may_wait
    def landing(request: Request) -> ResponseOrAwaitable:
        """The page that says what this is; its examples name the host that was asked for."""
        body = page.replace("{host}", html.escape(request.host)).encode()
        return compress(request, Response(200, body, _HTML))

    app.add("GET", "/echo/{text:path}", echo)
    app.add("GET", "/user-agent", user_agent)
    return app


@may_wait
def echo(request: Request) -> ResponseOrAwaitable:
    """The rest of the path, decoded; compressed, however short, for who accepts it."""
    text: bytes = request.params["text"].encode()
    coding = choose_coding(request.headers.get("accept-encoding"), MADE)
    if coding == IDENTITY:
        return Response(200, text, _TEXT)
    if len(text) <= INLINE_BYTES:
        return Response(200, encode(text, coding), _CODED_TEXT[coding])
    return compress(request, Response(200, text, _TEXT), least=0)


def user_agent(request: Request) -> Response:
    """What the client calls itself."""
    return Response(200, request.headers.get("user-agent").encode("latin-1"), _AGENT)
