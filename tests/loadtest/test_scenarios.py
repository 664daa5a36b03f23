"""locust on our scenarios: every class of users, limits, tags, shapes, several processes."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from csv import DictReader
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from loadtest import system
from loadtest.scenarios import run
from loadtest.scenarios.load_stages import STAGES, duration, share_at
from tests.support.locust_process import PATIENCE, Run, Target, locust, python, target

pytestmark = pytest.mark.system

LATE = "EVENT /events (late by)"
ROWS = {
    "Hello": {"GET /hello"},
    "Browser": {
        *("GET /page", "GET /text", "GET /files/1k.bin", "GET /files/100k.bin"),
        *("GET /files/1k.bin again", "GET /files/100k.bin again"),
    },
    "Uploader": {"POST /upload"},
    "SlowReader": {"GET /mib (until it began)"},
    "EventListener": {"EVENT /events (first)", LATE},
    "Blocking": {"GET /block"},
    "Burning": {"GET /burn"},
}
LOADS = ("users-steps", "open-100")  # the loads of the bench
ALL_ROWS = {row for rows in ROWS.values() for row in rows}


# Runs on the real server: the options of locust. They mostly wait, so some run at the same time.
RUNS = {
    "all": (
        *("-u", "20", "-r", "20", "-t", "5s", "--csv", "csv", "--html", "page.html"),
        *("--outcome", "outcome.json"),
    ),
    "processes": (
        *("Hello", "-u", "6", "-r", "9", "-t", "8s", "--processes", "2"),
        *("--outcome", "outcome.json", "--csv", "csv"),
    ),
    "shape": ("Hello", "-u", "20", "-r", "100", "--shape", "spike", "--shape-speed", "40"),
    "late": ("Blocking", "-u", "2", "-r", "9", "-t", "2s", "--most-p99", "0.000001"),
    "right": ("Blocking", "-u", "2", "-r", "9", "-t", "2s", *("--most-failures", "0")),
    "tags": ("-u", "8", "-r", "9", "-t", "2s", "--tags", "upload", "hello"),
    "other tags": (
        *("-u", "8", "-r", "9", "-t", "2s"),
        *("--exclude-tags", "held", "browse", "quick", "upload"),
    ),
    "no such tag": ("-t", "2s", "--tags", "nonsense"),
}
AT_A_TIME = 5
PATIENT = ("--most-p99", "30")  # a busy machine does not fail the test


class Begun:
    """Runs that have begun, and wait to be asked for; each has a directory of its own."""

    def __init__(self, port: int, directory: Path, pool: ThreadPoolExecutor) -> None:
        self.directory = directory
        self._futures: dict[str, Future[Run]] = {}
        for name, options in RUNS.items():
            (directory / name).mkdir()
            limit = () if "--most-p99" in options else PATIENT
            self._futures[name] = pool.submit(locust, port, directory / name, *options, *limit)
        for name in ("master", "bench"):
            (directory / name).mkdir()
        self.master = pool.submit(master_and_worker, port, directory / "master")
        self.bench = pool.submit(bench, directory / "bench")

    def __getitem__(self, name: str) -> Run:
        return self._futures[name].result()

    def outcome(self, name: str) -> run.RunOutcome:
        return run.read(self.directory / name / "outcome.json")


def master_and_worker(port: int, directory: Path) -> tuple[Run, Run]:
    """As on two machines: the worker is started with nothing but its master's address."""
    meeting = str(system.free_port())
    here = ["--master-bind-host", system.ADDRESS, "--master-bind-port", meeting]
    there = ["--master-host", system.ADDRESS, "--master-port", meeting]
    file = str(system.PROJECT / "loadtest" / "locustfile.py")
    with subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", file, "--worker", *there],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        options = ["--master", *here, "--expect-workers", "1", "--outcome", "outcome.json"]
        options += ["--open-seconds", "2", "--rate", "100", "--most-p99", "0.000001"]
        done = locust(port, directory, "OpenLoop", "-u", "1", "-r", "1", "-t", "4s", *options)
        said, _ = worker.communicate(timeout=PATIENCE)
    return done, Run(worker.returncode, said, {})


def bench(directory: Path) -> "subprocess.CompletedProcess[str]":
    loads = ["--servers", "reactor", "--rates", "100", "--seconds", "1", "--shape-seconds", "1"]
    options = [*PATIENT, "--users", "10", "--report", str(directory)]
    return subprocess.run(
        [sys.executable, "-m", "loadtest.scenarios.bench", *loads, *options],
        cwd=system.PROJECT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("target")) as started:
        yield started


