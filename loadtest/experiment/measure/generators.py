"""Closed loops: load generators that others have written, and how what they print is read.

h2load gives most: it holds its connections through a warm-up that does not count, says when that is
over, and logs every request. wrk is there for connections of one request each, which h2load does
not make. Both are C, so that one core of theirs can keep one of ours busy; where one is missing our
own client takes its place, and is mostly the slower end. They know no intended times: what they say
of latency is of closed loops, where a client that waits does not ask (wrk adds what it takes to
have been left out).

A browser's head is sent, since that is what a server gets: a dozen lines, about 500 bytes.
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
from loadtest.experiment.measure.sample_server import Outcome, Setting, counted
from loadtest.experiment.measure.samples import SERVICE
from loadtest.system import Lines, MeasurementError

GRACE_SECONDS: Final = 15.0  # for a generator to end after its time
CONNECTS_PER_SECOND: Final = 4000  # so many are sure to be there when a warm-up ends
WARM_UP_SECONDS: Final = 1.0
# h2load asks as soon as it is connected, and a server that is kept busy by it may have no time to
# accept the rest; then it never ends. With so many our own client is not the slower end.
MANY_CONNECTIONS: Final = 2000
UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}  # in which h2load tells a time, in seconds
ROUNDED: Final = 0.005  # requests per second that h2load's two decimals may have lost
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
    setting: Setting,
    target: str,
    connections: int,
    *,
    depth: int = 1,
    closing: bool = False,
    fields: Sequence[str] = BROWSER,
) -> Outcome:
    """Each connection asks again when it has its answer, or `depth` of them.

    With `closing`, again is on another connection. Raises MeasurementError.
    """
    if closing and shutil.which("wrk"):
        return wrk_closing(setting, target, connections)
    few = connections < MANY_CONNECTIONS
    if not closing and few and shutil.which("h2load") and shutil.which("stdbuf"):
        return h2load(setting, target, connections, depth, fields)
    if depth > 1:
        raise MeasurementError("only h2load pipelines, and it is not installed")
    if closing:
        fields = ("Connection: close",)
    return own_client(setting, target, connections, fields, setting.seconds)


# ---------------------------------------------------------------------------------- h2load


def h2load(
    setting: Setting, target: str, connections: int, depth: int, fields: Sequence[str]
) -> Outcome:
    warm_up = WARM_UP_SECONDS + connections / CONNECTS_PER_SECOND
    log = setting.folder / "requests.log"
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-m{depth}"]
    times = [f"-D{setting.seconds * 1000:.0f}ms", f"--warm-up-time={warm_up * 1000:.0f}ms"]
    command += [*times, f"--log-file={log}"]
    for field in fields:
        command += ["-H", field]
    command.append(setting.url(target))
    buffered = ["stdbuf", "-oL", *command]
    phases = ("duration is started", "duration is over")
    with system.started(buffered, setting.core, setting.log("h2load"), pipes=True) as process:
        start = warm_up + GRACE_SECONDS
        window, lines = setting.printed(process, "h2load", phases, start, GRACE_SECONDS)
        text = lines.rest(GRACE_SECONDS)
    outcome = Outcome(window.seconds, command, read_h2load(text, window.seconds, connections))
    outcome.latencies[SERVICE] = read_log(log)
    return setting.finish(outcome, window)


def read_h2load(text: str, seconds: float, connections: int) -> dict[str, float]:
    """From its summary. Raises MeasurementError where there is none.

    What it calls succeeded has a status of 2xx or 3xx. What failed has all others, and errors, and
    among these timeouts.
    """
    counts = re.search(r"(\d+) succeeded, (\d+) failed, \d+ errored, \d+ timeout", text)
    if counts is None:
        raise MeasurementError(f"h2load said: {' '.join(text.split())[-200:]}")
    right, failed = map(int, counts.groups())
    values = {
        "requests": float(right),
        "errors": float(failed),
        "rate": right / seconds,
        "connections": float(connections),
    }
    data = re.search(r"traffic: .*, \S+ \((\d+)\) data", text)
    whole = re.search(r"^finished in ([\d.]+)(us|ms|s),", text, re.MULTILINE)
    if data and whole and float(whole[1]):  # unlike requests, bytes count in the warm-up as well
        values["bytes_rate"] = int(data[1]) / (float(whole[1]) * UNITS[whole[2]])
    return values | _fairness(text, connections)


def _fairness(text: str, connections: int) -> dict[str, float]:
    """From each connection's requests per second: the least, most, mean, and deviation.

    h2load leaves out the connections that it has lost, and counts no errors for them: a server that
    turns most of its clients away would look fair. How many are left is the rate of all by the mean
    rate of one; that has two decimals, so a few cannot be told from all.
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
    """Of its log: when it was sent, the status, and how long it took, in microseconds.

    A status of 0 is one that came before the window, and of which the body came in it; -1 is none.
    Raises MeasurementError.
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
        raise MeasurementError(f"h2load's log has {line[:80]!r}") from error
    histogram = Histogram()
    for microseconds, count in counts.items():
        histogram.record(microseconds / 1e6, count)
    return histogram


# ---------------------------------------------------------------------------------- wrk


def wrk_closing(setting: Setting, target: str, connections: int) -> Outcome:
    """A connection for each request; the server closes."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{setting.seconds:.0f}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), "-H", "Connection: close", setting.url(target)]
    with system.started(command, setting.core, setting.log("wrk"), pipes=True) as process:
        window = setting.window(process.pid)
        text = Lines(process).rest(setting.seconds + GRACE_SECONDS)
        window.close()  # it has ended and nobody has waited for it, so its CPU time is still there
    if not text:
        raise MeasurementError(f"wrk said: {system.last_line(setting.log('wrk'))}")
    outcome = read_wrk(text, command, window.seconds)
    outcome.values["connections"] = connections
    return setting.finish(outcome, window)


