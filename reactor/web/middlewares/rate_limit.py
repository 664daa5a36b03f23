"""How often a client may ask: a token bucket for each.

A bucket holds `burst` tokens, and gets `rate` a second; a request takes one, or is refused. What is
kept of a client is two numbers, and of clients the `most_clients` that asked last: who is forgotten
has a full bucket. Each process has buckets of its own, so with several the limit is a multiple.

The answer tells how much is left, in the fields of draft-ietf-httpapi-ratelimit-headers-10.
"""

import ipaddress
import math
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from reactor.errors import ProtocolError
from reactor.messages.response import Response
from reactor.tasks.guard import Shared, exclusive
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field

_ROUNDING: Final = 1e-6  # of a token: who has waited as long as he was told is not refused again
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")


class Bucket(NamedTuple):
    """What a client had left, and when; that is all there is to know."""

    tokens: float
    when: float


class RateLimit(Middleware, Shared):
    """429, with Retry-After, for a client who asks more often than `rate` times a second."""

    def __init__(
        self,
        rate: float,
        burst: int,
        key: Callable[[Request], str | None] | None = None,
        most_clients: int = 10_000,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`burst`: how many requests at once; `key`: what tells clients apart, None: no limit.

        By default it is the address of whoever has connected, or the network of 64 bits that an
        IPv6 address is in. Behind a proxy that is the proxy's: then `key` has to know better.
        `name` tells several limits apart in the answer. `clock` gives seconds. Raises ValueError.
        """
        if not (0 < rate < math.inf):
            raise ValueError(f"a rate is a number of requests a second above 0, not {rate!r}")
        if burst < 1:
            raise ValueError(f"a burst is at least 1 request, not {burst!r}")
        if most_clients < 1:
            raise ValueError(f"there is at least 1 client, not most_clients={most_clients!r}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"a limit's name is letters, digits and _.-, not {name!r}")
        super().__init__()
        self._rate = rate
        self._burst = float(burst)
        self._key = key or client_network
        self._most = most_clients
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}  # who asked last is at the end
        self._item = f'"{name}"'
        window = max(1, math.ceil(burst / rate))
        self._policy = ("RateLimit-Policy", f"{self._item};q={burst:d};w={window}")
        self._place = f"reactor.rate_limit.{id(self)}"  # there may be several

    def before(self, request: Request) -> None:
        """Raises ProtocolError(429)."""
        key = self._key(request)
        if key is None:
            return
        tokens = self._take(key)
        request.state[self._place] = tokens
        if tokens < 0:
            seconds = self._seconds_until(tokens, 0)
            sentence = f"Too many requests; the next one may come in {seconds} s."
            raise ProtocolError(429, sentence, [("Retry-After", str(seconds))])

    def after(self, request: Request, response: Response) -> Response:
        tokens = request.state.get(self._place)
        if tokens is None:
            return response
        # The same moment as Retry-After (section 5); otherwise until all of it is there again.
        seconds = self._seconds_until(tokens, 0 if tokens < 0 else self._burst)
        left = ("RateLimit", f"{self._item};r={max(0, int(tokens))};t={seconds}")
        if tokens < 0 and not has_field(response, "retry-after"):  # an error handler's own answer
            return response.with_headers(("Retry-After", str(seconds)), self._policy, left)
        return response.with_headers(self._policy, left)

    @exclusive
    def _take(self, key: str) -> float:
        """What is left when a token is taken; less than 0: there was none, and none is taken."""
        now = self._clock()
        buckets = self._buckets
        bucket = buckets.pop(key, None)
        if bucket is None:
            tokens = self._burst
            if len(buckets) >= self._most:
                del buckets[next(iter(buckets))]
        else:
            gained = max(0.0, now - bucket.when) * self._rate
            tokens = min(self._burst, bucket.tokens + gained)
        left = tokens - 1.0
        if -_ROUNDING < left < 0:
            left = 0.0
        buckets[key] = Bucket(left if left >= 0 else tokens, now)
        return left

    def _seconds_until(self, tokens: float, wanted: float) -> int:
        return max(0, math.ceil((wanted - tokens) / self._rate - _ROUNDING))


def client_network(request: Request) -> str:
    """The client's IPv4 address, or the /64 that is usually one customer's in IPv6."""
    address = str(request.client[0])
    return _network(address) if ":" in address else address


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
