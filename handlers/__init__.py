"""Application code over reactor's public names: what is served, and to whom. No sockets here.

These are the names that applications are written with:

    from handlers import Application

    app = Application()

    @app.get("/hello/{name}")
    def hello(request, name):
        return f"Hello, {name}!"
"""

from handlers.application import Application, Group
from handlers.forms import Part
from handlers.middleware import CompositionError, Middleware, before_only, may_wait
from handlers.requests import (
    Arguments,
    Form,
    Request,
    UploadedFile,
    form_of,
    json_of,
    text_of,
)
from handlers.responses import (
    attachment,
    delete_cookie,
    file,
    html,
    json,
    redirect,
    set_cookie,
    stream,
    text,
)
from handlers.router import RouteError

__all__ = [
    "Application",
    "Arguments",
    "CompositionError",
    "Form",
    "Group",
    "Middleware",
    "Part",
    "Request",
    "RouteError",
    "UploadedFile",
    "attachment",
    "before_only",
    "delete_cookie",
    "file",
    "form_of",
    "html",
    "json",
    "json_of",
    "may_wait",
    "redirect",
    "set_cookie",
    "stream",
    "text",
    "text_of",
]
