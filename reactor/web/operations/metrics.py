"""Metrics of the server in the text format of Prometheus, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/

The page is made for each request, from the server's own counters. Labels have few values: the
methods of HTTP and one for all others, statuses, states, queues. No text that a client can choose
becomes a label. The page reveals nothing about single requests or clients, but much about the
server, so that its operator should decide who may read it.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.observe.statistics import DURATIONS, Statistics
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.operations.process_metrics import measure_process

_FIELDS: Final = FieldBlock(
    (
        ("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
)

# The text behind the name of a family (the rest of the name, labels), and the value.
Sample: TypeAlias = tuple[str, float]


class Metrics:
    """The endpoint of the metrics page.

        app.add("GET", "/metrics", Metrics(server.statistics))

    The option `--metrics` of the command line serves it as well.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def __call__(self, request: BaseRequest) -> Response:
        return Response(200, "".join(_page(self._statistics)).encode(), _FIELDS)


def _page(statistics: Statistics) -> Iterator[str]:
    yield from _requests(statistics)
    yield from _traffic(statistics)
    yield from _loop(statistics)
    yield from _pool(statistics)
    yield from _tls(statistics)
    for one in measure_process():
        yield from _family(one.name, one.kind, one.meaning, [("", one.value)])


def _requests(statistics: Statistics) -> Iterator[str]:
    responses = [
        (f'{{method="{method}",status="{status}"}}', count)
        for method, by_status in statistics.requests.items()
        for status, count in sorted(by_status.items())
    ]
    yield from _family("reactor_requests_total", "counter", "Responses.", responses)
    buckets: list[Sample] = []
    count = 0
    for bound, found in zip((*DURATIONS, "+Inf"), statistics.durations, strict=True):
        count += found
        buckets.append((f'_bucket{{le="{bound}"}}', count))
    buckets += [("_sum", statistics.duration_seconds), ("_count", count)]
    yield from _family(
        "reactor_request_duration_seconds",
        "histogram",
        "From the head of a request to the last byte of its response, queued.",
        buckets,
    )


def _traffic(statistics: Statistics) -> Iterator[str]:
    states = statistics.connections().items()
    yield from _family(
        "reactor_connections",
        "gauge",
        "Open connections, by state.",
        ((f'{{state="{state}"}}', count) for state, count in states),
    )
    for name, meaning, value in (
        ("connections_accepted", "Connections accepted.", statistics.accepted),
        ("received_bytes", "Bytes from clients, with heads.", statistics.received_bytes),
        ("sent_bytes", "Bytes to clients, with heads.", statistics.sent_bytes),
    ):
        yield from _family(f"reactor_{name}_total", "counter", meaning, [("", value)])


def _loop(statistics: Statistics) -> Iterator[str]:
    loop = statistics.loop
    for name, kind, meaning, value in (
        ("turns_total", "counter", "Turns of the loop.", loop.turns),
        (
            "busy_seconds_total",
            "counter",
            "Time in which the loop did not wait.",
            loop.busy_seconds,
        ),
        ("lag_seconds", "gauge", "The longest turn of the last 10 s.", loop.lag),
        (
            "utilisation_ratio",
            "gauge",
            "Share of the last 10 s in which the loop did not wait.",
            loop.utilisation,
        ),
    ):
        yield from _family(f"reactor_loop_{name}", kind, meaning, [("", value)])


def _pool(statistics: Statistics) -> Iterator[str]:
    load = statistics.pool
    threads = [('{state="busy"}', load.threads - load.idle), ('{state="idle"}', load.idle)]
    yield from _family("reactor_pool_threads", "gauge", "Threads for blocking calls.", threads)
    jobs = [
        ('{queue="files"}', load.files),
        ('{queue="compressions"}', load.compressions),
        ('{queue="streams"}', load.streams),
        ('{queue="logs"}', load.logs),
        ('{queue="outside"}', load.outside),
    ]
    yield from _family("reactor_pool_queue", "gauge", "Jobs that wait for a pool thread.", jobs)
    lost = ((f'{{log="{log}"}}', count) for log, count in statistics.lost_lines().items())
    yield from _family("reactor_log_lines_lost_total", "counter", "Log lines not written.", lost)


def _tls(statistics: Statistics) -> Iterator[str]:
    handshakes = statistics.handshakes
    agreed = [
        (f'{{version="{version}",cipher="{cipher}",resumed="{str(resumed).lower()}"}}', count)
        for (version, cipher, resumed), count in sorted(handshakes.agreed.items())
    ]
    yield from _family("reactor_tls_handshakes_total", "counter", "TLS handshakes.", agreed)
    failures = [(f'{{kind="{kind}"}}', count) for kind, count in handshakes.failures.items()]
    yield from _family(
        "reactor_tls_failures_total", "counter", "TLS handshakes that failed.", failures
    )
    ends = [
        (f'{{certificate="{name}"}}', end.timestamp())
        for name, end in statistics.expirations().items()
    ]
    yield from _family(
        "reactor_tls_certificate_expiry_seconds", "gauge", "Its end, in Unix time.", ends
    )


def _family(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
    for rest, value in samples:
        yield f"{name}{rest} {value}\n"
