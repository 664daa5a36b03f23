"""The application: a landing page, and the endpoints of the other modules by their paths."""

import html
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from handlers.echo import echo
from handlers.news import news
from handlers.user_agent import user_agent
from reactor import Application, Request, Response, compress, may_wait

HTML: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
)


def make_app() -> Application:
    """A new application with all routes; tests make one of their own each."""
    page = (Path(__file__).parent / "pages/landing.html").read_text("utf-8")
    app = Application()
    app.takes_mounts = True  # files at /files/ are routes of this application

    @app.get("/")
    @may_wait
    def landing(request: Request) -> Response | Awaitable[Response]:
        """The landing page. Its examples name the host that the client has asked for."""
        body = page.replace("{host}", html.escape(request.host)).encode()
        return compress(request, Response(200, body, HTML))

    app.get("/echo/{text:path}")(echo)
    app.get("/user-agent")(user_agent)
    app.get("/news")(news)
    return app


app = make_app()
