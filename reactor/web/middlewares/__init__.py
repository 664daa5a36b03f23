"""The middlewares in the box. Each is for a whole application, a group or a route:

    app = Application(RequestId(), SecurityHeaders(), CORS("https://example.com"))
    api = app.group("/api", RateLimit(rate=10, burst=20))

The first is the outermost. All may stand above and below everything, with one exception: a plain
middleware must not stand above Compression or TimeLimit. An order that suits most applications:
RequestId, SecurityHeaders, TrustedHosts, CORS, RateLimit, BasicAuth, BodyLimit, Compression,
Sessions, TimeLimit. Cheap refusals come first, and CORS before anything that requires credentials.
"""

from reactor.web.middlewares.basic_auth import BasicAuth
from reactor.web.middlewares.body_limit import BodyLimit
from reactor.web.middlewares.compression import Compression
from reactor.web.middlewares.cors import CORS
from reactor.web.middlewares.rate_limit import RateLimit
from reactor.web.middlewares.request_id import RequestId
from reactor.web.middlewares.security_headers import SecurityHeaders
from reactor.web.middlewares.sessions import Session, Sessions
from reactor.web.middlewares.time_limit import TimeLimit
from reactor.web.middlewares.trusted_hosts import TrustedHosts

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
