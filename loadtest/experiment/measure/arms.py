"""The servers that are compared: the reactor, threads in its place, and other servers.

The reactor and the threaded servers are the same program except for how they wait: the same
application, directory, options, log and protocol code. They can do every workload. Where threads
share the processor with one that computes, the threads are measured a second time, with a shorter
switch interval that serves them better. The peers serve /hello and /pid alone, so they are only in
the cells that need no more, and only where they are installed.

An arm is a command line. The server listens at the port that it is given, and writes into a
directory of its own, which is removed afterwards.
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

QUICK_SWITCH: Final = 0.0005  # seconds; the reactor uses the same
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
    """A server.

    `command` takes a port, the directory of files to serve, and a directory for logs. `missing`
    returns the names of what is not installed, "" where everything is.
    """

    name: str
    command: Callable[[int, Path, Path], list[str]]
    missing: Callable[[], str] = lambda: ""


def _ours(*module: str) -> Callable[[int, Path, Path], list[str]]:
    def command(port: int, files: Path, workdir: Path) -> list[str]:
        logs = ["--access-log", str(workdir / "access.log"), "--error-log", str(workdir / "log")]
        served = ["loadtest.apps.target:app", "--directory", str(files), "--port", str(port)]
        return [sys.executable, "-m", *module, *served, *logs]

    return command


def _nginx(port: int, files: Path, workdir: Path) -> list[str]:
    text = _NGINX.format(workdir=workdir, port=port, body=BODY.decode())
    return nginx_at(workdir, text)


def _uvicorn(port: int, files: Path, workdir: Path) -> list[str]:
    module = [sys.executable, "-m", "uvicorn", "loadtest.apps.peers:asgi", "--port", str(port)]
    parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--backlog", "4096"]
    return [*module, *parts, "--no-access-log", "--log-level", "warning"]


def _peer(name: str) -> Callable[[int, Path, Path], list[str]]:
    def command(port: int, files: Path, workdir: Path) -> list[str]:
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
    """The versions of Python, of the named peers that are installed, and of the generators."""
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
        if version := _printed_version(command):
            found[name] = version
    return dict(sorted(found.items()))


def _printed_version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    found = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else ""
