"""Closed loops: h2load, wrk and our own client, and how their output is read.

h2load measures most: it keeps its connections through a warm-up that does not count, prints a line
when that is over, and logs every request. wrk is used for connections of one request each, which
h2load does not make. Both are C, so one core of theirs can keep one of ours busy. Where one is not
installed our own client takes its place, and is mostly the slower end. All of them measure service
times: their latencies are those of closed loops, in which a client that waits sends nothing (wrk
adds an estimate of the requests that it left out).

The load is a browser's head, as servers get it: a dozen lines, about 500 bytes.
"""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.clients.closed_loop import CONNECT_SECONDS
from loadtest.clients.histogram import Histogram
from loadtest.clients.slow_crowds import request
from loadtest.companion import Lines
from loadtest.experiment.measure.sample_server import Outcome, SampleServer, failure_counts
from loadtest.experiment.measure.samples import SERVICE
from loadtest.system import MeasurementError

GRACE_SECONDS: Final = 15.0  # for a generator to end after its time
CONNECTS_PER_SECOND: Final = 4000  # connections that are surely made by the end of a warm-up
WARM_UP_SECONDS: Final = 1.0
# h2load sends a request as soon as a connection is made, and a server that it keeps busy may have
# no time to accept the rest; then h2load never ends. From so many connections on our own client is
# used, which is not the slower end there.
MANY_CONNECTIONS: Final = 2000
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}  # units that h2load prints, in seconds
ROUNDED: Final = 0.005  # requests per second: rounding error of h2load's two decimals
BROWSER: Final = (
    "cache-control: max-age=0",
    "upgrade-insecure-requests: 1",
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-encoding: gzip, deflate",
    "accept-language: en-US,en;q=0.9",
    "cookie: theme=dark; session=5a1f6cb20e7d49a3; seen=1719830400",
)
SCRIPT: Final = system.PROJECT / "loadtest" / "clients" / "wrk_report.lua"


def closed_loop(
    server: SampleServer,
    target: str,
    connections: int,
    *,
    depth: int = 1,
    closing: bool = False,
    fields: Sequence[str] = BROWSER,
) -> Outcome:
    """A load in which each connection sends its next request when it has its response.

    With `depth`, so many requests are in flight on each connection; with `closing`, each request
    has a connection of its own. Raises MeasurementError.
    """
    if closing and shutil.which("wrk"):
        return wrk_closing(server, target, connections)
    few = connections < MANY_CONNECTIONS
    if not closing and few and shutil.which("h2load") and shutil.which("stdbuf"):
        return h2load(server, target, connections, depth, fields)
    if depth > 1:
        raise MeasurementError("pipelining needs h2load, which is not installed")
    if closing:
        fields = ("Connection: close",)
    return own_client(server, target, connections, fields, server.seconds)


# ---------------------------------------------------------------------------------- h2load


def h2load(
    server: SampleServer, target: str, connections: int, depth: int, fields: Sequence[str]
) -> Outcome:
    """A load by h2load. Raises MeasurementError."""
    warm_up = WARM_UP_SECONDS + connections / CONNECTS_PER_SECOND
    log = server.workdir / "requests.log"
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-m{depth}"]
    times = [f"-D{server.seconds * 1000:.0f}ms", f"--warm-up-time={warm_up * 1000:.0f}ms"]
    command += [*times, f"--log-file={log}"]
    for field in fields:
        command += ["-H", field]
    command.append(server.url(target))
    buffered = ["stdbuf", "-oL", *command]
    phases = ("duration is started", "duration is over")
    with system.started(buffered, server.core, server.log("h2load"), pipes=True) as process:
        start = warm_up + GRACE_SECONDS
        window, lines = server.printed(process, "h2load", phases, start, GRACE_SECONDS)
        text = lines.rest(GRACE_SECONDS)
    outcome = Outcome(window.seconds, command, read_h2load(text, window.seconds, connections))
    outcome.latencies[SERVICE] = read_log(log)
    return server.finish(outcome, window)


def read_h2load(text: str, seconds: float, connections: int) -> dict[str, float]:
    """The values of its summary. Raises MeasurementError where there is none.

    Its "succeeded" counts the statuses 2xx and 3xx; its "failed" counts all other statuses, errors,
    and among these timeouts.
    """
    counts = re.search(r"(\d+) succeeded, (\d+) failed, \d+ errored, \d+ timeout", text)
    if counts is None:
        raise MeasurementError(f"h2load printed: {' '.join(text.split())[-200:]}")
    succeeded, failed = map(int, counts.groups())
    values = {
        "requests": float(succeeded),
        "errors": float(failed),
        "rate": succeeded / seconds,
        "connections": float(connections),
    }
    data = re.search(r"traffic: .*, \S+ \((\d+)\) data", text)
    whole = re.search(r"^finished in ([\d.]+)(us|ms|s),", text, re.MULTILINE)
    if data and whole and float(whole[1]):  # unlike requests, bytes include those of the warm-up
        values["bytes_rate"] = int(data[1]) / (float(whole[1]) * UNITS[whole[2]])
    return values | _fairness(text, connections)


