"""The metrics page: Prometheus' own parser reads it, and its values fit the requests made."""

import os
import time
from collections.abc import Iterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from reactor import Response, sleep
from reactor.messages.request import BaseRequest
from reactor.net.certificates import Certificates
from reactor.observe.statistics import DURATIONS
from reactor.web.operations.monitoring import Monitoring
from tests.conftest import Running, Serve
from tests.support.raw_client import Client, SecureAddress, request

pytestmark = pytest.mark.system


async def handler(request: BaseRequest) -> Response:
    if request.path == "/slow":
        await sleep(0.06)
    if request.path == "/never":
        await sleep(1000)
    return Response(404 if request.path == "/404" else 200, b"hello")


@pytest.fixture
def running(serve: Serve) -> Running:
    return serve(Monitoring(handler, health=False, metrics=True))


@pytest.fixture
def client(running: Running) -> Client:
    return running.connect()


def scraped(client: Client) -> dict[str, Metric]:
    response = client.ask("/metrics")
    assert response.status == 200
    assert response.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert response.get("cache-control") == "no-store"
    text = response.body.decode()
    families = list(text_string_to_metric_families(text))
    found = {family.name: family for family in families}
    assert len(found) == len(families), "each family comes once"
    assert all(family.documentation and family.type != "unknown" for family in families)
    return found


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def test_the_documented_metrics_exist(client: Client) -> None:
    families = scraped(client)
    assert {name: family.type for name, family in families.items()} == {
        "reactor_requests": "counter",
        "reactor_request_duration_seconds": "histogram",
        "reactor_connections": "gauge",
        "reactor_connections_accepted": "counter",
        "reactor_received_bytes": "counter",
        "reactor_tls_handshakes": "counter",
        "reactor_tls_failures": "counter",
        "reactor_tls_certificate_expiry_seconds": "gauge",
        "reactor_sent_bytes": "counter",
        "reactor_loop_turns": "counter",
        "reactor_loop_busy_seconds": "counter",
        "reactor_loop_lag_seconds": "gauge",
        "reactor_loop_utilisation_ratio": "gauge",
        "reactor_pool_threads": "gauge",
        "reactor_pool_queue": "gauge",
        "reactor_log_lines_lost": "counter",
        "process_cpu_seconds": "counter",
        "process_max_fds": "gauge",
        "process_virtual_memory_bytes": "gauge",
        "process_resident_memory_bytes": "gauge",
        "process_start_time_seconds": "gauge",
        "process_open_fds": "gauge",
    }


def test_requests_by_method_and_status(running: Running, client: Client) -> None:
    for _ in range(3):
        client.ask("/")
    client.ask("/404")
    client.ask("/", method="PUT", body=b"x")
    client = running.connect()
    client.send(b'"} 1\\n\r\n\r\n')
    client.read_response()
    client = running.connect()
    families = scraped(client)
    shown = {tuple(one.labels.items()): one.value for one in families["reactor_requests"].samples}
    assert shown == {
        (("method", "GET"), ("status", "200")): 3,
        (("method", "GET"), ("status", "404")): 1,
        (("method", "PUT"), ("status", "200")): 1,
        (("method", "other"), ("status", "400")): 1,
    }
    again = scraped(client)
    assert value(again, "reactor_requests_total", method="GET", status="200") == 4


def test_the_histogram_is_valid(client: Client) -> None:
    """Buckets are cumulative, and the last, +Inf, is the count; 60 ms are in no lower bucket."""
    client.ask("/")
    client.ask("/slow")
    family = scraped(client)["reactor_request_duration_seconds"]
    buckets = [one for one in family.samples if one.name.endswith("_bucket")]
    assert [float(one.labels["le"]) for one in buckets] == [*DURATIONS, float("inf")]
    counts = [one.value for one in buckets]
    assert counts == sorted(counts)
    assert counts[DURATIONS.index(0.05)] <= 1
    assert counts[-1] == 2
    rest = {one.name: one.value for one in family.samples if not one.name.endswith("_bucket")}
    assert rest["reactor_request_duration_seconds_count"] == 2
    assert 0.06 <= rest["reactor_request_duration_seconds_sum"] < 30


