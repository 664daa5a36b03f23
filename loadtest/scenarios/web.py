"""`make locust`: locust's page in the browser, for both servers.

The program prints the addresses of the servers for the page's field "Host". The page's picker has
all user classes, OpenLoop among them, and the shapes. Ctrl-C, or SIGTERM, stops all processes.

    python -m loadtest.scenarios.web --web-port 8089
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from loadtest import system
from loadtest.scenarios.servers import SERVERS, make_files, serving
from loadtest.system import ADDRESS, PROJECT, MeasurementError

WEB_PORT: Final = 8089  # locust's own
FIRST_PORT: Final = 4231


def page(host: str, port: int) -> list[str]:
    """The command line of locust with its page, which this machine alone can reach."""
    file = str(PROJECT / "loadtest" / "locustfile.py")
    where = ["--web-host", ADDRESS, "--web-port", str(port), "--class-picker"]
    return [sys.executable, "-m", "locust", "-f", file, "--host", host, *where]


def start_servers(stack: ExitStack, workdir: Path, ports: Sequence[int]) -> list[str]:
    """Start the servers until `stack` is closed; prints and returns the addresses.

    A server that does not start is left out.
    """
    directory = workdir / "files"
    directory.mkdir()
    make_files(directory)
    hosts = []
    for name, port in zip(SERVERS, ports, strict=True):
        try:
            stack.enter_context(serving(name, directory, port, workdir / f"{name}.log"))
        except MeasurementError as failure:
            print(f"{name} is left out: {failure}", flush=True)
            continue
        hosts.append(f"http://{ADDRESS}:{port}")
        print(f"{name:8} {hosts[-1]}", flush=True)
    return hosts


def run(web_port: int, ports: Sequence[int]) -> int:
    """Run all processes until Ctrl-C; returns the exit status."""
    _, core = system.cores()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name, ExitStack() as stack:
        workdir = Path(name)
        hosts = start_servers(stack, workdir, ports)
        if not hosts:
            return 1
        log = workdir / "locust.log"
        process = stack.enter_context(system.started(page(hosts[0], web_port), core, log))
        system.wait_for_port(process, web_port, log)
        print(f"{'locust':8} http://{ADDRESS}:{web_port}/   (Ctrl-C stops all of them)", flush=True)
        with suppress(KeyboardInterrupt):
            process.wait()
            print(f"locust ended: {system.last_line(log)}")
            return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Run locust's page and both servers.")
    parser.add_argument("--web-port", type=int, default=WEB_PORT, help="port of locust's page")
    parser.add_argument("--first-port", type=int, default=FIRST_PORT, help="port of the servers")
    options = parser.parse_args()
    system.end_on_sigterm()
    try:
        return run(options.web_port, range(options.first_port, options.first_port + len(SERVERS)))
    except MeasurementError as failure:
        print(f"locust did not start: {failure}")
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
