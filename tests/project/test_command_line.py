"""The command line, as a process of its own: options, sentences, signals, exit statuses."""

import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import reactor
from reactor import Limits
from reactor.web.site.options import parse_arguments
from tests.support.paths import ROOT
from tests.support.ports import has_ipv6
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.slowness import stretched

pytestmark = pytest.mark.system

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")

Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("--option", ...)`: `python -m reactor --port 0` with these options."""
    programs: list[Program] = []

    def start_one(*arguments: str, **options: Any) -> Program:
        programs.append(Program(["-m", "reactor", "--port", "0", *arguments], **options))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()


@pytest.fixture
def demo(start: Start) -> Start:
    """`demo("--option", ...)`: the same, with the demo application."""
    return lambda *arguments, **options: start("handlers:app", *arguments, **options)


APPLICATION = """
    import os, sys, time
    from reactor import Limits, Response, Server, in_pool, sleep
    from reactor.process.serve import Signals

    def read_fifo():
        with open(sys.argv[1]) as fifo:
            fifo.read()

    async def handler(request):
        if request.path == "/fifo":
            await in_pool(read_fifo)
        elif request.path == "/block":
            os.write(1, b"blocked\\n")
            time.sleep(1000)
        elif request.path == "/slow":
            os.write(1, b"slow\\n")
            await sleep(float(request.query))
        return Response(200, b"done")

    server = Server(handler, Limits(shutdown_timeout=float(sys.argv[2])))
    address = server.listen("127.0.0.1", 0)
    Signals(server).install()
    print(f"http://127.0.0.1:{address[1]}/", file=sys.stderr, flush=True)
    server.run()
"""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Start]:
    """Handlers that misbehave, ended by signals as the command line is."""
    programs: list[Program] = []
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def start_one(shutdown_timeout: float = 10) -> Program:
        code = textwrap.dedent(APPLICATION)
        programs.append(Program(["-c", code, str(fifo), str(shutdown_timeout)]))
        return programs[-1]

    yield start_one
    for program in programs:
        program.close()


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """To its end, which is not waited for long: it must not begin to serve."""
    return subprocess.run(
        [sys.executable, "-m", "reactor", *arguments],
        cwd=ROOT,
        text=True,
        timeout=TIMEOUT,
        check=False,
        **({"capture_output": True} | options),
    )


# --- starting ------------------------------------------------------------------------------------


def test_it_serves_within_two_seconds_and_says_where(start: Start, tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    program = start("--directory", str(tmp_path))
    with program.connect() as client:
        assert client.ask("/files/hello.txt").body == b"hello"
    assert program.took < stretched(2)
    assert f"http://127.0.0.1:{program.address[1]}/" in program.line
    assert f"{tmp_path} at /files/, with uploads" in program.line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], " serves handlers:app;"),
        (["--directory", "DIR", "--read-only"], "handlers:app and DIR at /files/, read only;"),
    ],
)
def test_it_says_what_is_served(
    demo: Start, tmp_path: Path, options: list[str], expected: str
) -> None:
    options = [one.replace("DIR", str(tmp_path)) for one in options]
    program = demo(*options)
    assert expected.replace("DIR", str(tmp_path)) in program.line
    with program.connect() as client:
        assert client.ask("/").status == 200
        # 404 without a directory, 405 where nothing may be stored
        response = client.ask("/files/x", method="POST", body=b"x")
        assert response.status == (405 if options else 404)


HANDLER = """
    from reactor import Response
    name = __file__

    def handler(request):
        return Response(200, b"app: " + request.path.encode())
"""


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A site, and beside it an application; `python -m reactor` is run here."""
    for path, content in (
        ("site/index.html", "<p>index"),
        ("site/hello.txt", "hello"),
        ("site/a:b/hello.txt", "a directory"),
        ("img/logo.new", "logo"),
        ("a.py", textwrap.dedent(HANDLER)),
        ("pack/web.py", textwrap.dedent(HANDLER)),
        ("a:handler/hello.txt", "a directory"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path


@pytest.fixture
def start_in(start: Start, workdir: Path) -> Start:
    """As `start`, with the workdir as the current directory."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def start_here(*arguments: str) -> Program:
        return start(*arguments, cwd=workdir, env=environment)

    return start_here


@pytest.mark.parametrize("arguments", [["site"], ["--static", "/=site"], ["./site"]])
def test_a_directory(start_in: Start, workdir: Path, arguments: list[str]) -> None:
    program = start_in(*arguments)
    assert f"{workdir}/site at /;" in program.line
    with program.connect() as client:
        assert client.ask("/").body == b"<p>index"
        assert client.ask("/hello.txt").body == b"hello"
        assert client.ask("/echo/x").status == 404
        assert client.ask("/files/").status == 404
        assert client.ask("/a.py").status == 404


def test_the_current_directory_where_nothing_is_named(start_in: Start, workdir: Path) -> None:
    """Modules and settings in that directory do not disturb the server."""
    (workdir / "handlers.py").write_text("raise SystemExit")
    (workdir / "reactor.toml").write_text("= no toml")
    program = start_in()
    assert f" serves {workdir} at /;" in program.line
    with program.connect() as client:
        assert client.ask("/site/hello.txt").body == b"hello"
        assert client.ask("/handlers.py").body == b"raise SystemExit"
        assert client.ask("/").status == 200
        assert client.ask("/new", method="PUT", body=b"x").status == 405
    (workdir / "handlers.py").unlink()
    (workdir / "handlers").mkdir()
    (workdir / "handlers/__init__.py").write_text("raise SystemExit")
    with start_in("site").connect() as client:
        assert client.ask("/hello.txt").body == b"hello"


@pytest.mark.parametrize("argument", ["site/hello.txt", "./site/hello.txt", "DIR/site/hello.txt"])
def test_one_file(start_in: Start, workdir: Path, argument: str) -> None:
    program = start_in(argument.replace("DIR", str(workdir)))
    assert f" serves {workdir}/site/hello.txt at /hello.txt;" in program.line
    with program.connect() as client:
        response = client.ask("/")
        assert (response.status, response.get("location")) == (303, "hello.txt")
        assert client.ask("/?a=b").get("location") == "hello.txt?a=b"
        assert client.ask("/", method="HEAD").get("location") == "hello.txt"
        response = client.ask("/hello.txt", "Range: bytes=1-2")
        assert (response.status, response.body) == (206, b"el")
        for path in ("/index.html", "/hello.txt/", "/site/hello.txt", "/x", "/../site/index.html"):
            assert client.ask(path).status == 404, path
        assert client.ask("/hello.txt", method="DELETE").status == 405


def test_one_file_with_a_name_that_is_encoded(start_in: Start, workdir: Path) -> None:
    (workdir / "ä {x}?.txt").write_text("odd")
    with start_in("ä {x}?.txt").connect() as client:
        location = client.ask("/").get("location")
        assert location == "%C3%A4%20%7Bx%7D%3F.txt"
        assert client.ask("/" + location).body == b"odd"


def test_one_file_is_served_as_in_a_directory(start_in: Start, workdir: Path) -> None:
    path = workdir / "site/hello.txt"
    with start_in(str(path), "--open-file-age", "0.001").connect() as client:
        first = client.ask("/hello.txt")
        tag = first.get("etag")
        assert client.ask("/hello.txt", f"If-None-Match: {tag}").status == 304
        assert client.ask("/hello.txt", method="HEAD").get("content-length") == "5"
        (workdir / "other").write_text("replaced")
        (workdir / "other").rename(path)
        time.sleep(0.01)  # longer than a path is trusted
        assert client.ask("/hello.txt").body == b"replaced"
        path.unlink()
        time.sleep(0.01)
        assert client.ask("/hello.txt").status == 404
        path.write_text("again")
        time.sleep(0.01)
        assert client.ask("/hello.txt").body == b"again"


@pytest.mark.parametrize("arguments", [["./a:handler"], ["--static", "/=a:handler"]])
def test_a_directory_that_is_named_like_an_application(
    start_in: Start, arguments: list[str]
) -> None:
    with start_in(*arguments).connect() as client:
        assert client.ask("/hello.txt").body == b"a directory"


@pytest.mark.parametrize("name", ["a:handler", "pack.web:handler"])
def test_an_application(start_in: Start, name: str) -> None:
    program = start_in(name)
    assert f" serves {name};" in program.line
    with program.connect() as client:
        for path in ("/", "/echo/x", "/files/", "/a%zz"):
            assert client.ask(path).body == b"app: " + path.encode()


def test_an_application_beside_directories(start_in: Start, workdir: Path) -> None:
    program = start_in("a:handler", "--static", "/s=site", "--directory", "img", "--read-only")
    expected = f"a:handler and {workdir}/site at /s/ and {workdir}/img at /files/, read only;"
    assert expected in program.line
    with program.connect() as client:
        assert client.ask("/").body == b"app: /"
        assert client.ask("/s").get("location") == "s/"
        assert client.ask("/sx").body == b"app: /sx"
        assert client.ask("/s/hello.txt").body == b"hello"
        assert client.ask("/s/nothing").status == 404
        assert client.ask("/files/logo.new").body == b"logo"
        assert client.ask("/files/logo.new", method="PUT", body=b"x").status == 405


def test_fields_and_types_of_files(start_in: Start) -> None:
    program = start_in(
        *("--static", "/=site", "--static", "/img/=img", "--type", ".new=image/new"),
        *("--header", "X-Frame-Options: DENY", "--header", "X-Two: 2", "--spa", "index.html"),
        *("--cache-control", "*.html=no-cache", "--cache-control", "*=max-age=60"),
        "--no-listing",
    )
    with program.connect() as client:
        response = client.ask("/img/logo.new")
        assert response.get("content-type") == "image/new"
        assert response.get("cache-control") == "max-age=60"
        assert response.get("x-frame-options") == "DENY"
        assert response.get("x-two") == "2"
        response = client.ask("/no/such/page")
        assert (response.status, response.body) == (200, b"<p>index")
        assert response.get("cache-control") == "no-cache"
        assert client.ask("/img/").status == 404  # it has no index, and no listing


@pytest.mark.parametrize(
    ("options", "expected", "status"),
    [
        ([], "with uploads;", 405),
        (["--allow-delete"], "with uploads and deletes;", 204),
        (["--read-only"], "read only;", 405),
    ],
)
def test_changes_that_are_allowed(
    start_in: Start, workdir: Path, options: list[str], expected: str, status: int
) -> None:
    program = start_in("--directory", "img", *options)
    assert f" serves {workdir}/img at /files/, {expected}" in program.line
    with program.connect() as client:
        assert client.ask("/files/logo.new", method="DELETE").status == status
    assert (workdir / "img/logo.new").exists() is (status != 204)


def test_leftovers_of_a_killed_server_are_removed(start_in: Start, workdir: Path) -> None:
    """But not what another process still writes."""
    left, held = (workdir / f"img/.{digit * 16}.part" for digit in "01")
    left.write_bytes(b"half")
    held.write_bytes(b"half")
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        program = start_in("--directory", "img")
        until = time.monotonic() + TIMEOUT
        while left.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        with program.connect() as client:
            assert client.ask("/files/logo.new").body == b"logo"
        program.signal()
        assert program.wait()[0] == 0
        assert held.exists()
    assert "Traceback" not in program.error_log()


def test_a_read_only_directory_is_not_even_tidied(start_in: Start, workdir: Path) -> None:
    left = workdir / "img" / f".{'0' * 16}.part"
    left.write_bytes(b"half")
    program = start_in("--directory", "img", "--read-only", "site")
    with program.connect() as client:
        assert client.ask("/files/logo.new").body == b"logo"
    program.signal()
    assert program.wait()[0] == 0
    assert left.exists()


def test_a_directory_with_a_strange_name_is_shown_in_one_line(start: Start, tmp_path: Path) -> None:
    strange = tmp_path / "a\nb"
    strange.mkdir()
    program = start(str(strange))
    assert f"{str(strange)!r} at /;" in program.line


def test_every_limit_is_an_option() -> None:
    for one in fields(Limits):
        option = "--" + one.name.replace("_", "-")
        assert isinstance(one.default, int | float)
        value = one.default + 1
        config = parse_arguments([option, f"{value:g}" if value < 1e5 else str(value)])
        assert getattr(config.limits, one.name) == value
        assert parse_arguments([]).limits == Limits()


def test_a_limit_has_its_effect(demo: Start) -> None:
    program = demo("--request-line-bytes", "100", "--idle-timeout", "0.3")
    with program.connect() as client:
        assert client.ask("/echo/" + "x" * 100).status == 414
    with program.connect() as client:
        assert client.ended()


def test_a_timeout_may_be_a_month(demo: Start) -> None:
    """More than epoll_wait takes at once."""
    program = demo("--idle-timeout", "2592000", "--handler-timeout", "9007199254740992")
    for _ in range(2):
        with program.connect() as client:
            assert client.ask("/echo/x").body == b"x"


def test_limits_without_an_end(demo: Start) -> None:
    """The largest numbers that an option takes mean "any", and nothing breaks."""
    options = []
    for one in fields(Limits):
        if one.name not in ("backlog", "pool_threads"):
            options += ["--" + one.name.replace("_", "-"), str(2**53)]
    program = demo(*options)
    with program.connect() as client:
        assert client.ask("/echo/x").body == b"x"
        assert client.ask("/echo/x").body == b"x"


def test_the_headers_are_a_choice(demo: Start) -> None:
    with demo("--no-date-header", "--server-header", "").connect() as client:
        response = client.ask("/user-agent")
        assert response.get("date") is None
        assert response.get("server") is None
    with demo("--server-header", "mine/1.0").connect() as client:
        response = client.ask("/user-agent")
        assert response.get("date") is not None
        assert response.get("server") == "mine/1.0"


@needs_ipv6
def test_ipv6(demo: Start) -> None:
    with demo("--host", "::1").connect() as client:
        assert client.ask("/").status == 200


def test_every_address_of_a_name(demo: Start) -> None:
    program = demo("--host", "localhost")
    with program.connect() as client:
        assert client.ask("/").status == 200


def opens(url: str) -> bool:
    """Whether a client that knows nothing but the URL gets the page."""
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return bool(response.status == 200)


def urls_of(program: Program) -> list[str]:
    return re.findall(r"http://\S+?/(?=[ ,])", program.line)


@needs_ipv6
@pytest.mark.parametrize("host", ["::", ""])
def test_a_wildcard_serves_both_families_at_the_urls_that_it_prints(host: str, demo: Start) -> None:
    program = demo("--host", host)
    found = urls_of(program)
    port = program.address[1]
    assert found[0] == f"http://127.0.0.1:{port}/"
    assert f"http://[::1]:{port}/" in found
    assert all(map(opens, found))
    assert program.line.count("\n") == 1


def test_the_urls_of_every_ipv4_address(demo: Start) -> None:
    found = urls_of(demo("--host", "0.0.0.0"))
    assert all(map(opens, found))
    assert not any("0.0.0.0" in one or "[" in one for one in found)


def test_several_addresses(demo: Start) -> None:
    program = demo(*("-b", "127.0.0.1:0", "--bind=127.0.0.2:0", "--host", "127.0.0.3"))
    found = urls_of(program)
    assert [one.rpartition(":")[0] for one in found] == [
        f"http://127.0.0.{n}" for n in (3, 1, 2)
    ]  # --host first
    assert len({one.rpartition(":")[2] for one in found}) == 3
    assert all(map(opens, found))
    assert re.match(r"reactor: http://\S+, http://\S+ and http://\S+ serve handlers", program.line)
    program.signal(signal.SIGUSR2)
    for one in found:
        opens(one)
    program.signal()
    assert program.wait()[0] == 0
    (line,) = [one for one in program.error_log().splitlines() if "listening on" in one]
    places = [f"127.0.0.{n}, port {found[i].rpartition(':')[2][:-1]}" for i, n in ((0, 3), (1, 1))]
    assert line.strip().startswith(f"listening on {places[0]}, {places[1]}, 127.0.0.2, port ")


def test_one_of_several_addresses_that_is_in_use(demo: Start) -> None:
    port = demo().address[1]
    said = complaint(run("-b", "127.0.0.2:0", "-b", f"127.0.0.1:{port}"), 1)
    assert f"Cannot listen on 127.0.0.1, port {port}: address already in use" in said


def test_help_is_whole() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for option in (
        *(
            "DIR | FILE | package.module:name",
            "--directory",
            "--static",
            "--read-only",
            "--allow-delete",
        ),
        *("--reload", "--no-listing", "--spa", "--type", "--header", "--cache-control"),
        *("-b ADDRESS[:PORT], --bind ADDRESS[:PORT]", "--host", "--port"),
        *("--access-log", "--access-log-format", "--error-log", "--log-level"),
        *("--health", "--metrics"),
    ):
        assert option in done.stdout
    for one in fields(Limits):
        assert "--" + one.name.replace("_", "-") in done.stdout


# --- what is wrong -------------------------------------------------------------------------------


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """One clear sentence and no more."""
    assert done.returncode == status, done.stderr
    assert done.stdout in ("", None)
    assert done.stderr.startswith("reactor: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--unknown"], "--unknown"),
        (["--port", "\u0664\u0662"], "--port"),
        (["--host", "localhost:80"], "--host"),
        (["--bind", "http://localhost/"], "--bind"),
        (["-b", "::1:80"], "write [::1:80] or [::1]:80"),
        (["--idle-timeout", "nan"], "--idle-timeout"),
        (["--static", "/x=a", "--static", "x/=b"], "/x/"),
        (["--header", "X: a\r\nY: b"], "--header"),
        (["no_such_module:x"], "no_such_module"),
        (["reactor:no_such"], "no_such"),
        (["reactor:__doc__"], "callable"),
        (["--reload"], "--reload: it needs an application"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_status_2(arguments: list[str], named: str) -> None:
    assert named in complaint(run("--port", "0", *arguments), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--directory", "/nowhere/at/all"],
        ["--directory", "/dev/null"],
        ["--directory", ""],
        ["--directory", "a\nb"],
        ["/nowhere/at/all"],
        ["./reactor:Response"],
        ["--static", "/x=nowhere"],
        ["--static", "/x=README.md"],
        [".gitignore"],
        ["--spa", "no_such.html", "reactor"],
        ["--spa", "simulator", "reactor"],
        ["--access-log", "/nowhere/at/all"],
        ["--access-log", "/"],
        ["--access-log", ""],
        ["--host", "192.0.2.1"],
        ["--host", "no.such.name.invalid"],
        ["--host", "a..b"],
        ["--host", "x" * 100],
        ["--host", "\u20ac" * 100],
        ["--backlog", "4294967296"],
    ],
)
def test_an_option_that_cannot_be_used_is_one_sentence_and_status_1(arguments: list[str]) -> None:
    complaint(run("--port", "0", *arguments), 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    complaint(run("--port", "0", "--directory", str(tmp_path)), 1)


def test_a_port_in_use(demo: Start) -> None:
    program = demo()
    said = complaint(run("--port", str(program.address[1])), 1)
    assert str(program.address[1]) in said
    assert "in use" in said


@pytest.mark.parametrize(
    "redirection",
    ["2>/dev/full", "2>&-", "1>&-", "1>/dev/full", "0<&-", "0<&- 1>&- 2>&-", "1>/dev/full 2>&1"],
)
@pytest.mark.parametrize("module", ["reactor", "handlers", "loadtest.threaded"])
def test_standard_streams_that_are_closed_or_full(
    tmp_path: Path, module: str, redirection: str
) -> None:
    """The server starts, serves and ends. The number of a closed one is not that of a socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shell = f'exec "$@" {redirection}'
    what = ["handlers:app"] if module == "loadtest.threaded" else []
    command = [sys.executable, "-m", module, *what, "--port", str(port), "--directory"]
    process = subprocess.Popen(
        ["sh", "-c", shell, "sh", *command, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        until = time.monotonic() + TIMEOUT
        while True:
            try:
                client = Client(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                assert process.poll() is None, process.stdout and process.stdout.read()
                assert time.monotonic() < until
                time.sleep(0.05)
        with client:
            assert client.ask("/files/").status == 200
            for number in re.findall("[012](?=[<>]&-)", redirection):
                assert Path(f"/proc/{process.pid}/fd/{number}").readlink() == Path(os.devnull)
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_standard_output_that_is_closed_is_a_record(start: Start, tmp_path: Path) -> None:
    """And one without room is an error of the access log."""
    for redirection, record in (
        ("1>&-", "WARNING reactor: There is no access log: standard output is closed"),
        ("1>/dev/full", "ERROR reactor: Cannot write the access log: no space left on device; "),
    ):
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM_COMMAND, str(tmp_path)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            lines = [process.stderr.readline()]
            if "http" not in lines[0]:
                lines.append(process.stderr.readline())
            port = int(lines[-1].partition("127.0.0.1:")[2].partition("/")[0])
            with Client(("127.0.0.1", port)) as client:
                client.ask("/")
                while "full" in redirection and record not in lines[-1]:
                    lines.append(process.stderr.readline())
                    assert lines[-1], lines
            assert any(record in line for line in lines), lines
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


PROGRAM_COMMAND = (sys.executable, "-m", "reactor", "--port", "0")


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(demo: Start, number: int) -> None:
    program = demo()
    clients = [program.connect() for _ in range(20)]
    for client in clients[:10]:
        client.ask()
    clients[10].send(request()[:-2])  # a head that is not whole
    clients[10].close()
    program.signal(number)
    status, took = program.wait()
    assert status == 0
    assert took < stretched(2)
    assert "Traceback" not in program.error_log()
    for client in clients[:10]:
        assert client.ended()
    for client in clients:
        client.close()


def test_a_signal_right_after_the_first_line_is_obeyed(demo: Start) -> None:
    """The handlers of signals are installed before the line is printed."""
    for _ in range(5):
        program = demo()
        program.signal()
        assert program.wait()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_completed(application: Start, number: int) -> None:
    program = application()
    with program.connect() as client, program.connect() as idle:
        idle.ask()
        client.send(request("/slow?0.5") + request("/next"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "slow\n"
        program.signal(number)
        assert idle.ended()
        response = client.read_response()
        assert response.body == b"done"
        assert response.get("connection") == "close"
        assert client.ended()
    status, took = program.wait()
    assert status == 0
    assert took < stretched(2)


def test_a_running_request_is_not_waited_for_without_end(application: Start) -> None:
    program = application(0.3)
    with program.connect() as client:
        client.send(request("/slow?1000"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "slow\n"
        program.signal()
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    status, took = program.wait()
    assert status == 0
    assert took < stretched(2)


@pytest.mark.parametrize("target", ["/slow?1000", "/fifo"])
def test_a_second_signal_ends_all(application: Start, target: str) -> None:
    """Also with a thread of the pool that hangs on a disk."""
    program = application(1000)
    with program.connect() as client:
        client.send(request(target))
        with program.connect() as other:
            other.ask()  # by now the first one runs
        program.signal()
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.5)
        program.signal()
        status, took = program.wait()
    assert status == 0
    assert took < stretched(1.5)


def test_a_second_signal_ends_a_handler_that_blocks_the_loop(application: Start) -> None:
    program = application(1000)
    with program.connect() as client:
        client.send(request("/block"))
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == "blocked\n"
        program.signal()
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.3)
        program.signal()
        status, took = program.wait()
    assert status == 1
    assert took < stretched(1.5)


def test_ctrl_c_while_an_application_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('loads', flush=True)\ntime.sleep(1000)")
    process = subprocess.Popen(
        [sys.executable, "-m", "reactor", "--port", "0", "slow:app"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loads\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (128 + signal.SIGINT, "", "")


def test_many_signals_at_once(application: Start) -> None:
    program = application()
    with program.connect() as client:
        client.ask()
        for _ in range(20):
            program.signal()
            time.sleep(0.001)
        # The last ones may meet an interpreter that has taken its handlers down already.
        assert program.wait()[0] in (0, 1, -signal.SIGTERM)
    assert "Traceback" not in program.error_log()


# --- logs ----------------------------------------------------------------------------------------


def test_the_access_log_goes_to_standard_output(demo: Start) -> None:
    program = demo()
    with program.connect() as client:
        client.ask("/echo/one")
    program.signal()
    assert program.wait()[0] == 0
    assert program.process.stdout is not None
    assert '"GET /echo/one HTTP/1.1" 200 3\n' in program.process.stdout.read()


def test_the_access_log_is_appended_to_a_file(demo: Start, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    program = demo("--access-log", str(path))
    with program.connect() as client:
        client.ask("/echo/one")
    program.signal()
    assert program.wait()[0] == 0
    before, line = path.read_text().splitlines()
    assert before == "before"
    assert '"GET /echo/one HTTP/1.1" 200 3' in line
    assert program.process.stdout is not None
    assert program.process.stdout.read() == ""


def test_the_access_log_has_the_format_that_was_asked_for(demo: Start) -> None:
    program = demo("--access-log-format", "%(m)s {%(U)s} %(s)s %({server}o)s")
    with program.connect() as client:
        client.ask("/echo/one?x")
    program.signal()
    assert program.wait()[0] == 0
    assert program.process.stdout is not None
    assert program.process.stdout.read() == "GET {/echo/one} 200 -\n"


FAILING = """
    import logging, time

    def app(request):
        if request.path == "/slow":
            time.sleep(0.2)
        logging.getLogger("mine").info("a word")
        raise ValueError("first\\n2026-01-01T00:00:00.000Z ERROR reactor: forged")
"""


def test_the_error_log_goes_to_standard_error(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(textwrap.dedent(FAILING))
    program = start("failing:app", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    with program.connect() as client:
        assert client.ask("/slow", "X-Request-Id: r1").status == 500
    program.signal()
    assert program.wait()[0] == 0
    records = [line for line in program.error_log().splitlines() if not line.startswith("    ")]
    assert [record.partition(" ")[2] for record in records[:2]] == [
        "INFO mine: a word",
        "ERROR reactor: <GET /slow HTTP/1.1> failed [r1]",
    ]
    assert re.search(
        r"WARNING reactor: <GET /slow HTTP/1.1> held the loop for 0.[0-9]+ s", records[2]
    )
    assert len(records[3:]) == 2, "nothing is forged"
    assert "INFO reactor: Draining: " in records[3]
    assert "INFO reactor: The server has ended" in records[4]


def test_the_error_log_is_appended_to_a_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(textwrap.dedent(FAILING))
    (tmp_path / "log").write_text("before\n")
    program = start(
        *("failing:app", "--error-log", "log", "--log-level", "error", "--slow-callback", "0"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with program.connect() as client:
        assert client.ask("/slow").status == 500
    program.signal()
    assert program.wait()[0] == 0
    text = (tmp_path / "log").read_text()
    assert text.startswith("before\n")
    assert text.count("\n20") == 1
    assert "\n    ValueError: first\n    2026-01-01" in text
    assert program.error_log() == ""


def test_an_application_that_cannot_be_prepared_is_a_sentence(tmp_path: Path) -> None:
    source = """
        from reactor.web.app.application import Application

        app = Application()
        for _ in range(2):
            app.get("/twice")(lambda request: "x")
    """
    (tmp_path / "twice.py").write_text(textwrap.dedent(source))
    done = run("twice:app", "--port", "0", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert "/twice" in complaint(done, 2)


def test_an_error_log_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    done = run("--error-log", str(tmp_path / "nowhere/log"))
    assert "Cannot write the error log" in complaint(done, 1)


def test_files_of_logs_are_opened_anew_on_sigusr1(demo: Start, tmp_path: Path) -> None:
    """Each line is in one of the files, whole, while they are renamed under load."""
    access, errors = tmp_path / "access.log", tmp_path / "error.log"
    program = demo(
        *("--access-log", str(access), "--access-log-format", "%(U)s"),
        *("--error-log", str(errors), "--slow-callback", "0"),
    )
    with program.connect() as client:
        for turn in range(5):
            for number in range(100):
                client.ask(f"/echo/{turn * 100 + number}")
            for path in (access, errors):
                path.rename(path.with_suffix(f".{turn}"))
            program.signal(signal.SIGUSR1)
            until = time.monotonic() + TIMEOUT
            while not (access.exists() and errors.exists()):
                assert time.monotonic() < until
                client.ask("/")
        program.signal(signal.SIGUSR2)
        client.ask("/")
    program.signal()
    assert program.wait()[0] == 0
    files = [*(access.with_suffix(f".{turn}") for turn in range(5)), access]
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert [line for line in lines if line != "/"] == [f"/echo/{n}" for n in range(500)]
    assert errors.read_text().count("state of the server:") == 1
    assert program.error_log() == ""


def test_sigusr2_writes_the_state_of_the_server(demo: Start) -> None:
    """At any level of the log, and without a break in the service."""
    program = demo("--log-level", "critical")
    with program.connect() as client:
        client.ask("/")
        program.signal(signal.SIGUSR2)
        client.ask("/")
        program.signal()
        assert program.wait()[0] == 0
    first, *lines = program.error_log().splitlines()
    assert first.endswith("INFO reactor: state of the server:")
    assert all(line.startswith("    ") for line in lines)
    for word in ("loop: ", "connections: 1 open", "127.0.0.1 IDLE", "timers: ", "pool: "):
        assert any(line.strip().startswith(word) for line in lines), word


def test_health_and_metrics_are_there_when_they_are_asked_for(start: Start, tmp_path: Path) -> None:
    (tmp_path / "healthz").write_text("a file")
    paths = ("/healthz", "/readyz", "/metrics")
    with start(str(tmp_path)).connect() as client:
        assert [client.ask(path).status for path in paths] == [200, 404, 404]
        assert client.ask("/healthz").body == b"a file"
    with start(str(tmp_path), "--health", "--metrics").connect() as client:
        assert [client.ask(path).status for path in paths] == [200, 200, 200]
        assert client.ask("/healthz").body == b"ok\n"
        assert b"reactor_requests_total" in client.ask("/metrics").body


def test_the_access_log_may_be_off(demo: Start) -> None:
    program = demo("--access-log", "off")
    with program.connect() as client:
        client.ask("/echo/one")
    program.signal()
    assert program.wait()[0] == 0
    assert program.process.stdout is not None
    assert program.process.stdout.read() == ""


def test_a_log_that_nobody_reads_stops_nothing(demo: Start) -> None:
    """Its pipe is full after 64 KiB; the server goes on, and ends at a signal."""
    program = demo()
    with program.connect() as client:
        for _ in range(100):
            client.send(request("/echo/" + "x" * 500) * 10)
            for _ in range(10):
                assert client.read_response().status == 200
        time.sleep(0.6)  # two batches: the thread that writes hangs by now
        assert client.ask("/echo/x").status == 200
    program.signal()
    status, took = program.wait()
    assert status == 0
    assert took < stretched(2)


def test_a_log_whose_reader_is_gone_stops_nothing(demo: Start) -> None:
    program = demo()
    assert program.process.stdout is not None
    program.process.stdout.close()
    program.process.stdout = None
    with program.connect() as client:
        for _ in range(3):
            assert client.ask("/echo/x").status == 200
            time.sleep(0.3)
    program.signal()
    assert program.wait()[0] == 0
    assert "Traceback" not in program.error_log()


def test_descriptors_are_raised_to_the_hard_limit(demo: Start) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, 4096)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))

    program = demo(preexec_fn=lower)
    match = re.search(r"([0-9]+) connections at most", program.line)
    assert match
    assert 256 < int(match[1]) < most


# --- versions ------------------------------------------------------------------------------------


def test_the_version() -> None:
    done = run("--version")
    assert done.returncode == 0
    python = ".".join(map(str, sys.version_info[:3]))
    assert done.stdout == f"reactor {reactor.__version__} on Python {python}\n"


OLD_PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.[89].*/bin/python")) + sorted(
    Path.home().glob(".pyenv/versions/3.10.*/bin/python")
)


@pytest.mark.skipif(not OLD_PYTHONS, reason="there is no old Python here")
@pytest.mark.parametrize("module", ["reactor", "handlers"])
def test_an_older_python_gets_one_sentence(module: str) -> None:
    for python in OLD_PYTHONS:
        command = [str(python), "-m", module, "--port", "0"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        found = "3.10" if "/3.10." in str(python) else str(python).split("/versions/")[1][:3]
        assert done.returncode == 1
        assert done.stderr == (f"reactor needs Python 3.11 or later, and this is Python {found}.\n")
