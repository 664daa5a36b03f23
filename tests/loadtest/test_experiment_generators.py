"""The output of h2load and wrk, as they print it, and the values that are read from it."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from loadtest import system
from loadtest.experiment.measure import generators
from loadtest.experiment.measure.generators import (
    closed_loop,
    h2load,
    read_h2load,
    read_log,
    read_wrk,
)
from loadtest.experiment.measure.sample_server import Outcome, SampleServer
from loadtest.system import MeasurementError
from tests.support import hostile_arms

# h2load 1.52 with 8 connections, without most of its progress.
CORRECT = """\
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 800.13ms, 79402.00 req/s, 11.13MB/s
requests: 39701 total, 39701 started, 39701 done, 39701 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 39701 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 5.57MB (5836047) total, 6.08MB (6375105) headers (space savings 0.00%), 817.51KB (837135) data
                     min         max         mean         sd        +/- sd
time for request:       38us      1.22ms        99us        34us    91.51%
time for connect:        0us         0us         0us         0us     0.00%
time to 1st byte:        0us         0us         0us         0us     0.00%
req/s           :    9891.10     9972.70     9922.86       24.85    75.00%
"""  # noqa: E501

NOT_FOUND = """
finished in 500.23ms, 43853.33 req/s, 6.86MB/s
requests: 13156 total, 13156 started, 13156 done, 0 succeeded, 13156 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 13156 4xx, 0 5xx
traffic: 2.06MB (2157584) total, 2.03MB (2130876) headers (space savings 0.00%), 483.45KB (495052) data
time for request:       30us      2.76ms        90us        57us    98.24%
req/s           :   10943.25    10977.14    10957.08       16.63    75.00%
"""  # noqa: E501

# No server listened; half a response to each, or none in the window, looks the same.
NOTHING = """
finished in 701.44ms, 0.00 req/s, 0B/s
requests: 0 total, 0 started, 0 done, 0 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
                     min         max         mean         sd        +/- sd
