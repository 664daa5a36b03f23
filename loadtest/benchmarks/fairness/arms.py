"""The servers of the benchmark: this checkout, another one, and nginx."""

import random
import sys
from pathlib import Path
from typing import Final, NamedTuple

from loadtest.benchmarks.peers import BODY, NGINX_FRAME, Command, nginx_at, nginx_program
from loadtest.benchmarks.subject import SMALL_TARGET
from loadtest.system import PROJECT

OURS: Final = "reactor"
BEFORE: Final = "before"
PEER: Final = "nginx"
KIB: Final = 1024
MIB: Final = 1024 * KIB
SIZES: Final = {"1m": MIB, "10m": 10 * MIB}

_LOCATIONS: Final = """
        listen 127.0.0.1:{port} backlog=4096;
        sendfile on;
        location = @TARGET@ {{ return 200 "{body}"; }}
        location /files/ {{ alias {directory}/; }}
"""
_NGINX: Final = (
    NGINX_FRAME.replace("listen 127.0.0.1:{port};", "")
    .replace("@LOCATION@", _LOCATIONS.replace("@TARGET@", SMALL_TARGET))
    .replace("worker_connections 1024", "worker_connections 20000")
)


class Arm(NamedTuple):
    """A server: its command line, and the directory in which it starts."""

    name: str
    command: Command
    checkout: Path = PROJECT


def make_files(directory: Path) -> None:
    """The files that crowds download."""
    for name, size in SIZES.items():
        (directory / f"{name}.bin").write_bytes(random.Random(size).randbytes(size))
    directory.chmod(0o755)  # nginx's worker runs as another user


def file_target(name: str) -> str:
    """The target of one of the files."""
    return f"/files/{name}.bin"


def arms(directory: Path, against: Path | None) -> dict[str, Arm]:
    """The servers by name, where they are installed; `directory` has the files."""
    found = [Arm(OURS, _ours(directory))]
    if against is not None:
        found.append(Arm(BEFORE, _ours(directory), against))
    if nginx_program():
        found.append(Arm(PEER, _nginx(directory)))
    return {arm.name: arm for arm in found}


def _ours(directory: Path) -> Command:
    def command(port: int, workdir: Path) -> list[str]:
        log = str(workdir / "access.log")
        options = ["--port", str(port), "--directory", str(directory), "--access-log", log]
        return [sys.executable, "-m", "handlers", *options]

    return command


def _nginx(directory: Path) -> Command:
    def command(port: int, workdir: Path) -> list[str]:
        names = {"workdir": workdir, "port": port, "directory": directory, "body": BODY.decode()}
        return nginx_at(workdir, _NGINX.format(**names))

    return command
