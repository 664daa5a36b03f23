"""An HTTP server in pure Python, on one thread, around `selectors.DefaultSelector`.

These are the names that applications use. A handler is a callable that takes a Request and returns
a Response, a coroutine or a Future of one:

    from reactor import Response, Server

    server = Server(lambda request: Response(200, b"hello"))
    server.listen("127.0.0.1", 4221)
    server.run()
"""

from reactor.errors import Cancelled, PoolFull, ProtocolError, TooSlow
from reactor.files.file import File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.body import Body
from reactor.messages.headers import Fields, Headers
from reactor.messages.response import Response, Trailed, plain_response
from reactor.observe.statistics import DURATIONS, Statistics
from reactor.process.serve import serve
from reactor.protocol.dates import http_date
from reactor.protocol.response_encoder import FieldBlock
from reactor.server.server import Server
from reactor.tasks.broadcast import Broadcast, Subscription
from reactor.tasks.combinators import gather, timeout
from reactor.tasks.futures import Future, Lane
from reactor.tasks.heartbeat import Heartbeat
from reactor.tasks.operations import in_pool, sleep
from reactor.web.app.application import Application
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.file_response import attachment, file
from reactor.web.app.group import Group
from reactor.web.app.request_data import Arguments, Form, UploadedFile, form_of, json_of, text_of
from reactor.web.app.requests import Request
from reactor.web.app.responses import html, json, redirect, stream, text
from reactor.web.app.router import RouteError
from reactor.web.compression.prepared import PreparedResponse
from reactor.web.compression.responses import compress
from reactor.web.endpoint import CompositionError, Middleware, before_only, may_wait
from reactor.web.limits import Limits
from reactor.web.operations.metrics import Metrics
from reactor.web.realtime.server_sent_events import Event, events, last_event_id
from reactor.web.semantics.multipart import FormPart

__all__ = [
    "DURATIONS",
    "Application",
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
    "RouteError",
    "Server",
    "Statistics",
    "Subscription",
    "TooSlow",
    "Trailed",
    "UploadedFile",
    "attachment",
    "before_only",
    "compress",
    "delete_cookie",
    "events",
    "file",
    "form_of",
    "gather",
    "html",
    "http_date",
    "in_pool",
    "json",
    "json_of",
    "last_event_id",
    "may_wait",
    "plain_response",
    "redirect",
    "serve",
    "set_cookie",
    "sleep",
    "stream",
    "text",
    "text_of",
    "timeout",
]