time for request:        0us         0us         0us         0us     0.00%
req/s           :       0.00        0.00        0.00        0.00   100.00%
"""

# The server has reset 6 of 8 connections, which are not even mentioned.
SIX_LOST = """
finished in 700.24ms, 55470.00 req/s, 2.27MB/s
requests: 27735 total, 27735 started, 27735 done, 27735 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 27735 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.14MB (1192605) total, 580.22KB (594150) headers (space savings 0.00%), 193.41KB (198050) data
req/s           :   27535.39    27912.68    27724.04      266.79   100.00%
"""  # noqa: E501

# The server has kept 6 of 8 connections without a response.
SIX_STARVED = """
finished in 700.22ms, 32496.00 req/s, 1.33MB/s
requests: 16248 total, 16248 started, 16248 done, 16248 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 16248 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 682.29KB (698664) total, 341.82KB (350025) headers (space savings 0.00%), 113.94KB (116675) data
req/s           :       0.00    16253.20     4060.83     7519.21    75.00%
"""  # noqa: E501


def test_h2load_of_a_good_run() -> None:
    values = read_h2load(CORRECT, 0.5, 8)
    assert values.pop("jain") == pytest.approx(1 / (1 + (24.85 / 9922.86) ** 2))
    assert values == {
        "requests": 39701,
        "errors": 0,
        "rate": 79402,
        "bytes_rate": pytest.approx(837135 / 0.80013),  # bodies alone, with those of the warm-up
        "connections": 8,
        "served": 1,
    }


@pytest.mark.parametrize(("printed", "seconds"), [("63.05s", 63.05), ("800.13ms", 0.80013)])
def test_bytes_are_those_of_the_warm_up_as_well(printed: str, seconds: float) -> None:
    """13 bytes in each response of 800 ms: h2load counts responses in the last 500 ms only."""
    values = read_h2load(CORRECT.replace("800.13ms", printed), 0.5, 8)
    assert values["bytes_rate"] == pytest.approx(837135 / seconds)
    if printed == "800.13ms":
        assert values["bytes_rate"] == pytest.approx(13 * values["rate"], rel=0.02)


def test_jain_from_mean_and_deviation_by_hand() -> None:
    """Rates 1, 2 and 3: (1+2+3)^2 / (3 * 14); their deviation is the root of 2/3."""
    text = CORRECT.replace("79402.00", "6.00")
    text = text.replace("9891.10     9972.70     9922.86       24.85", "1.00 3.00 2.00 0.8164966")
    assert read_h2load(text, 0.5, 3)["jain"] == pytest.approx(36 / 42)


def test_wrong_responses_are_errors_once_each() -> None:
    values = read_h2load(NOT_FOUND, 0.3, 4)
    assert values["requests"] == values["rate"] == 0
    assert values["errors"] == 13156
    # h2load counts a timeout among the errors, and these among the failures.
    text = NOT_FOUND.replace("0 errored, 0 timeout", "60 errored, 20 timeout")
    assert read_h2load(text, 0.3, 4)["errors"] == 13156


def test_failures_without_a_response_are_errors() -> None:
    old = "39701 done, 39701 succeeded, 0 failed, 0 errored"
    text = CORRECT.replace(old, "39701 done, 39701 succeeded, 8 failed, 8 errored")
    values = read_h2load(text, 0.5, 8)
    assert values["errors"] == 8
    assert values["requests"] == 39701


def test_without_requests_the_served_share_is_zero() -> None:
    values = read_h2load(NOTHING, 0.5, 4)
    assert values["requests"] == values["rate"] == values["bytes_rate"] == 0
    assert values["served"] == values["jain"] == 0


def test_lost_connections_are_found_although_h2load_keeps_silent_about_them() -> None:
    values = read_h2load(SIX_LOST, 0.5, 8)
    assert values["refused"] == 6
    assert values["jain"] == pytest.approx(2 / 8, abs=0.001)  # two of eight got all
    assert "served" not in values, "they may have been served before they were lost"


def test_starved_connections_are_not_served() -> None:
    values = read_h2load(SIX_STARVED, 0.5, 8)
    assert "refused" not in values
    assert "served" not in values, "it is known that not all were, not how many"
    # The deviation is that of a sample (n - 1), so that few connections look less fair.
    assert 0.2 < values["jain"] < 0.26


@pytest.mark.parametrize(("mean", "total"), [("1.00", "10040.00"), ("0.33", "3341.00")])
def test_two_decimals_make_no_lost_connections(mean: str, total: str) -> None:
    """10,000 connections with a mean that was rounded down or up."""
    old = "79402.00", "9891.10     9972.70     9922.86       24.85"
    text = CORRECT.replace(old[0], total).replace(old[1], f"0.20 3.00 {mean} 0.30")
    assert "refused" not in read_h2load(text, 0.5, 10_000)
    text = text.replace(total, f"{float(mean) * 9700:.2f}")
    assert read_h2load(text, 0.5, 10_000)["refused"] == pytest.approx(300, abs=1)


def test_a_rate_too_small_for_two_decimals_says_nothing_of_fairness() -> None:
    text = NOTHING.replace("701.44ms, 0.00", "701.44ms, 3.00")
    assert not {"served", "jain", "refused"} & read_h2load(text, 0.5, 4).keys()


@pytest.mark.parametrize(
    "text", ["", "h2load: segmentation\n fault", CORRECT.partition("requests:")[0]]
)
def test_h2load_of_something_else(text: str) -> None:
    with pytest.raises(MeasurementError, match="h2load printed") as raised:
        read_h2load(text, 1.0, 8)
    assert " ".join(text.split())[-20:] in str(raised.value)
    assert len(str(raised.value)) < 300


def test_the_log_of_h2load(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "1795658023098921\t200\t147\n1795658023099001\t200\t2000000\n"
        "1795658023809598\t404\t129\n1795658023809598\t-1\t5\n1795658023809598\t0\t147\n"
    )
    histogram = read_log(path)
    assert histogram.count == 3, "what failed has no latency; a status of 0 came earlier"
    assert histogram.longest == 2.0
    assert histogram.percentile(0.5) == pytest.approx(147e-6, rel=0.03)
    path.write_text("")
    assert read_log(path).count == 0


def test_a_log_that_is_cut_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1795658023098921\t200\t147\n17956580")
    with pytest.raises(MeasurementError, match="17956580"):
        read_log(path)
    with pytest.raises(MeasurementError, match="log"):
        read_log(tmp_path / "nothing")


# ---------------------------------------------------------------------------------- wrk

WRK = """\
Running 1s test @ http://127.0.0.1:18931/hello
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   158.08us  139.92us   3.35ms   95.14%
    Req/Sec    18.47k   409.04    18.81k    90.00%
  18360 requests in 1.00s, 2.91MB read
