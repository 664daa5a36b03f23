"""Who is measured: ours, the threads that it replaces, and others where they are installed.

Those of ours are one program but for who waits: the same application, directory, options, log and
protocol code. They can do every workload. Where threads share the processor with one that computes
they are there a second time, with a switch interval that serves them better. The peers answer
/hello and /pid and nothing else, so they are only in the cells that need no more.

An arm is a command. It listens at the port that it is given, and what it writes goes to a folder of
its own, which is gone with it.
"""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from loadtest.apps.peers import BODY
from loadtest.benchmarks.peers import NGINX_FRAME, nginx_at, nginx_program
from loadtest.experiment.measure.samples import OURS, POOL, POOL_THREADS, THREADS

QUICK_SWITCH: Final = 0.0005  # seconds: what the reactor sets for itself
QUICK_THREADS: Final = f"threads-{QUICK_SWITCH * 1000:g}ms"
PEERS: Final = ("nginx", "uvicorn", "tornado", "waitress", "http.server")

_LOCATIONS: Final = """
        listen 127.0.0.1:{port} backlog=4096;
        location = /pid {{ return 200 "$pid"; }}
        location / {{ return 200 "{body}"; }}
"""
_NGINX: Final = (
    NGINX_FRAME.replace("listen 127.0.0.1:{port};", "")
    .replace("@LOCATION@", _LOCATIONS)
    .replace("worker_connections 1024", "worker_connections 20000")
)


class Arm(NamedTuple):
    """A server; `command` is of a port, the folder of files, and a folder for what it writes."""

    name: str
    command: Callable[[int, Path, Path], list[str]]
    missing: Callable[[], str] = lambda: ""  # what is not installed; "" where all is


def _ours(*module: str) -> Callable[[int, Path, Path], list[str]]:
    def command(port: int, files: Path, folder: Path) -> list[str]:
        logs = ["--access-log", str(folder / "access.log"), "--error-log", str(folder / "log")]
        served = ["loadtest.apps.target:app", "--directory", str(files), "--port", str(port)]
        return [sys.executable, "-m", *module, *served, *logs]

    return command


def _nginx(port: int, files: Path, folder: Path) -> list[str]:
    text = _NGINX.format(folder=folder, port=port, body=BODY.decode())
    return nginx_at(folder, text)


def _uvicorn(port: int, files: Path, folder: Path) -> list[str]:
    module = [sys.executable, "-m", "uvicorn", "loadtest.apps.peers:asgi", "--port", str(port)]
    parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--backlog", "4096"]
    return [*module, *parts, "--no-access-log", "--log-level", "warning"]


def _peer(name: str) -> Callable[[int, Path, Path], list[str]]:
    def command(port: int, files: Path, folder: Path) -> list[str]:
        return [sys.executable, "-m", "loadtest.apps.peers", name, "--port", str(port)]

    return command


def _packages(*names: str) -> Callable[[], str]:
    def missing() -> str:
        return ", ".join(name for name in names if importlib.util.find_spec(name) is None)

    return missing


def _no_nginx() -> str:
    return "" if nginx_program() else "nginx"


ARMS: Final = {
    arm.name: arm
    for arm in (
        Arm(OURS, _ours("reactor")),
        Arm(THREADS, _ours("loadtest.threaded", "--model", "each")),
        Arm(
            QUICK_THREADS,
            _ours("loadtest.threaded", "--model", "each", "--switch-interval", f"{QUICK_SWITCH:g}"),
        ),
        Arm(POOL, _ours("loadtest.threaded", "--model", "pool", "--threads", str(POOL_THREADS))),
        Arm("nginx", _nginx, _no_nginx),
        Arm("uvicorn", _uvicorn, _packages("uvicorn", "httptools", "uvloop")),
        Arm("tornado", _peer("tornado"), _packages("tornado")),
        Arm("waitress", _peer("waitress"), _packages("waitress")),
        Arm("http.server", _peer("http.server")),
    )
}


def versions(names: set[str]) -> dict[str, str]:
    """Of the peers among these that are installed, and of the generators."""
    found = {"python": sys.version.split()[0]}
    for name in names & {"uvicorn", "tornado", "waitress"} | {"locust"}:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, command in (
        ("nginx", [nginx_program() or "nginx", "-v"]),
        ("h2load", ["h2load", "--version"]),
        ("wrk", ["wrk", "-v"]),
    ):
        if version := _said_version(command):
            found[name] = version
    return dict(sorted(found.items()))


def _said_version(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    found = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else ""