@pytest.fixture(scope="module")
def runs(server: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield Begun(server.port, tmp_path_factory.mktemp("runs"), pool)


class Liar(BaseHTTPRequestHandler):
    """Sends the same short text for every request, never the requested one."""

    protocol_version = "HTTP/1.1"
    status = 200

    def do_GET(self) -> None:  # http.server's name
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b"data: 7 times well\n\n" if self.path == "/events" else b"All is well.\n"
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"well"')
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[int]:
    with ThreadingHTTPServer((system.ADDRESS, 0), Liar) as lying:
        thread = threading.Thread(target=lying.serve_forever, args=(0.05,))
        thread.start()
        yield lying.server_port
        lying.shutdown()
        thread.join()


def test_all_users_get_correct_responses(runs: Begun) -> None:
    done = runs["all"]
    assert done.status == 0, done.said
    assert set(done.rows) == ALL_ROWS
    assert done.failures == 0, done.said
    assert all(row["num_requests"] for row in done.rows.values())
    outcome = runs.outcome("all")
    assert outcome.requests == outcome.service.count == outcome.sent == done.requests
    assert "Aggregated" in (runs.directory / "all" / "csv_stats.csv").read_text()
    assert "<html" in (runs.directory / "all" / "page.html").read_text()


@pytest.mark.parametrize("status", [200, 500, 503])
def test_no_user_takes_a_wrong_response_for_a_correct_one(
    status: int, liar: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Liar, "status", status)
    result = ["-u", "20", "-r", "20", "-t", "2s", "--outcome", str(tmp_path / "outcome.json")]
    done = locust(liar, tmp_path, *result)
    assert done.status == 1
    assert set(done.rows) >= {row for row in ALL_ROWS if "again" not in row} - {LATE}
    for name, row in done.rows.items():
        assert row["num_failures"] == row["num_requests"] > 0, name
    outcome = run.read(tmp_path / "outcome.json")
    assert (outcome.refused, outcome.errors) == (
        (done.requests, 0) if status == 503 else (0, done.requests)
    )


def test_an_open_loop_does_not_begin_on_a_server_without_the_files(
    liar: int, tmp_path: Path
) -> None:
    done = locust(liar, tmp_path, *run.open_loop(50, 1))
    assert (done.status, done.requests) == (1, 0)
    assert "13 bytes instead of 1024" in done.said


def test_the_exit_status_is_that_of_the_limits(runs: Begun) -> None:
    late, right = runs["late"], runs["right"]
    assert (late.status, late.failures) == (1, 0), late.said
    assert "p99 is" in late.said
    assert (right.status, right.failures) == (0, 0), right.said


def test_refused_connections_break_a_limit_unless_it_allows_them(tmp_path: Path) -> None:
    nobody = system.free_port()
    outcome = tmp_path / "outcome.json"
    users = ["Hello", "-u", "2", "-r", "9", "-t", "1s"]
    done = locust(nobody, tmp_path, *users, "--outcome", str(outcome))
    assert done.status == 1
    assert "100.00% failed" in done.said
    found = run.read(outcome)
    assert (found.requests, found.errors, found.failures) == (0, 0, 1.0)
    assert found.refused == done.failures > 0
    assert locust(nobody, tmp_path, *users, "--most-failures", "1").status == 0


@pytest.mark.parametrize(
    ("name", "users"),
    [("tags", {"Uploader", "Hello"}), ("other tags", {"Blocking", "Burning"})],
)
def test_tags_choose(name: str, users: set[str], runs: Begun) -> None:
    done = runs[name]
    assert done.status == 0, done.said
    assert set(done.rows) == {row for user in users for row in ROWS[user]}


def test_unknown_tags_are_an_error(runs: Begun) -> None:
    done = runs["no such tag"]
    assert done.status == 1
    assert "No user has a task" in done.said
    assert "Traceback" not in done.said


def test_shapes_follow_their_stages() -> None:
    assert [share_at(STAGES["steps"], 30.0 * step + 1) for step in range(5)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0]
    )
    spike = [share_at(STAGES["spike"], at) for at in (0.0, 39.9, 40.0, 59.9, 60.0, 99.9, 100.0)]
    assert spike == [0.1, 0.1, 1.0, 1.0, 0.1, 0.1, None]
    assert [share_at(STAGES["soak"], at) for at in (59.0, 61.0, 3659.0, 3660.0)] == [
        *(0.5, 1.0, 1.0, None)
    ]
    assert [duration(name) for name in ("steps", "spike", "soak")] == [150.0, 100.0, 3660.0]


