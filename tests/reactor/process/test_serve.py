"""`reactor.serve`, as a program calls it: in processes of its own, and off the main thread."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from reactor import Application, Limits, Response, RouteError, Server, serve
from reactor.messages.request import BaseRequest
from reactor.observe.error_log import ErrorLog
from reactor.process.options import ServeOptions
from reactor.process.serve import StartError
from tests.support.paths import ROOT
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.slowness import stretched
from tests.support.terminal import start_on_terminal

pytestmark = pytest.mark.system

PROGRAM = """
    import os, sys
    from reactor import Application, serve, sleep

    app = Application()

    @app.get("/")
    def hello(request):
        return "hello"

    @app.get("/slow")
    async def slow(request):
        os.write(1, b"begun\\n")
        await sleep(float(request.query or 0.5))
        return "done"

    serve(app, port=int(sys.argv[1]){options})
    os.write(1, b"returned\\n")
"""

Start = Callable[..., Program]

# The records of a server that has had one client and ends in order.
ENDED = [
    "INFO reactor: Draining: nothing more is accepted; the requests of N connections may go on "
    "for N s",
    "INFO reactor: The server has ended: N connections served",
]


def records(error_log: str) -> list[str]:
    """The records without their times, and with N for each number, also for one connection."""
    lines = (re.sub("[0-9]+", "N", line.partition(" ")[2]) for line in error_log.splitlines())
    return [line.replace("N connection ", "N connections ") for line in lines]


def source(options: str = "") -> str:
    return textwrap.dedent(PROGRAM).format(options=f", {options}" if options else "")


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("error_log='x'")`: a program that serves an application with these options."""
    programs: list[Program] = []

    def start_one(options: str = "", **how: Any) -> Program:
        programs.append(Program(["-c", source(options), "0"], **how))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()


