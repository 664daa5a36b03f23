"""The test of the harness: it fails when it should, and reads what others print."""

from pathlib import Path

import pytest

from loadtest.experiment import selftest
from loadtest.experiment.selftest import PEERS, Row, failures
from loadtest.system import MeasurementError

WRK = """\
Running 20s test @ http://127.0.0.1:8000/hello
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    47.55ms  203.66ms   2.00s    94.68%
    Req/Sec    13.98k     3.66k   22.12k    85.33%
  Latency Distribution
     50%  132.00us
     75%  150.00us
     90%  450.00us
     99%    1.13ms
  250420 requests in 20.00s, 41.79MB read
Requests/sec:  12520.60
"""

HEY = """\
Summary:
  Total:	20.0009 secs
  Slowest:	2.0012 secs
Latency distribution:
  10%% in 0.0001 secs
  50%% in 0.0002 secs
  99%% in 0.0011 secs

Status code distribution:
  [200]	150000 responses
"""

LOCUST = """\
Type,Name,Request Count,Failure Count,50%,99%,100%
GET,/hello,18383,0,0,8,1000
,Aggregated,18383,0,1,8,1000
"""


def test_a_tool_that_does_not_notice_fails() -> None:
    nan = float("nan")
    rows = [
        Row("blind", "since it was sent", 1000, 0.001, 1.49, 2.0, must_notice=True),
        Row("keen", "since it was due", 1000, 0.001, 1.5, 2.0, must_notice=True),
        Row("closed", "since it was sent", 1000, 0.001, 0.001, 2.0),
        Row("nothing", "since it was due", 0, nan, nan, nan, must_notice=True),
    ]
    first, second = failures(rows, 2.0)
    assert first.startswith("blind measured a p99 of 1.490 s")
    assert second.startswith("nothing")


def test_output_of_other_tools_is_read(tmp_path: Path) -> None:
    assert selftest.read_wrk(WRK, tmp_path)[2:6] == pytest.approx((250420, 132e-6, 1.13e-3, 2.0))
    assert selftest.read_hey(HEY, tmp_path)[2:6] == (150000, 0.0002, 0.0011, 2.0012)
    (tmp_path / "stats_stats.csv").write_text(LOCUST)
    assert selftest.read_locust("", tmp_path)[2:6] == (18383, 0.001, 0.008, 1.0)
    lines = "".join(f"1700000000\t200\t{number}\n" for number in range(1, 101))
    (tmp_path / "requests").write_text(lines)
    assert selftest.read_h2load("", tmp_path)[2:6] == pytest.approx((100, 50e-6, 99e-6, 1e-4))


def test_unreadable_output_is_an_error(tmp_path: Path) -> None:
    for read in (selftest.read_wrk, selftest.read_hey):
        with pytest.raises(MeasurementError, match="unable to connect"):
            read("unable to connect", tmp_path)


@pytest.mark.system
def test_ours_notice_and_a_closed_loop_does_not() -> None:
    rows = selftest.measured(
        2, 0.5, [peer for peer in PEERS if peer.name == "loadtest.clients.closed_loop"]
    )
    assert failures(rows, 0.5) == []
    due, _, bystander, closed = rows
    assert 0.375 <= due.p99 <= due.longest
    assert bystander.p99 >= 0.375
    assert closed.p99 < 0.2
    assert closed.longest >= 0.375
    assert selftest.as_table(rows).count("\n") == 5