def test_a_shape_ticks() -> None:
    """Ten times as fast, to a peak of 40; without -u and -r there are defaults."""
    ticks = python(
        """
import json, types
from loadtest.scenarios.shapes import SHAPES

def ticks(name, users, rate):
    shape = SHAPES[name]()
    options = types.SimpleNamespace(num_users=users, spawn_rate=rate, shape_speed=10.0)
    environment = types.SimpleNamespace(parsed_options=options)
    shape.runner = types.SimpleNamespace(environment=environment)
    result = []
    for second in range(12):
        shape.get_run_time = lambda: second + 0.5
        result.append(shape.tick())
    return result

print(json.dumps([ticks("spike", 40, 5.0), ticks("spike", None, None)]))
"""
    )
    assert ticks[0] == [[4, 5.0]] * 4 + [[40, 5.0]] * 2 + [[4, 5.0]] * 4 + [None] * 2
    assert ticks[1][:5] == [[5, 20.0]] * 4 + [[50, 20.0]]


def test_a_shape_runs_and_ends_by_itself(runs: Begun) -> None:
    done = runs["shape"]
    assert done.status == 0, done.said
    counts = [int(count) for count in re.findall(r"\((\d+) total users\)", done.said)]
    assert counts == [2, 20, 2]


def test_several_processes_add_up(runs: Begun) -> None:
    done = runs["processes"]
    assert done.status == 0, done.said
    assert "2 workers connected" in done.said
    assert "Uncaught" not in done.said
    # Each process writes its own statistics as JSON into the same file; the master alone has CSV.
    with (runs.directory / "processes" / "csv_stats.csv").open(newline="") as file:
        count = next(row["Request Count"] for row in DictReader(file) if not row["Type"])
    assert runs.outcome("processes").requests == int(count) > 10


def test_a_master_judges_what_its_worker_did(runs: Begun) -> None:
    done, worker = runs.master.result()
    assert done.status == 1, "the limit is the master's"
    assert worker.status == 0, worker.said
    assert "Uncaught" not in done.said + worker.said
    found = runs.outcome("master")
    assert (found.errors, found.refused) == (0, 0)
    assert found.requests == found.intended.count > 50
    assert found.sent * 2 == done.requests, "each has two rows"


def test_modules_of_this_project_hide_no_other_module() -> None:
    """locust puts loadtest/ on sys.path while it reads its file, and we import by whole names."""
    directory = system.PROJECT / "loadtest"
    ours = {path.stem for path in directory.glob("*.py")} | {
        path.name for path in directory.iterdir() if path.is_dir()
    }
    assert not ours & (set(sys.stdlib_module_names) | set(packages_distributions()))
    loaded = python(
        f"""
import json, sys
import locust
from locust.util.load_locustfile import load_locustfile
users, shapes = load_locustfile({str(directory / "locustfile.py")!r})
ours = [name for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith({str(directory)!r})]
print(json.dumps([locust.__file__, sorted(users), len(shapes), ours]))
"""
    )
    assert "site-packages" in loaded[0]
    assert loaded[1] == sorted([*ROWS, "OpenLoop"])
    assert loaded[2] == 0, "a shape in the file would be used without being asked for"
    assert {name for name in loaded[3] if "." not in name} == {"locustfile", "loadtest"}


def test_locust_stays_out_of_this_process() -> None:
    assert not {"locust", "gevent"} & set(sys.modules)


def test_the_page_comes_with_its_servers_and_goes_with_them() -> None:
    web, first = system.free_port(), 0
    while not first:  # two in a row
        first = system.free_port()
        with socket.socket() as probe:
            first *= probe.connect_ex((system.ADDRESS, first + 1)) != 0
    ports = ["--web-port", str(web), "--first-port", str(first)]
    with subprocess.Popen(
        [sys.executable, "-m", "loadtest.scenarios.web", *ports],
        cwd=system.PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        lines = iter(program.stdout.readline, "")
        said = []
        for line in lines:
            said.append(line)
            if line.startswith("locust"):
                break
        assert f"reactor  http://127.0.0.1:{first}\n" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=PATIENCE) as page:
            text = page.read().decode()
        assert all(word in text for word in ("OpenLoop", "Steps", "Spike", "Soak"))
        program.send_signal(signal.SIGINT)
        assert program.wait(PATIENCE) == 0
    for port in (web, first):
        with socket.socket() as probe:
            assert probe.connect_ex((system.ADDRESS, port)) != 0, "something is left"


def test_the_bench_prints_and_leaves_files(runs: Begun) -> None:
    done = runs.bench.result()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    shape, opened = (next(row for row in rows if row[:1] == [name]) for name in LOADS)
    assert (shape[3], opened[3]) == ("0.00%", "0.00%")
    assert shape[6] == "-"
    assert float(opened[6]) > 0
    assert int(opened[7]) > 0, "CPU time in µs"
    for name in LOADS:
        left = runs.directory / "bench" / f"{name}-reactor"
        assert json.loads(left.with_suffix(".json").read_text())
        assert left.with_suffix(".html").stat().st_size > 1000
        assert left.with_name(f"{left.name}_stats.csv").stat().st_size > 100
