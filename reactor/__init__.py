"""An HTTP server in pure Python, on one thread, around `selectors.DefaultSelector`.

These are the names that applications use. A handler is a callable that takes a Request and returns
a Response, a coroutine or a Future of one:

    from reactor import Response, Server

    server = Server(lambda request: Response(200, b"hello"))
    server.listen("127.0.0.1", 4221)
    server.run()
"""

from reactor.channels import Channel, Subscription
from reactor.dates import http_date
from reactor.errors import Cancelled, PoolFull, ProtocolError, TooSlow
from reactor.futures import Future, Lane, in_pool, sleep
from reactor.limits import Limits
from reactor.messages import Body, Fields, Headers, Request, Response, Trailed, plain_response
from reactor.protocol.heads import FieldBlock
from reactor.regions import File, FileRegion, Parts
from reactor.server import Server
from reactor.statistics import DURATIONS, Statistics
from reactor.ticking import Ticking
from reactor.together import gather, timeout

__all__ = [
    "DURATIONS",
    "Body",
    "Cancelled",
    "Channel",
    "FieldBlock",
    "Fields",
    "File",
    "FileRegion",
    "Future",
    "Headers",
    "Lane",
    "Limits",
    "Parts",
    "PoolFull",
    "ProtocolError",
    "Request",
    "Response",
    "Server",
    "Statistics",
    "Subscription",
    "Ticking",
    "TooSlow",
    "Trailed",
    "gather",
    "http_date",
    "in_pool",
    "plain_response",
    "sleep",
    "timeout",
]
