"""An HTTP server and a web framework in pure Python, on one thread, around an event loop.

These are the names that applications and programs with a server of their own use:

    from reactor import Application, serve

    app = Application()

    @app.get("/hello/{name}")
    def hello(request, name):
        return {"hello": name}

    serve(app, port=8000)

An Application has routes, middlewares and error handlers. A server takes any other handler, too: a
callable that takes a Request and returns a Response, a Future of one, or a coroutine.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (this file is parsed by older ones, too)
    found = f"{sys.version_info[0]}.{sys.version_info[1]}"
    needed = f"reactor needs Python 3.11 or later, and this is Python {found}."
    # `python -m reactor` comes by here first, and shows the sentence without a traceback.
    raise SystemExit(needed) if sys.argv[:1] == ["-m"] else ImportError(needed)

from reactor.errors import Cancelled, PoolFull, ProtocolError, ResponseError, TooSlow
from reactor.files.file import File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.body import Body
from reactor.messages.headers import Fields, Headers
from reactor.messages.kinds import ArgumentError
from reactor.messages.response import Response, Trailed
from reactor.process.serve import serve
from reactor.protocol.response_encoder import FieldBlock
from reactor.server.lifecycle import StartHookError
from reactor.server.server import Server
from reactor.tasks.broadcast import Broadcast
from reactor.tasks.combinators import first_of, gather, timeout
from reactor.tasks.futures import Future, Lane
from reactor.tasks.heartbeat import Heartbeat
from reactor.tasks.operations import in_pool, sleep
from reactor.tasks.semaphore import WeightedSemaphore
from reactor.tasks.single_flight import SingleFlight
from reactor.version import __version__
from reactor.web.app.application import Application
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.file_response import file
from reactor.web.app.group import Group
from reactor.web.app.request_data import Arguments, Form, UploadedFile, form_of, json_of, text_of
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, json, redirect, stream, text
from reactor.web.app.router import RouteError
from reactor.web.compression.prepared import PreparedResponse
from reactor.web.compression.responses import compress
from reactor.web.endpoint import CompositionError, Middleware, before_only, may_wait, reads_body
from reactor.web.limits import Limits
from reactor.web.operations.metrics import Metrics
from reactor.web.realtime.server_sent_events import Event, events, last_event_id
from reactor.web.semantics.file_names import attachment
from reactor.web.semantics.multipart import FormPart

__all__ = [
    "Application",
    "ArgumentError",
    "Arguments",
    "Body",
    "Broadcast",
    "Cancelled",
    "CompositionError",
    "Event",
    "FieldBlock",
    "Fields",
    "File",
    "FileRegion",
    "Form",
    "FormPart",
    "Future",
    "Group",
    "Headers",
    "Heartbeat",
    "Lane",
    "Limits",
    "Metrics",
    "Middleware",
    "MultiRegion",
    "PoolFull",
    "PreparedResponse",
    "ProtocolError",
    "Request",
    "Response",
    "ResponseError",
    "RouteError",
    "Server",
    "SingleFlight",
    "StartHookError",
    "TooSlow",
    "Trailed",
    "UploadedFile",
    "WeightedSemaphore",
    "__version__",
    "attachment",
    "before_only",
    "compress",
    "delete_cookie",
    "events",
    "file",
    "first_of",
    "form_of",
    "gather",
    "html",
    "in_pool",
    "json",
    "json_of",
    "last_event_id",
    "may_wait",
    "reads_body",
    "redirect",
    "serve",
    "set_cookie",
    "sleep",
    "stream",
    "text",
    "text_of",
    "timeout",
]
