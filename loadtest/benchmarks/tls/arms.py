"""The servers of the benchmark, their certificate, and a look at what they agree on."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.benchmarks.peers import BODY, NGINX_FRAME, Command, nginx_at, nginx_program
from loadtest.benchmarks.subject import SMALL_TARGET
from loadtest.clients.closed_loop import exchange
from loadtest.clients.secure import SecureSocket
from loadtest.clients.slow_crowds import connected, request
from loadtest.system import MeasurementError

OURS: Final = "reactor"
PLAIN: Final = "reactor without TLS"
FLOOR: Final = "bare ssl loop"
NGINX: Final = "nginx"
UVICORN: Final = "uvicorn"
CIPHER: Final = "TLS_AES_256_GCM_SHA384"  # the first choice of OpenSSL, and so of every server here
DAYS: Final = 7  # until the certificate expires
OPENSSL_SECONDS: Final = 60.0
WARM_UP_REQUESTS: Final = 20

_LOCATIONS: Final = """
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites @CIPHER@;
        ssl_session_tickets on;
        sendfile on;
        location = @TARGET@ {{ return 200 "{body}"; }}
        location /files/ {{ alias {directory}/; }}
"""
_NGINX: Final = (
    NGINX_FRAME.replace("listen 127.0.0.1:{port};", "")
    .replace("@LOCATION@", _LOCATIONS)
    .replace("@CIPHER@", CIPHER)
    .replace("@TARGET@", SMALL_TARGET)
    .replace("worker_connections 1024", "worker_connections 20000")
)


class Pair(NamedTuple):
    """The paths of a certificate and of its key."""

    certificate: Path
    key: Path


class Arm(NamedTuple):
    """A server: its command line, and whether it speaks TLS."""

    name: str
    command: Command
    speaks_tls: bool = True


class Running(NamedTuple):
    """A server that has served a few requests."""

    arm: Arm
    pid: int
    port: int
    workdir: Path

    def url(self, target: str) -> str:
        """The URL of a target."""
        scheme = "https" if self.arm.speaks_tls else "http"
        return f"{scheme}://{system.ADDRESS}:{self.port}{target}"


def make_pair(directory: Path) -> Pair:
    """A certificate of its own issue, made by openssl. Raises MeasurementError."""
    pair = Pair(directory / "certificate.pem", directory / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=localhost", "-days", str(DAYS), "-addext"]
    command += [f"subjectAltName=DNS:localhost,IP:{system.ADDRESS}"]
    command += ["-out", str(pair.certificate), "-keyout", str(pair.key)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=OPENSSL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"Cannot make a certificate: {error}") from error
    if made.returncode:
        raise MeasurementError(f"Cannot make a certificate: {made.stderr.strip()}")
    return pair


def all_arms(directory: Path, pair: Pair) -> dict[str, Arm]:
    """The servers by name; `directory` has the files. nginx is left out where it is missing."""
    found = [
        Arm(OURS, _ours(directory, pair)),
        Arm(PLAIN, _ours(directory, None), speaks_tls=False),
        Arm(FLOOR, _bare_loop(pair)),
        Arm(UVICORN, _uvicorn(pair)),
    ]
    if nginx_program():
        found.append(Arm(NGINX, _nginx(directory, pair)))
    return {arm.name: arm for arm in found}


def _ours(directory: Path, pair: Pair | None) -> Command:
    """The demo; without a pair it speaks HTTP."""

    def command(port: int, workdir: Path) -> list[str]:
        options = ["--port", str(port), "--directory", str(directory), "--access-log", "off"]
        if pair is not None:
            options += ["--tls-cert", str(pair.certificate), "--tls-key", str(pair.key)]
        return [sys.executable, "-m", "handlers", *options]

    return command


def _bare_loop(pair: Pair) -> Command:
    def command(port: int, workdir: Path) -> list[str]:
        options = ["--certificate", str(pair.certificate), "--key", str(pair.key)]
        return [sys.executable, "-m", "loadtest.apps.tls_loop", "--port", str(port), *options]

    return command


def _uvicorn(pair: Pair) -> Command:
    def command(port: int, workdir: Path) -> list[str]:
        module = ["-m", "uvicorn", "loadtest.apps.asgi_hello:hello", "--port", str(port)]
        parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
        parts += ["--ssl-certfile", str(pair.certificate), "--ssl-keyfile", str(pair.key)]
        return [sys.executable, *module, *parts, "--no-access-log", "--log-level", "warning"]

    return command


def _nginx(directory: Path, pair: Pair) -> Command:
    def command(port: int, workdir: Path) -> list[str]:
        names = {"workdir": workdir, "port": port, "directory": directory, "body": BODY.decode()}
        return nginx_at(workdir, _NGINX.format(**names, certificate=pair.certificate, key=pair.key))

    return command


@contextmanager
def running(arm: Arm) -> Iterator[Running]:
    """A fresh server on the server's core. Raises MeasurementError where it is not as expected."""
    core, _ = system.cores()
    port = system.free_port()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        workdir = Path(name)
        command = arm.command(port, workdir)
        with system.serving(command, port, core, workdir / "server.log") as pid:
            check(port, arm)
            yield Running(arm, pid, port, workdir)


def check(port: int, arm: Arm) -> None:
    """Send a few requests, so that lazy imports are over; raises MeasurementError.

    All servers are to speak the same version with the same cipher.
    """
    try:
        with connected(port, 0, tls=arm.speaks_tls) as client:
            if isinstance(client, SecureSocket):
                agreed = client.version(), (client.cipher() or ("none",))[0]
                if agreed != ("TLSv1.3", CIPHER):
                    raise MeasurementError(f"{arm.name} has agreed on {agreed}, not on {CIPHER}")
            for _ in range(WARM_UP_REQUESTS):
                response = exchange(client, request("GET", SMALL_TARGET))
                if (response.status, response.body) != (200, BODY):
                    found = f"{response.status} {response.body[:80]!r}"
                    raise MeasurementError(f"{arm.name}: unexpected response: {found}")
    except OSError as error:
        raise MeasurementError(f"{arm.name}: no response: {error}") from error


def chosen(arms: Mapping[str, Arm], *names: str) -> list[Arm]:
    """The arms of these names that are there."""
    return [arms[name] for name in names if name in arms]


Measure = Callable[[Running], float]


def in_turn(arms: list[Arm], number: int, measure: Measure) -> dict[str, float]:
    """A value of each arm, in every second round in the other order."""
    values = {}
    for arm in reversed(arms) if number % 2 else arms:
        with running(arm) as server:
            values[arm.name] = measure(server)
    return values
