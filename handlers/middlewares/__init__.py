"""The middlewares in the box. Each is for a whole application or for a group of it:

    app = Application(RequestId(), SecurityHeaders(), CORS("https://example.com"))
    api = app.group("/api", RateLimit(rate=10, burst=20))

The first is the outermost. All but two fit above and below everything: what stands above
Compression or TimeLimit is no plain middleware. An order that serves most: RequestId,
SecurityHeaders, TrustedHosts, CORS, RateLimit, BasicAuth, BodyLimit, Compression, Sessions,
TimeLimit; what refuses cheaply comes first, and CORS before what asks for credentials.
"""

from handlers.middlewares.basicauth import BasicAuth
from handlers.middlewares.bodylimit import BodyLimit
from handlers.middlewares.compression import Compression
from handlers.middlewares.cors import CORS
from handlers.middlewares.ratelimit import RateLimit
from handlers.middlewares.requestid import RequestId
from handlers.middlewares.securityheaders import SecurityHeaders
from handlers.middlewares.sessions import Session, Sessions
from handlers.middlewares.timelimit import TimeLimit
from handlers.middlewares.trustedhosts import TrustedHosts

__all__ = [
    "CORS",
    "BasicAuth",
    "BodyLimit",
    "Compression",
    "RateLimit",
    "RequestId",
    "SecurityHeaders",
    "Session",
    "Sessions",
    "TimeLimit",
    "TrustedHosts",
]