@pytest.mark.plain  # records are longer than what they say
def test_connections_and_bytes(running: Running, client: Client) -> None:
    other = running.connect()
    other.send(request("/never"))
    running.wait_until(lambda: running.server.statistics.connections()["handler"] == 1)
    families = scraped(client)
    assert value(families, "reactor_connections", state="handler") == 1
    assert value(families, "reactor_connections", state="idle") == 1
    assert value(families, "reactor_connections_accepted_total") == 2
    asked = len(request("/never")) + len(request("/metrics"))
    assert value(families, "reactor_received_bytes_total") == asked
    assert value(families, "reactor_sent_bytes_total") == 0
    assert value(scraped(client), "reactor_sent_bytes_total") > 1000


def test_the_loop_and_the_pool(client: Client) -> None:
    first = scraped(client)
    time.sleep(0.01)
    second = scraped(client)
    for name in ("reactor_loop_turns_total", "reactor_loop_busy_seconds_total"):
        assert value(second, name) > value(first, name) > 0
    assert 0 <= value(second, "reactor_loop_utilisation_ratio") <= 1
    assert value(second, "reactor_loop_lag_seconds") >= 0
    for queue in ("files", "compressions", "outside"):
        assert value(second, "reactor_pool_queue", queue=queue) == 0


def test_the_process_is_this_one(client: Client) -> None:
    families = scraped(client)
    assert abs(value(families, "process_open_fds") - len(os.listdir("/proc/self/fd"))) <= 1
    with open("/proc/self/statm", encoding="ascii") as file:
        size, resident = (int(one) * os.sysconf("SC_PAGE_SIZE") for one in file.read().split()[:2])
    assert value(families, "process_virtual_memory_bytes") == pytest.approx(size, rel=0.2)
    assert value(families, "process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
    assert value(families, "process_max_fds") >= 256
    used = sum(os.times()[:2])
    assert value(families, "process_cpu_seconds_total") == pytest.approx(used, rel=0.2, abs=0.5)
    started = value(families, "process_start_time_seconds")
    assert time.time() - 3600 < started < time.time()


def test_the_page_is_small_and_independent_of_clients(client: Client) -> None:
    size = len(client.ask("/metrics").body)
    for number in range(200):
        client.ask(f"/{number}?{number}", f"X-{number}: {number}")
    assert len(client.ask("/metrics").body) < size + 200


def test_without_the_option_there_is_no_page(serve: Serve) -> None:
    def nothing(request: BaseRequest) -> Response:
        return Response(404)

    client = serve(Monitoring(nothing, health=True, metrics=False)).connect()
    assert client.ask("/metrics").status == 404


def test_pipelined_scrapes_are_whole(client: Client) -> None:
    """Every page of pipelined requests is whole."""
    client.send(request("/metrics") * 30)
    pages = [client.read_response().body.decode() for _ in range(30)]
    counts: Iterator[float] = (
        one.value
        for page in pages
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name == "reactor_request_duration_seconds_count"
    )
    assert list(counts) == list(range(30))


@pytest.mark.plain
def test_handshakes_and_certificates(
    running: Running, client: Client, certificates: Certificates
) -> None:
    families = scraped(client)
    assert families["reactor_tls_handshakes"].samples == []
    assert families["reactor_tls_certificate_expiry_seconds"].samples == []
    secure = running.call(lambda: running.server.listen("127.0.0.1", 0, tls=certificates))
    for _ in range(2):
        with Client(SecureAddress(secure)) as one:
            one.ask("/")
    with Client(tuple(secure)) as one:
        one.ask("/")
    families = scraped(client)
    agreed = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "resumed": "false"}
    assert value(families, "reactor_tls_handshakes_total", **agreed) == 2
    assert value(families, "reactor_tls_failures_total", kind="http") == 1
    assert value(families, "reactor_tls_failures_total", kind="timeout") == 0
    (ends,) = certificates.expirations.values()
    name = "reactor_tls_certificate_expiry_seconds"
    assert value(families, name, certificate="localhost") == ends.timestamp()
