"""What the server does, for Prometheus: its text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/

The page is made when it is asked for, from the server's own counters. Labels have few values: the
methods of HTTP and one for all else, statuses, states, queues; nothing that a client can choose
becomes one. It says nothing of single requests or clients, but a lot of the server: who may ask for
it is for its operator to decide.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from reactor.messages.request import Request
from reactor.messages.response import Response
from reactor.observe.statistics import DURATIONS, Statistics
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.operations.process_metrics import process_figures

_FIELDS: Final = FieldBlock(
    (
        ("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    )
)

# What follows the name of a family: the rest of the name, labels; and the value.
Sample: TypeAlias = tuple[str, float]


class Metrics:
    """The page."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def __call__(self, request: Request) -> Response:
        return Response(200, "".join(_page(self._statistics)).encode(), _FIELDS)


def _page(statistics: Statistics) -> Iterator[str]:
    yield from _requests(statistics)
    yield from _traffic(statistics)
    yield from _loop(statistics)
    yield from _pool(statistics)
    for one in process_figures():
        yield from _family(one.name, one.kind, one.meaning, [("", one.value)])


def _requests(statistics: Statistics) -> Iterator[str]:
    answers = [
        (f'{{method="{method}",status="{status}"}}', count)
        for method, by_status in statistics.requests.items()
        for status, count in sorted(by_status.items())
    ]
    yield from _family("reactor_requests_total", "counter", "Answers.", answers)
    buckets: list[Sample] = []
    count = 0
    for bound, found in zip((*DURATIONS, "+Inf"), statistics.durations, strict=True):
        count += found
        buckets.append((f'_bucket{{le="{bound}"}}', count))
    buckets += [("_sum", statistics.duration_seconds), ("_count", count)]
    yield from _family(
        "reactor_request_duration_seconds",
        "histogram",
        "From a request's head to the last byte of its answer, queued.",
        buckets,
    )


def _traffic(statistics: Statistics) -> Iterator[str]:
    states = statistics.connections().items()
    yield from _family(
        "reactor_connections",
        "gauge",
        "Open connections, by what they wait for.",
        ((f'{{state="{state}"}}', count) for state, count in states),
    )
    for name, meaning, value in (
        ("connections_accepted", "Connections that have come.", statistics.accepted),
        ("received_bytes", "Bytes from clients, heads included.", statistics.received_bytes),
        ("sent_bytes", "Bytes to clients, heads included.", statistics.sent_bytes),
    ):
        yield from _family(f"reactor_{name}_total", "counter", meaning, [("", value)])


def _loop(statistics: Statistics) -> Iterator[str]:
    loop = statistics.loop
    for name, kind, meaning, value in (
        ("turns_total", "counter", "Turns of the loop.", loop.turns),
        ("busy_seconds_total", "counter", "Time not spent waiting.", loop.busy_seconds),
        ("lag_seconds", "gauge", "The longest turn of the last 10 s.", loop.lag),
        ("utilisation_ratio", "gauge", "Share of the last 10 s not waited.", loop.utilisation),
    ):
        yield from _family(f"reactor_loop_{name}", kind, meaning, [("", value)])


def _pool(statistics: Statistics) -> Iterator[str]:
    load = statistics.pool
    threads = [('{state="busy"}', load.threads - load.idle), ('{state="idle"}', load.idle)]
    yield from _family("reactor_pool_threads", "gauge", "Threads for blocking calls.", threads)
    jobs = [
        ('{queue="files"}', load.files),
        ('{queue="compressions"}', load.compressions),
        ('{queue="outside"}', load.outside),
    ]
    yield from _family("reactor_pool_queue", "gauge", "Jobs that wait for a thread.", jobs)
    lost = ((f'{{log="{log}"}}', count) for log, count in statistics.lost_lines().items())
    yield from _family("reactor_log_lines_lost_total", "counter", "Lines not written.", lost)


def _family(name: str, kind: str, meaning: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
    for rest, value in samples:
        yield f"{name}{rest} {value}\n"
