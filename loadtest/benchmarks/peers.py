"""The servers of the CPU benchmark: ours, the raw loop, nginx and uvicorn, as command lines."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

# A command line, made from a port and a directory for the server's files and logs.
Command = Callable[[int, Path], list[str]]

BODY: Final = b"hello-world!!"
OURS: Final = "reactor"
FLOOR: Final = "raw loop"
PEER: Final = "uvicorn"
NGINX_FRAME: Final = """
daemon off;
worker_processes 1;
pid {workdir}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {workdir}/body;
    proxy_temp_path {workdir}/proxy;
    fastcgi_temp_path {workdir}/fastcgi;
    uwsgi_temp_path {workdir}/uwsgi;
    scgi_temp_path {workdir}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port};
        @LOCATION@
    }}
}}
"""
NGINX_CONFIGURATION: Final = NGINX_FRAME.replace(
    "@LOCATION@", 'location / {{ return 200 "{body}"; }}'
)


def all_arms(peer_python: str) -> dict[str, Command]:
    """The servers by name; `peer_python` is the Python that has uvicorn."""
    return {
        FLOOR: raw_loop_command,
        OURS: reactor_command,
        "nginx": nginx_command,
        PEER: uvicorn_command(peer_python),
    }


def raw_loop_command(port: int, workdir: Path) -> list[str]:
    """The loop that parses nothing: the floor of every server of this kind."""
    return [sys.executable, "-m", "loadtest.apps.raw_loop", "--port", str(port)]


def reactor_command(port: int, workdir: Path) -> list[str]:
    """The demo, with its access log in a file."""
    log = str(workdir / "access.log")
    return [sys.executable, "-m", "handlers", "--port", str(port), "--access-log", log]


def nginx_command(port: int, workdir: Path) -> list[str]:
    """nginx with one worker, which returns a constant without a log."""
    text = NGINX_CONFIGURATION.format(workdir=workdir, port=port, body=BODY.decode())
    return nginx_at(workdir, text)


def nginx_at(workdir: Path, text: str) -> list[str]:
    """The command line for a configuration, which is written into `workdir`."""
    configuration = workdir / "nginx.conf"
    configuration.write_text(text)
    return [nginx_program() or "nginx", "-e", "stderr", "-c", str(configuration)]


def nginx_program() -> str | None:
    """The path of nginx; it is mostly in a directory that a user's PATH does not have."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/local/sbin:/usr/sbin")


def uvicorn_command(python: str) -> Command:
    """A bare ASGI application under uvicorn with httptools and uvloop, without a log."""

    def command(port: int, workdir: Path) -> list[str]:
        module = [python, "-m", "uvicorn", "loadtest.apps.asgi_hello:hello", "--port", str(port)]
        parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
        return [*module, *parts, "--no-access-log", "--log-level", "warning"]

    return command
