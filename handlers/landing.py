"""GET /: a page about what is served, with commands that work here.

The application itself has three endpoints; directories come from the command line (`app.mounts`).
The commands name the host that the client has asked for, and the user where there are passwords.
"""

import shlex
from collections.abc import Awaitable, Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

from reactor import Application, Request, Response, compress, may_wait

HTML: Final = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
)


def landing(app: Application) -> Callable[[Request], Response | Awaitable[Response]]:
    """The endpoint for the page about this application."""
    page = (Path(__file__).parent / "pages/landing.html").read_text("utf-8")

    @may_wait
    def show(request: Request) -> Response | Awaitable[Response]:
        """The page; its links are relative, since a proxy may have removed a prefix."""
        body = page.replace("{entries}", "".join(_entries(app, request))).encode()
        return compress(request, Response(200, body, HTML))

    return show


def _entries(app: Application, request: Request) -> Iterator[str]:
    yield _entry(
        "/echo/{text}",
        "Returns the text, compressed where the client accepts that.",
        [_curl(request, "echo/hello")],
        "echo/hello%20there",
    )
    yield _entry(
        "/user-agent",
        "Returns the User-Agent field of your request.",
        [_curl(request, "user-agent")],
        "user-agent",
    )
    yield _entry(
        "/news",
        "Sends an event each second until you leave.",
        [_curl(request, "news", "-N")],
    )
    for prefix, mount in app.mounts:
        yield _directory(prefix, mount, request)


def _directory(prefix: str, mount: Any, request: Request) -> str:
    """The entry of a directory: what clients may do in it, and how."""
    path = prefix[1:]
    words, commands = ["Files to read"], []
    if mount.listing:
        commands.append(_curl(request, path, "-H", "Accept: application/json"))
    if mount.uploads:
        words.append("uploads")
        commands.append(_curl(request, path, "-T", "photo.jpg"))
        commands.append(_curl(request, f"{path}photo.jpg", "-O"))
    if mount.deletes:
        words.append("deletes")
    if mount.uploads and mount.deletes:
        commands.append(_curl(request, f"{path}photo.jpg", "-X", "DELETE"))
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return _entry(prefix, f"{text}.", commands, (path or "./") if mount.listing else "")


def _curl(request: Request, path: str, *options: str) -> str:
    user = request.state.get("user")
    login = ("-u", user) if user else ()
    url = f"{request.scheme}://{request.host or 'localhost'}/{path}"
    return shlex.join(["curl", *login, *options, url])


def _entry(name: str, text: str, commands: list[str], link: str = "") -> str:
    shown = f'<a href="{escape(link)}">{escape(name)}</a>' if link else escape(name)
    codes = "".join(f"<code>{escape(command)}</code>" for command in commands)
    return f"<div><dt>{shown}</dt><dd>{escape(text)}{codes}</dd></div>\n"