def _fairness(text: str, connections: int) -> dict[str, float]:
    """Jain's index and the share of served connections, from requests per second of connections.

    h2load prints their least, most, mean and deviation. It leaves out the connections that it has
    lost and counts no errors for them, so a server that turns most clients away would look fair.
    The number of the remaining ones is the rate of all divided by the mean rate of one. The mean
    has two decimals, so a few lost connections cannot be distinguished from none.
    """
    whole = re.search(r"^finished in \S+, ([\d.]+) req/s", text, re.MULTILINE)
    rates = re.search(r"^req/s\s*: +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)", text, re.MULTILINE)
    if whole is None or rates is None:
        return {}
    least, _, mean, deviation = map(float, rates.groups())
    if not mean:
        return {"served": 0.0, "jain": 0.0} if not float(whole[1]) else {}
    jain = 1 / (1 + (deviation / mean) ** 2)
    if float(whole[1]) / max(mean - ROUNDED, ROUNDED) < connections - 0.5:
        left = round(float(whole[1]) / mean)
        return {"refused": float(connections - left), "jain": jain * left / connections}
    return {"jain": jain, "served": 1.0} if least > 0 else {"jain": jain}


def read_log(path: Path) -> Histogram:
    """Latencies from its log: when a request was sent, the status, and the duration in µs.

    Status 0 means a head that came before the window and a body that came in it; -1 means no
    response. Raises MeasurementError.
    """
    counts: Counter[int] = Counter()
    try:
        with path.open() as lines:
            for line in lines:
                _, status, taken = line.split("\t")
                if status.startswith("2") or status == "0":
                    counts[int(taken)] += 1
    except OSError as error:
        raise MeasurementError(f"h2load left no log: {error}") from error
    except ValueError as error:
        raise MeasurementError(f"h2load's log has an unexpected line: {line[:80]!r}") from error
    histogram = Histogram()
    for microseconds, count in counts.items():
        histogram.record(microseconds / 1e6, count)
    return histogram


# ---------------------------------------------------------------------------------- wrk


def wrk_closing(server: SampleServer, target: str, connections: int) -> Outcome:
    """A load by wrk with a connection for each request, which the server closes.

    Raises MeasurementError.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{server.seconds:.0f}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), "-H", "Connection: close", server.url(target)]
    with system.started(command, server.core, server.log("wrk"), pipes=True) as process:
        window = server.window(process.pid)
        text = Lines(process).rest(server.seconds + GRACE_SECONDS)
        window.close()  # wrk has ended but was not waited for, so its CPU time is still known
    if not text:
        raise MeasurementError(f"wrk printed: {system.last_line(server.log('wrk'))}")
    outcome = read_wrk(text, command, window.seconds)
    outcome.values["connections"] = connections
    return server.finish(outcome, window)


def read_wrk(text: str, command: Sequence[str], seconds: float) -> Outcome:
    """The outcome from the output of wrk with SCRIPT. Raises MeasurementError."""
    requests = re.search(r"(\d+) requests in", text)
    latencies = re.search(r"^latencies (.*)$", text, re.MULTILINE)
    if requests is None or latencies is None:
        raise MeasurementError(f"wrk printed: {' '.join(text.split())[-200:]}")
    histogram = Histogram()
    for pair in latencies[1].split():
        microseconds, _, count = pair.partition(":")
        histogram.record(int(microseconds) / 1e6, int(count))
    connect, read, write, timeout = (
        int(found[1]) if (found := re.search(rf"Socket errors:.*{kind} (\d+)", text)) else 0
        for kind in ("connect", "read", "write", "timeout")
    )
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    wrong_responses = int(wrong[1]) if wrong else 0
    correct = int(requests[1]) - wrong_responses
    values = {
        "requests": float(correct),
        "errors": float(wrong_responses + read + write + timeout),
        "refused": float(connect),
        "rate": correct / seconds,
    }
    return Outcome(seconds, command, values, {SERVICE: histogram})


# ---------------------------------------------------------------------------------- our own


def own_client(
    server: SampleServer, target: str, connections: int, fields: Sequence[str], seconds: float
) -> Outcome:
    """A load by our own client, which also counts the responses of each connection.

    Raises MeasurementError.
    """
    head = server.workdir / "head"
    head.write_bytes(request("GET", target, "".join(f"{field}\r\n" for field in fields)))
    options = ("--head", str(head), "--connections", str(connections), "--announce")
    amount = ("--seconds", f"{seconds:g}", "--warm-up", f"{WARM_UP_SECONDS:g}")
    with server.companion("loadtest.clients.closed_loop", *options, *amount) as client:
        window, result = server.announced(client, seconds + CONNECT_SECONDS + GRACE_SECONDS)
        outcome = Outcome(result["seconds"], client.command)
        outcome.values = failure_counts(result) | {
            "requests": result["requests"],
            "rate": result["requests"] / result["seconds"],
            "bytes_rate": result["bytes"] / result["seconds"],
            "connections": connections,
            "served": result["served"],
            "jain": result["jain"],
        }
        outcome.latencies[SERVICE] = Histogram.from_json(result["service"])
        return server.finish(outcome, window)
