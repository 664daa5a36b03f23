"""Ctrl-C in the middle of a handler: it ends a program that has left Python's own handler in place.

`serve` replaces that handler, so the signal drains there, and a KeyboardInterrupt that a handler
raises by itself is an error like any other.
"""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw_client import TIMEOUT, Client, request

pytestmark = pytest.mark.system

PLAIN = """
    import sys, time
    from reactor import Application, Response, Server, sleep

    app = Application()

    def spin():
        print("spinning", flush=True)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pass

    @app.get("/def")
    def plain(request):
        spin()

    @app.get("/async")
    async def asynchronous(request):
        await sleep(0)
        spin()

    @app.get("/cancelled")
    async def cancelled(request):
        try:
            await sleep(0)
            spin()
        finally:
            await sleep(0)

    @app.get("/body")
    async def body(request):
        def pieces():
            yield b"first"
            spin()
        return Response(200, pieces())

    @app.get("/asyncbody")
    async def asyncbody(request):
        async def pieces():
            yield b"first"
            await sleep(0)
            spin()
        return Response(200, pieces())

    @app.get("/callback")
    async def callback(request):
        server.reactor.call_later(0, spin)
        return "well"

    @app.get("/raises")
    def raises(request):
        raise KeyboardInterrupt

    server = Server(app)
    server.listen("127.0.0.1", 0)
    try:
        print(server.addresses[0][1], flush=True)
        server.run()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(7)
"""


@contextmanager
def started(code: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process of a program, and the port that its first line names."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with (
        (directory / "stderr").open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        ) as process,
    ):
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize(
    "target", ["/def", "/async", "/cancelled", "/body", "/asyncbody", "/callback", "/raises", ""]
)
def test_ctrl_c_ends_a_program_with_pythons_own_handler(target: str, tmp_path: Path) -> None:
    with (
        started(PLAIN, tmp_path) as (process, port),
        Client(("127.0.0.1", port)) as client,
        Client(("127.0.0.1", port)) as other,
    ):
        assert process.stdout is not None
        if target:
            client.send(request(target))
        if target and target != "/raises":
            assert process.stdout.readline() == "spinning\n"
        if target != "/raises":
            process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(TIMEOUT) == 7
        with pytest.raises((EOFError, ConnectionError)):
            other.read_until(b"\n")
    errors = (tmp_path / "stderr").read_text()
    assert "never awaited" not in errors
    assert "failed" not in errors


SERVED = """
    import asyncio
    from reactor import Application, serve

    app = Application()

    @app.get("/raises")
    def raises(request):
        raise KeyboardInterrupt("by itself")

    @app.get("/well")
    def well(request):
        return "well"

    serve(app, port=0, ready=lambda server: print(server.addresses[0][1], flush=True))
"""


def test_an_interrupt_that_a_handler_raises_is_500_under_serve(tmp_path: Path) -> None:
    with started(SERVED, tmp_path) as (process, port):
        with Client(("127.0.0.1", port)) as client:
            assert client.ask("/raises").status == 500
            assert client.ask("/well").body == b"well"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
    assert "KeyboardInterrupt: by itself" in (tmp_path / "stderr").read_text()