def read_wrk(text: str, command: Sequence[str], seconds: float) -> Outcome:
    """From what it prints with the script. Raises MeasurementError."""
    requests = re.search(r"(\d+) requests in", text)
    latencies = re.search(r"^latencies (.*)$", text, re.MULTILINE)
    if requests is None or latencies is None:
        raise MeasurementError(f"wrk said: {' '.join(text.split())[-200:]}")
    histogram = Histogram()
    for pair in latencies[1].split():
        microseconds, _, count = pair.partition(":")
        histogram.record(int(microseconds) / 1e6, int(count))
    connect, read, write, timeout = (
        int(found[1]) if (found := re.search(rf"Socket errors:.*{kind} (\d+)", text)) else 0
        for kind in ("connect", "read", "write", "timeout")
    )
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    wrong_answers = int(wrong[1]) if wrong else 0
    right = int(requests[1]) - wrong_answers
    values = {
        "requests": float(right),
        "errors": float(wrong_answers + read + write + timeout),
        "refused": float(connect),
        "rate": right / seconds,
    }
    return Outcome(seconds, command, values, {SERVICE: histogram})


# ---------------------------------------------------------------------------------- our own


def own_client(
    setting: Setting, target: str, connections: int, fields: Sequence[str], seconds: float
) -> Outcome:
    """It counts the answers of each connection, and so knows who was served, and how evenly."""
    head = setting.folder / "head"
    head.write_bytes(request("GET", target, "".join(f"{field}\r\n" for field in fields)))
    options = ("--head", str(head), "--connections", str(connections), "--announce")
    amount = ("--seconds", f"{seconds:g}", "--warm-up", f"{WARM_UP_SECONDS:g}")
    with setting.companion("loadtest.clients.closed_loop", *options, *amount) as client:
        window, told = setting.announced(client, seconds + CONNECT_SECONDS + GRACE_SECONDS)
        outcome = Outcome(told["seconds"], client.command)
        outcome.values = counted(told) | {
            "requests": told["requests"],
            "rate": told["requests"] / told["seconds"],
            "bytes_rate": told["bytes"] / told["seconds"],
            "connections": connections,
            "served": told["served"],
            "jain": told["jain"],
        }
        outcome.latencies[SERVICE] = Histogram.from_json(told["service"])
        return setting.finish(outcome, window)
