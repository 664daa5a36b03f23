"""An application's functions of start and end, in every way that serves it, as processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT

pytestmark = pytest.mark.system

APPLICATION = """
    import os, sys, time
    from reactor import Application, serve, sleep

    app, inner = Application(), Application()
    app.mount("/inner", inner)

    def say(text):
        with open(sys.path[0] + "/diary" if "__file__" not in globals() else
                  os.path.dirname(os.path.abspath(__file__)) + "/diary", "a") as diary:
            diary.write(f"{VERSION} {text}\\n")

    VERSION = "one"

    @app.on_start
    async def start():
        await sleep(0.05)
        say("start")

    @app.on_stop
    async def stop():
        await sleep(0.05)
        say("stop")

    @inner.on_start
    def start_inner():
        say("inner start")

    @app.every(0.02)
    def tick():
        app.state["ticks"] = app.state.get("ticks", 0) + 1

    @app.get("/")
    def root(request):
        request.after(later)
        return VERSION

    @app.get("/ticks")
    async def ticks(request):
        while app.state.get("ticks", 0) < 2:
            await sleep(0.01)
        return "ticked"

    async def later():
        await sleep(0.3)
        say("after")
"""

FAILING = """
    from reactor import Application
    app = Application()

    @app.on_start
    def first():
        print("first")

    @app.on_stop
    def undo():
        print("undone", flush=True)

    @app.on_start
    async def connect():
        raise ConnectionRefusedError("no database at db:5432")
"""

HANGING = """
    import sys
    from reactor import Application, sleep
    app = Application()

    @app.on_start
    def first():
        sys.stderr.write("http://127.0.0.1:1/\\n")  # the line that Program waits for
        sys.stderr.flush()

    @app.on_stop
    def undo():
        print("undone", flush=True)

    @app.on_start
    async def connect():
        await sleep(1000)
"""

WAYS = {
    "command line": ["-m", "reactor", "app:app", "--port", "0"],
    "with a directory": ["-m", "reactor", "app:app", "--port", "0", "--directory", "."],
    "with health": ["-m", "reactor", "app:app", "--port", "0", "--health"],
    "with hosts": ["-m", "reactor", "app:app", "--port", "0", "--allowed-hosts", "127.0.0.1"],
    "serve": ["-c", "import app; app.serve(app.app, port=0)"],
    "twin, each": ["-m", "loadtest.threaded", "--model", "each", "app:app", "--port", "0"],
    "twin, pool": ["-m", "loadtest.threaded", "--model", "pool", "app:app", "--port", "0"],
}

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    programs: list[Program] = []

    def start_one(arguments: list[str], text: str = APPLICATION) -> Program:
        (tmp_path / "app.py").write_text(textwrap.dedent(text))
        programs.append(Program(arguments, cwd=tmp_path, env=environment()))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def diary(tmp_path: Path) -> list[str]:
    path = tmp_path / "diary"
    return path.read_text().splitlines() if path.exists() else []


def ask(program: Program, target: str = "/") -> bytes:
    with program.connect() as client:
        return client.ask(target).body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_serve_calls_them(
    start: Start, tmp_path: Path, way: str, number: signal.Signals
) -> None:
    if number is signal.SIGHUP and "twin" in way:
        pytest.skip("the twin leaves SIGHUP alone")
    if number is signal.SIGINT and way not in ("command line", "serve", "twin, each"):
        pytest.skip("as with SIGTERM")
    program = start(WAYS[way])
    assert diary(tmp_path) == ["one inner start", "one start"]
    assert ask(program) == b"one"
    assert ask(program, "/ticks") == b"ticked"
    program.signal(number)
    status, _ = program.wait()
    assert (status, program.error_log().count("Traceback")) == (0, 0)
    assert diary(tmp_path)[2:] == ["one after", "one stop"]


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_start_is_a_sentence_and_a_status(tmp_path: Path, way: str) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(FAILING))
    arguments = WAYS[way]
    if way == "serve":
        code = "import app; from reactor import serve; serve(app.app, port=0)"
        arguments = ["-c", code]
    done = run(arguments, tmp_path)
    line = "connect (" + str(tmp_path / "app.py") + ", line 15) failed: ConnectionRefusedError: "
    assert f"The application cannot start: {line}no database at db:5432\n" in done.stderr
    assert done.stdout == "first\nundone\n"
    if way == "serve":  # an exception of the program's own
        assert done.returncode == 1
        assert "reactor.server.lifecycle.StartHookError" in done.stderr
    else:
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert "http://" not in done.stderr, "it does not claim to serve"


def run(arguments: list[str], directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_signal_during_the_start_ends_it_in_order(start: Start, way: str) -> None:
    arguments = WAYS[way]
    if way == "serve":
        arguments = ["-c", "import app; from reactor import serve; serve(app.app, port=0)"]
    program = start(arguments, HANGING)
    program.signal()
    assert program.wait()[0] == 0
    assert program.process.stdout is not None
    assert program.process.stdout.read() == "undone\n"
    assert "Traceback" not in program.error_log()


def test_the_demo_takes_part(tmp_path: Path) -> None:
    """`python -m handlers` runs the same command line: a start that fails is its exit status."""
    (tmp_path / "app.py").write_text(textwrap.dedent(FAILING))
    code = """
        import sys
        import app, handlers
        handlers.app._steps.extend(app.app._steps)
        from handlers.__main__ import main
        sys.exit(main(["handlers:app", "--port", "0"]))
    """
    done = run(["-c", textwrap.dedent(code)], tmp_path)
    assert (done.returncode, done.stdout) == (3, "first\nundone\n")


def test_reload_stops_the_version_that_is_replaced(start: Start, tmp_path: Path) -> None:
    program = start([*WAYS["command line"], "--reload"])
    assert ask(program) == b"one"
    text = textwrap.dedent(APPLICATION).replace('VERSION = "one"', 'VERSION = "two, longer"')
    (tmp_path / "new").write_text(text)
    (tmp_path / "new").rename(tmp_path / "app.py")
    wait_until(lambda: "one stop" in diary(tmp_path))
    assert ask(program) == b"two, longer"
    seen = diary(tmp_path)
    assert seen.index("two, longer start") < seen.index("one stop"), "the new one serves first"
    assert seen.index("one after") < seen.index("one stop")
    program.signal()
    assert program.wait()[0] == 0
    assert diary(tmp_path)[-2:] == ["two, longer after", "two, longer stop"]


def test_reload_keeps_the_version_before_one_that_cannot_start(
    start: Start, tmp_path: Path
) -> None:
    program = start([*WAYS["command line"], "--reload"])
    (tmp_path / "new").write_text(textwrap.dedent(FAILING))
    (tmp_path / "new").rename(tmp_path / "app.py")
    lines = []
    assert program.process.stderr is not None
    for line in program.process.stderr:
        lines.append(line)
        if "The previous version goes on serving" in line:
            break
    text = "".join(lines)
    assert "The application cannot start: connect (" in text
    assert 'raise ConnectionRefusedError("no database at db:5432")' in text
    assert "lifecycle.py" not in text, "the way through the application alone"
    assert ask(program) == b"one"
    program.signal()
    assert program.wait()[0] == 0
    assert diary(tmp_path)[-1] == "one stop"


def wait_until(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