Requests/sec:  18352.02
Transfer/sec:      2.91MB
latencies 33:3 34:6 131:157 940:1 2021:1 3349:2
"""
WRK_NOT_FOUND = """\
  17692 requests in 1.10s, 3.09MB read
  Non-2xx or 3xx responses: 17692
Requests/sec:  16086.11
latencies 38:1 42:1 45:3
"""
WRK_RESET = """\
    Latency     0.00us    0.00us   0.00us    -nan%
  0 requests in 2.05s, 0.00B read
  Socket errors: connect 3, read 41398, write 2, timeout 7
Requests/sec:      0.00
latencies \n"""


def test_wrk_of_a_good_run() -> None:
    outcome = read_wrk(WRK, ["wrk"], 1.25)
    assert outcome.values == {"requests": 18360, "errors": 0, "refused": 0, "rate": 18360 / 1.25}
    assert outcome.seconds == 1.25
    service = outcome.latencies["service"]
    assert service.count == 3 + 6 + 157 + 1 + 1 + 2
    assert service.longest == 0.003349
    assert service.percentile(0.5) == pytest.approx(131e-6, rel=0.03)


def test_wrk_with_wrong_responses() -> None:
    outcome = read_wrk(WRK_NOT_FOUND, ["wrk"], 1.1)
    assert outcome.values == {"requests": 0, "errors": 17692, "refused": 0, "rate": 0}


def test_wrk_of_nothing_but_resets() -> None:
    outcome = read_wrk(WRK_RESET, ["wrk"], 2.0)
    assert outcome.values == {"requests": 0, "errors": 41398 + 2 + 7, "refused": 3, "rate": 0}
    assert outcome.latencies["service"].count == 0


@pytest.mark.parametrize("text", ["", "Usage: wrk <options>", WRK.partition("latencies")[0]])
def test_wrk_of_something_else(text: str) -> None:
    with pytest.raises(MeasurementError, match="wrk printed") as raised:
        read_wrk(text, ["wrk"], 1.0)
    assert " ".join(text.split())[-20:] in str(raised.value)


# ---------------------------------------------------------------------------------- which one


@pytest.fixture
def server(tmp_path: Path) -> SampleServer:
    return SampleServer(1, 1, tmp_path, 1.0, 0.0)


def which_of(*programs: str) -> object:
    return lambda program: f"/bin/{program}" if program in programs else None


@pytest.mark.parametrize(
    ("installed", "closing", "depth", "chosen"),
    [
        (("h2load", "wrk", "stdbuf"), False, 1, "h2load"),
        (("h2load", "wrk", "stdbuf"), False, 16, "h2load"),
        (("h2load", "wrk", "stdbuf"), True, 1, "wrk_closing"),
        (("h2load", "wrk"), False, 1, "own_client"),  # without stdbuf its lines come too late
        (("h2load", "stdbuf"), True, 1, "own_client"),
        (("wrk",), False, 1, "own_client"),
        ((), True, 1, "own_client"),
    ],
)
def test_which_generator(
    installed: tuple[str, ...],
    closing: bool,
    depth: int,
    chosen: str,
    server: SampleServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []

    def note(name: str, *_: object) -> Outcome:
        called.append(name)
        return Outcome(1.0, [name])

    for name in ("h2load", "wrk_closing", "own_client"):
        monkeypatch.setattr(generators, name, partial(note, name))
    monkeypatch.setattr(shutil, "which", which_of(*installed))
    closed_loop(server, "/hello", 4, closing=closing, depth=depth)
    assert called == [chosen]


def test_very_many_connections_are_our_clients(
    server: SampleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h2load does not always end then."""
    monkeypatch.setattr(shutil, "which", which_of("h2load", "wrk", "stdbuf"))
    monkeypatch.setattr(generators, "own_client", lambda *_: Outcome(1.0, ["ours"]))
    monkeypatch.setattr(generators, "h2load", lambda *_: Outcome(1.0, ["h2load"]))
    most = generators.MANY_CONNECTIONS
    assert closed_loop(server, "/hello", most).generator == ["ours"]
    assert closed_loop(server, "/hello", most - 1).generator == ["h2load"]