def hello(request: BaseRequest) -> Response:
    return Response(200, b"hello")


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_without_a_traceback_and_the_program_goes_on(
    start: Start, number: int
) -> None:
    program = start()
    assert re.fullmatch(
        r"reactor: http://127\.0\.0\.1:[0-9]+/; [0-9]+ connections at most; Ctrl-C ends it\n",
        program.line,
    )
    with program.connect() as client:
        assert client.ask("/").body == b"hello"
    program.signal(number)
    assert program.wait()[0] == 0
    assert program.process.stdout is not None
    assert re.fullmatch(
        r'127\.0\.0\.1 .* "GET / HTTP/1\.1" 200 5\nreturned\n|returned\n127.*\n',
        program.process.stdout.read(),
    )
    assert records(program.error_log()) == ENDED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_that_runs_is_completed_first(start: Start, number: int) -> None:
    program = start("access_log='off'")
    with program.connect() as client:
        client.send(request("/slow"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "begun\n"
        program.signal(number)
        response = client.read_response()
        assert (response.body, response.get("connection")) == (b"done", "close")
        assert client.ended()
    assert program.wait()[0] == 0
    assert program.process.stdout.read() == "returned\n"
    assert records(program.error_log()) == ENDED


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGHUP, signal.SIGHUP, signal.SIGHUP),
        (signal.SIGHUP, signal.SIGCONT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGHUP),
    ],
)
def test_the_signals_of_a_session_that_ends_lose_no_request(
    start: Start, numbers: tuple[int, ...]
) -> None:
    program = start("access_log='off'")
    with program.connect() as client:
        client.send(request("/slow"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "begun\n"
        for number in numbers:
            program.signal(number)
            time.sleep(0.05)  # the kernel would deliver the same one twice as once
        assert client.read_response().body == b"done"
    assert program.wait()[0] == 0


def test_sighup_and_two_more_signals_end_it_at_once(start: Start) -> None:
    program = start("limits=__import__('reactor').Limits(shutdown_timeout=1000)")
    with program.connect() as client:
        client.send(request("/slow?1000"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "begun\n"
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            with pytest.raises(subprocess.TimeoutExpired):
                program.process.wait(0.1)
            program.signal(number)
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    program.wait()


def test_nohup_lets_it_outlive_its_terminal(start: Start) -> None:
    program = start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    program.signal(signal.SIGHUP)
    with program.connect() as client:
        assert client.ask("/").get("connection") is None
    program.signal()
    assert program.wait()[0] == 0


def test_a_terminal_that_closes_loses_no_request() -> None:
    """All three standard streams fail with EIO from then on, and it still ends in order."""
    text = source("limits=__import__('reactor').Limits()").replace(
        'os.write(1, b"returned\\n")', ""
    )
    process, master = start_on_terminal([sys.executable, "-c", text, "0"], ROOT)
    try:
        said = b""
        while (match := re.search(rb"http://127.0.0.1:([0-9]+)/", said)) is None:
            said += os.read(master, 1000)
        with Client(("127.0.0.1", int(match[1]))) as client:
            client.send(request("/slow"))
            while b"begun" not in said:
                said += os.read(master, 1000)
            os.close(master)
            master = -1
            response = client.read_response()
            assert (response.body, response.get("connection")) == (b"done", "close")
        assert process.wait(TIMEOUT) == 0
    finally:
        if master >= 0:
            os.close(master)
        process.kill()
        process.wait()


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    program = start("limits=__import__('reactor').Limits(shutdown_timeout=1000)")
    with program.connect() as client:
        client.send(request("/slow?1000"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "begun\n"
        program.signal()
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.3)
        program.signal()
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        status, took = program.wait()
    assert status == 0
    assert took < stretched(1.5)


def test_a_port_in_use_is_an_oserror(start: Start) -> None:
    program = start()
    port = program.address[1]
    done = subprocess.run(
        [sys.executable, "-c", source(), str(port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.endswith(
        f"StartError: Cannot listen on 127.0.0.1, port {port}: address already in use"
    )


def test_several_addresses(start: Start) -> None:
    program = start("host=['127.0.0.1', '127.0.0.2'], bind=['127.0.0.3', '127.0.0.4:0']")
    found = re.findall(r"http://([0-9.]+):([0-9]+)/", program.line)
    assert [address for address, _ in found] == [f"127.0.0.{n}" for n in (1, 2, 3, 4)]
    for address, port in found:
        with Client((address, int(port))) as client:
            assert client.ask("/").body == b"hello"


def test_its_logs_and_what_signals_do_to_them(start: Start, tmp_path: Path) -> None:
    access, errors = tmp_path / "access", tmp_path / "errors"
    program = start(
        f"access_log={str(access)!r}, access_log_format='%(U)s', error_log={str(errors)!r}, "
        "server_header='mine', date_header=False, log_level='critical'"
    )
    with program.connect() as client:
        response = client.ask("/")
        assert response.get("server") == "mine"
        assert response.get("date") is None
        access.rename(tmp_path / "old")
        program.signal(signal.SIGUSR1)
        while not access.exists():
            client.ask("/")
        program.signal(signal.SIGUSR2)
        client.ask("/")
    program.signal()
    assert program.wait()[0] == 0
    assert set((tmp_path / "old").read_text().splitlines()) <= {"/"}
    assert "state of the server:" in errors.read_text()
    assert program.error_log() == ""


def test_without_a_standard_error_it_serves(start: Start, tmp_path: Path) -> None:
    """The first line has nowhere to go, and is not put anywhere else."""
    port = tmp_path / "port"
    code = source(f"ready=lambda server: open({str(port)!r}, 'x').write('x')")
    process = subprocess.Popen(
        [sys.executable, "-c", code, "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
    )
    while not port.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (0, b"returned\n")


# --- in this process -----------------------------------------------------------------------------


def on_a_thread(**options: Any) -> tuple[Server, threading.Thread, list[BaseException]]:
    """Call `serve` off the main thread; the server, once it listens."""
    listens = threading.Event()
    servers: list[Server] = []
    failed: list[BaseException] = []

    def ready(server: Server) -> None:
        servers.append(server)
        listens.set()

    def run() -> None:
        try:
            serve(hello, port=0, access_log="off", ready=ready, **options)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    assert listens.wait(TIMEOUT)
    return servers[0], thread, failed


def test_off_the_main_thread_it_leaves_signals_alone(no_leaks: None) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server, thread, failed = on_a_thread()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with Client(server.addresses[0]) as client:
        assert client.ask().body == b"hello"
    server.reactor.call_soon_threadsafe(server.shut_down)
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert failed == []


def test_signal_handlers_are_put_back(no_leaks: None) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    mine: list[int] = []
    own = signal.signal(signal.SIGUSR1, lambda number, frame: mine.append(number))

    def ready(server: Server) -> None:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # its watchdog must not end this process

    try:
        serve(hello, port=0, access_log="off", ready=ready)
    finally:
        signal.signal(signal.SIGUSR1, own)
    assert [signal.getsignal(number) for number in numbers] == before
    assert mine == [signal.SIGUSR1], "a program's own handler is kept"
    watchdogs = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    assert all(one.finished.is_set() for one in watchdogs)


@contextmanager
def unconfigured() -> Iterator[logging.Logger]:
    """The root logger as a program finds it that has configured nothing; pytest has, by itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def test_logging_is_configured_where_nobody_has() -> None:
    found: list[Any] = []

    with unconfigured() as root:

        def ready(server: Server) -> None:
            found.append((root.handlers[:], root.level))
            server.shut_down()

        serve(hello, port=0, access_log="off", log_level="error", ready=ready)
        ((handlers, level),) = found
        assert [type(one) for one in handlers] == [ErrorLog]
        assert level == logging.ERROR
        assert root.handlers == []
        mine = logging.NullHandler()
        root.addHandler(mine)
        serve(hello, port=0, access_log="off", log_level="debug", ready=ready)
        assert found[1] == ([mine], root.level)


def test_a_log_or_port_that_cannot_be_opened(no_leaks: None, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no/log")
    with pytest.raises(OSError, match=r"^Cannot write the access log .*: no such file") as caught:
        serve(hello, port=0, access_log=nowhere)
    assert type(caught.value) is StartError
    assert caught.value.errno == 2
    with (
        unconfigured(),
        pytest.raises(OSError, match=r"^Cannot write the error log .*: no such file"),
    ):
        serve(hello, port=0, error_log=nowhere)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"^Cannot listen on 127.0.0.1, port {port}: "):
            serve(hello, port=port, access_log="off")
    with pytest.raises(OSError, match=r"^Cannot listen on a\.\.b, port 0: "):
        serve(hello, host="a..b", port=0, access_log="off")
    with pytest.raises(ValueError, match=r"'\[::1\]80' is not an address to listen on"):
        serve(hello, bind="[::1]80")
    with pytest.raises(ValueError, match="'localhost:80' is not a name or an address"):
        serve(hello, host=["localhost:80"])


def test_an_application_that_cannot_be_composed(no_leaks: None) -> None:
    app = Application()
    for _ in range(2):
        app.get("/twice")(lambda request: "x")
    with pytest.raises(RouteError, match="/twice"):
        serve(app, port=0, access_log="off")


def test_an_error_of_ready_ends_it(no_leaks: None) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def ready(server: Server) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        serve(hello, port=0, access_log="off", ready=ready)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_server_may_be_run_again_and_again(no_leaks: None) -> None:
    """A server that `ready` shuts down ends at once, not at `shutdown_timeout`."""
    limits = Limits(shutdown_timeout=1000)
    for _ in range(3):
        serve(hello, port=0, access_log="off", limits=limits, ready=Server.shut_down)


def test_each_option_of_a_process_is_an_argument() -> None:
    parameters = dict(signature(serve).parameters)
    for name in ("app", "limits", "tls", "ready"):
        del parameters[name]
    options = ServeOptions()
    assert {name: one.default for name, one in parameters.items()} == vars(options)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"port": 65536}, "'65536' is not a port"),
        ({"port": -1}, "'-1' is not a port"),
        ({"log_level": "loud"}, "'loud' is not one of debug, info"),
        ({"access_log_format": "xml"}, "'xml'"),
        ({"server_header": "a\nb"}, "is not a value of a field"),
    ],
)
def test_a_wrong_option_is_a_valueerror(no_leaks: None, option: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        serve(hello, **option)
