"""A limit on the number of requests of each client: a token bucket for each.

A bucket holds `burst` tokens and gains `rate` tokens a second; a request takes one, or is refused.
token_buckets.py keeps the buckets, `most_clients` of them. Each process has buckets of its own, so
that several processes allow several times as many requests.

Responses state how much is left, in the fields of draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import re
import time
from collections.abc import Callable
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.response import Response
from reactor.net.client_network import IPV6_PREFIX, client_network
from reactor.tasks.guard import Shared, exclusive
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field
from reactor.web.middlewares.token_buckets import TokenBuckets

_ROUNDING: Final = 1e-6  # tokens; no second more for what the arithmetic has lost
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


class RateLimit(Middleware, Shared):
    """Refuses a client that asks more often than `rate` times a second: 429 with Retry-After.

        api = app.group("/api", RateLimit(rate=10, burst=20))

    Every response has the fields RateLimit-Policy and RateLimit.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        key: Callable[[Request], str | None] | None = None,
        most_clients: int = 10_000,
        *,
        ipv6_prefix: int = IPV6_PREFIX,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rate` is in requests a second, `burst` is the number of requests that may come at once.

        `key(request)` names the client; None means no limit for this request. By default it is the
        address that has connected, or the network of an IPv6 address, of `ipv6_prefix` bits. Behind
        a proxy that is the address of the proxy, so that a `key` is necessary. `most_clients`
        bounds the memory: beside so many clients whose buckets are not full, others share buckets,
        ten clients one on average. `name` distinguishes several limits in the fields of responses.
        `clock` returns seconds. Raises ValueError for a `rate` that is not above 0, less than 1 for
        `burst` or `most_clients`, an `ipv6_prefix` beyond 1 to 128, and a malformed `name`.
        """
        if not (0 < rate < math.inf):
            raise ValueError(f"rate must be a number of requests a second above 0, not {rate!r}")
        if burst < 1:
            raise ValueError(f"burst must be 1 request or more, not {burst!r}")
        if most_clients < 1:
            raise ValueError(f"most_clients must be 1 or more, not {most_clients!r}")
        if not 1 <= ipv6_prefix <= 128:
            raise ValueError(f"ipv6_prefix must be 1 to 128 bits, not {ipv6_prefix!r}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must be letters, digits and _.-, not {name!r}")
        super().__init__()
        self._rate = rate
        self._burst = float(burst)
        self._key = key or _network_key(ipv6_prefix)
        self._clock = clock
        self._buckets = TokenBuckets(rate, self._burst, most_clients)
        self._item = f'"{name}"'
        window = max(1, math.ceil(burst / rate))
        self._policy = ("RateLimit-Policy", f"{self._item};q={burst:d};w={window}")
        self._key_of_state = f"reactor.rate_limit.{id(self)}"  # a request may have several limits

    def before(self, request: Request) -> None:
        """Take a token. Raises ProtocolError (429) if there is none."""
        key = self._key(request)
        if key is None:
            return
        tokens = self._take(key)
        request.state[self._key_of_state] = tokens
        if tokens < 0:
            seconds = self._seconds_until(tokens, 0)
            sentence = f"Too many requests. The next one may be sent in {seconds} s."
            raise ProtocolError(429, sentence, [("Retry-After", str(seconds))])

    def after(self, request: Request, response: Response) -> Response:
        tokens = request.state.get(self._key_of_state)
        if tokens is None:
            return response
        # The same time as Retry-After (section 5), or else until the bucket is full again.
        seconds = self._seconds_until(tokens, 0 if tokens < 0 else self._burst)
        left = ("RateLimit", f"{self._item};r={max(0, int(tokens))};t={seconds}")
        if tokens < 0 and not has_field(response, "retry-after"):  # from an error handler
            return response.with_headers(("Retry-After", str(seconds)), self._policy, left)
        return response.with_headers(self._policy, left)

    @exclusive
    def _take(self, key: str) -> float:
        """Take a token; the rest, or a number below 0 if there was none to take."""
        return self._buckets.take(key, self._clock())

    def _seconds_until(self, tokens: float, wanted: float) -> int:
        return max(0, math.ceil((wanted - tokens) / self._rate - _ROUNDING))


def _network_key(ipv6_prefix: int) -> Callable[[Request], str]:
    return lambda request: client_network(str(request.client[0]), ipv6_prefix)