def test_only_h2load_pipelines(server: SampleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", which_of("wrk"))
    with pytest.raises(MeasurementError, match="pipelining needs h2load"):
        closed_loop(server, "/hello", 4, depth=2)


@pytest.mark.system
def test_its_last_output_is_in_the_error(
    server: SampleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h2load and wrk, as a program that complains: the complaint is the reason."""
    bad = "#!/bin/sh\necho 'unable to connect to 127.0.0.1:9 Connection refused' >&2\nexit 1\n"
    for name in ("h2load", "wrk"):
        (tmp_path / name).write_text(bad)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MeasurementError, match="wrk printed: unable to connect"):
        generators.wrk_closing(server, "/hello", 4)
    if not shutil.which("stdbuf"):
        pytest.skip("no stdbuf")
    with pytest.raises(MeasurementError, match=r"h2load: expected a line with.*unable to connect"):
        h2load(server, "/hello", 4, 1, ())


@pytest.mark.system
@pytest.mark.skipif(not (shutil.which("h2load") and shutil.which("stdbuf")), reason="no h2load")
def test_the_h2load_that_is_installed_says_what_we_read(tmp_path: Path) -> None:
    with hostile_arms.reactor(tmp_path) as (pid, port):
        outcome = h2load(SampleServer(pid, port, tmp_path, 0.3, 0.0), "/hello", 4, 2, ("x: y",))
    assert outcome.values["requests"] > 0
    assert outcome.values["errors"] == 0
    assert outcome.values["served"] == 1.0
    assert outcome.values["cpu_us"] > 0
    assert "refused" not in outcome.values
    assert outcome.latencies["service"].count == outcome.values["requests"]
    assert {"-H", "x: y", "-c4", "-m2"} <= set(outcome.generator)


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("wrk"), reason="no wrk")
def test_the_wrk_that_is_installed_says_what_we_read(tmp_path: Path) -> None:
    with hostile_arms.reactor(tmp_path) as (pid, port):
        outcome = generators.wrk_closing(SampleServer(pid, port, tmp_path, 1.0, 0.0), "/hello", 4)
    assert outcome.values["requests"] > 0
    assert outcome.values["errors"] == outcome.values["refused"] == 0
    assert outcome.latencies["service"].count >= outcome.values["requests"]
    assert 0 < outcome.values["generator_share"] < 1.5, "its CPU time is read when it has ended"


def test_a_browsers_head_is_of_a_browsers_size() -> None:
    head = "".join(f"{field}\r\n" for field in generators.BROWSER)
    assert 350 < len(head) < 700
    assert system.PROJECT in generators.SCRIPT.parents
    assert generators.SCRIPT.is_file()
