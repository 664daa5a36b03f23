"""Commands that start the peers of a benchmark: nginx, uvicorn, the raw loop."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

BODY: Final = b"hello-world!!"
OURS: Final = "reactor"
FLOOR: Final = "raw loop"
PEER: Final = "uvicorn"
NGINX_FRAME: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
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
Command = Callable[[int, Path], list[str]]  # of a port and a folder for files


def reactor_command(port: int, folder: Path) -> list[str]:
    log = str(folder / "access.log")
    return [sys.executable, "-m", "reactor", "--port", str(port), "--access-log", log]


def floor_command(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "loadtest.apps.raw_loop", "--port", str(port)]


def nginx_command(port: int, folder: Path) -> list[str]:
    return nginx_at(
        folder, NGINX_CONFIGURATION.format(folder=folder, port=port, body=BODY.decode())
    )


def nginx_at(folder: Path, text: str) -> list[str]:
    """The command for a configuration, which is written into the folder."""
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    return [nginx_program() or "nginx", "-e", "stderr", "-c", str(configuration)]


def nginx_program() -> str | None:
    """It is mostly in a folder for the administrator's programs, which not every PATH has."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/local/sbin:/usr/sbin")


def uvicorn_command(python: str) -> Command:
    def command(port: int, folder: Path) -> list[str]:
        module = [python, "-m", "uvicorn", "loadtest.apps.asgi_hello:hello", "--port", str(port)]
        parts = ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off"]
        return [*module, *parts, "--no-access-log", "--log-level", "warning"]

    return command


def all_arms(peer_python: str) -> dict[str, Command]:
    return {
        FLOOR: floor_command,
        OURS: reactor_command,
        "nginx": nginx_command,
        PEER: uvicorn_command(peer_python),
    }
