"""A client for tests: in process, through the real connection code, in simulated time.

    from reactor.testing import Client

    def test_hello() -> None:
        with Client(app) as client:
            assert client.get("/hello", params={"name": "x"}).json() == {"hello": "x"}

    client     requests, redirects, and what a browser keeps between them
    cookies    the jar, as RFC 6265 has it
    request_encoder  from what a test asks for to a request
    exchange   one request and its response on one connection
    responses  a response as a test looks at it
    world      the simulated world, its time, and what has failed in it

A response is what a real client would have got, byte for byte. In addition nothing waits for real,
and the same requests give the same responses.
"""

from reactor.simulator import Violation
from reactor.simulator.response_parser import BadResponse, IncompleteResponse, ResponseHead
from reactor.testing.client import Client, TooManyRedirects
from reactor.testing.cookies import Cookie, CookieJar
from reactor.testing.responses import ClientResponse
from reactor.testing.world import Deadlock

__all__ = [
    "BadResponse",
    "Client",
    "ClientResponse",
    "Cookie",
    "CookieJar",
    "Deadlock",
    "IncompleteResponse",
    "ResponseHead",
    "TooManyRedirects",
    "Violation",
]
