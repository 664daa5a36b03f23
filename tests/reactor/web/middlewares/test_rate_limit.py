"""RateLimit: buckets with a clock of the test's own, and the fields of responses."""

from collections.abc import Callable
from typing import Any

import pytest

from reactor import Headers, ProtocolError
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.requests import Request
from reactor.web.middlewares import RateLimit, RequestId
from tests.support.middleware_app import PATHS, STATUSES, application, served


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.1

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def request(address: str = "192.0.2.1") -> Request:
    made = Request("GET", "/", "/", "", 1, Headers())
    made.client = (address, 5000)
    return made


def allowed(limit: RateLimit, address: str = "192.0.2.1") -> bool:
    try:
        limit.before(request(address))
    except ProtocolError:
        return False
    return True


def test_a_bucket(clock: Clock) -> None:
    limit = RateLimit(2, 5, clock=clock)
    assert [allowed(limit) for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now += 0.5
    assert [allowed(limit) for _ in range(2)] == [True, False]
    clock.now += 1
    assert [allowed(limit) for _ in range(3)] == [True, True, False]
    clock.now += 1_000_000
    assert [allowed(limit) for _ in range(6)] == [True] * 5 + [False]


def test_refusals_take_no_token(clock: Clock) -> None:
    limit = RateLimit(1, 1, clock=clock)
    assert allowed(limit)
    for _ in range(9):
        clock.now += 0.1
        assert not allowed(limit)
    clock.now += 0.1
    assert allowed(limit)


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 0.7, 3, 7, 1e-3])
def test_a_client_that_waits_for_retry_after_is_accepted(rate: float, clock: Clock) -> None:
    limit = RateLimit(rate, 1, clock=clock)
    assert allowed(limit)
    for _ in range(100):
        with pytest.raises(ProtocolError) as caught:
            limit.before(request())
        ((name, seconds),) = caught.value.headers
        assert name == "Retry-After"
        clock.now += int(seconds)
        assert allowed(limit)


def test_a_clock_that_goes_back_changes_nothing(clock: Clock) -> None:
    limit = RateLimit(1, 2, clock=clock)
    assert allowed(limit)
    clock.now -= 100
    assert [allowed(limit) for _ in range(2)] == [True, False]


def test_every_client_has_its_own_bucket(clock: Clock) -> None:
    limit = RateLimit(1, 1, clock=clock)
    assert [allowed(limit, f"192.0.2.{n}") for n in (1, 2, 1, 2, 3)] == [
        *(True, True, False, False, True)
    ]


def test_more_networks_than_there_are_buckets_for_are_refused(clock: Clock) -> None:
    limit = RateLimit(0.001, 1, clock=clock)
    networks = [f"2001:db8:{n >> 8:x}:{(n & 255) << 8:x}::1" for n in range(10_001)]
    assert all(allowed(limit, network) for network in networks)
    for _ in range(2):
        clock.now += 1
        assert not any(allowed(limit, network) for network in networks)
    clock.now += 1000
    assert all(allowed(limit, network) for network in networks)


def test_an_ipv6_network_is_one_client(clock: Clock) -> None:
    limit = RateLimit(1, 1, clock=clock)
    assert allowed(limit, "2001:db8::1")
    assert not allowed(limit, "2001:db8:0:ff::1")
    assert allowed(limit, "2001:db8:0:100::1")
    narrow = RateLimit(1, 1, ipv6_prefix=64, clock=clock)
    assert [allowed(narrow, f"2001:db8:0:{n}") for n in ("0::1", "0::2", "1::1")] == [
        *(True, False, True)
    ]
    assert allowed(narrow, "192.0.2.1")
    assert not allowed(narrow, "::ffff:192.0.2.1")


@pytest.mark.parametrize("path", PATHS)
def test_refusals(path: str, clock: Clock) -> None:
    limit = RateLimit(0.1, 2, clock=clock)
    with served(RequestId(), limit) as client:
        for left, reset in ((1, 10), (0, 20)):
            response = client.get(path)
            assert response.status == STATUSES[path]
            assert response.headers.get_all("ratelimit-policy") == ['"default";q=2;w=20']
            assert response.headers.get_all("ratelimit") == [f'"default";r={left};t={reset}']
            assert "retry-after" not in response.headers
        clock.now += 4
        response = client.get(path)
        assert (response.status, response.headers.get_all("retry-after")) == (429, ["6"])
        assert response.text == "Too many requests. The next one may be sent in 6 s.\n"
        assert response.headers["ratelimit"] == '"default";r=0;t=6'
        assert response.headers["x-request-id"]
        clock.now += 6
        assert client.get(path).status == STATUSES[path]


def test_a_refusal_comes_before_the_body(clock: Clock) -> None:
    with served(RateLimit(1, 1, clock=clock)) as client:
        assert client.post("/plain", content="x").status == 200
        response = client.post("/plain", content="x", headers={"Expect": "100-continue"})
        assert (response.status, response.informational) == (429, [])


def test_the_response_of_an_error_handler_gets_the_fields(clock: Clock) -> None:
    app = application(RateLimit(1, 1, clock=clock))

    @app.error(429)
    def refused(request: Any, error: Any) -> Any:
        return 429, "slowly"

    with Client(app) as client:
        client.get("/plain")
        response = client.get("/plain")
        assert (response.text, response.headers.get_all("retry-after")) == ("slowly", ["1"])


def test_several_limits_and_other_keys(clock: Clock) -> None:
    key: Callable[[Request], str | None] = lambda request: request.headers.get("x-key") or None  # noqa: E731
    app = Application(RateLimit(1, 100, clock=clock, name="all"))
    group = app.group("/api", RateLimit(1, 1, key, clock=clock, name="api"))
    group.add("GET", "/x", lambda request: "x")
    app.add("GET", "/y", lambda request: "y")
    with Client(app) as client:
        response = client.get("/api/x", headers={"X-Key": "1"})
        assert response.headers["ratelimit"] == '"api";r=0;t=1, "all";r=99;t=1'
        assert response.headers["ratelimit-policy"] == '"api";q=1;w=1, "all";q=100;w=100'
        assert client.get("/api/x", headers={"X-Key": "1"}).status == 429
        assert client.get("/api/x", headers={"X-Key": "2"}).status == 200
        for _ in range(3):
            response = client.get("/api/x")
            assert (response.status, response.headers["ratelimit"][:5]) == (200, '"all"')
        assert client.get("/y").status == 200


@pytest.mark.parametrize(
    "options",
    [
        *({"rate": 0}, {"rate": -1}, {"rate": float("nan")}, {"rate": float("inf")}),
        *({"burst": 0}, {"most_clients": 0}, {"name": ""}, {"name": 'a"'}),
        *({"ipv6_prefix": 0}, {"ipv6_prefix": 129}),
    ],
)
def test_options(options: Any) -> None:
    with pytest.raises(ValueError):
        RateLimit(**{"rate": 1, "burst": 1, **options})
