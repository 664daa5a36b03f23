"""--reload with real processes: what is served while files change, break, and are put right again.

The application says which version it is and which process. All waiting is for something that is
sent or served, up to a deadline.
"""

import contextlib
import json
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
from pathlib import Path
from typing import Any

import pytest

from reactor.process.reloader import NAMES_MOST
from reactor.process.supervisor import LEAVING_MOST, command_of_child
from tests.support.paths import ROOT
from tests.support.raw_client import TIMEOUT, Client, request
from tests.support.slowness import stretched
from tests.support.terminal import start_on_terminal

pytestmark = pytest.mark.system

APPLICATION = """
    import json, os, signal, sys, time
    from reactor import Response, sleep

    VERSION = "{version}"
    signal.signal(signal.SIGUSR1, lambda *_: print("signal passed on", file=sys.stderr, flush=True))

    async def handler(request):
        response = f"{{VERSION}} {{os.getpid()}}"
        if request.path == "/slow":
            print("slow", file=sys.stderr, flush=True)
            while not os.path.exists("go on"):
                await sleep(0.02)
        elif request.path == "/block":
            print("blocks", file=sys.stderr, flush=True)
            time.sleep(1000)
        elif request.path == "/exit":
            os._exit(3)
        elif request.path == "/lazy":
            import lazy
            response = lazy.VERSION
        elif request.path == "/inherited":
            numbers = [int(name) for name in os.listdir("/dev/fd")]
            response = json.dumps([[n for n in numbers if n > 2 and inherits(n)], list(os.environ)])
        return Response(200, response.encode())

    def inherits(number):
        try:
            return os.get_inheritable(number)
        except OSError:
            return False
"""


class Program:
    """`python -m reactor --reload app:handler` in a directory, and what it says on stderr."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self._seen = 0  # lines that `wait_for` has passed
        self._more = threading.Condition()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled modules can be outdated
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "reactor", "--port", "0", "--reload", "app:handler"),
                *options,
            ],
            cwd=directory,
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a signal to the group is as one of the terminal
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify()

    def wait_for(self, text: str) -> str:
        """The next line that holds the text; those before it are passed."""
        until = time.monotonic() + TIMEOUT
        with self._more:
            while True:
                while self._seen < len(self.lines):
                    self._seen += 1
                    if text in self.lines[self._seen - 1]:
                        return self.lines[self._seen - 1]
                assert self._more.wait(until - time.monotonic()), (text, self.lines)

    def started(self) -> "Program":
        """It serves, and its address is known."""
        match = re.search(r":([0-9]+)/", self.wait_for("http://"))
        assert match
        self.address = ("127.0.0.1", int(match[1]))
        self.wait_for("Watching ")
        return self

    def write(self, name: str, text: str) -> None:
        """At once, as far as others can see."""
        path = self.directory / name
        new = path.with_name("new")
        new.write_text(text)
        new.rename(path)

    def edit(self, version: str, more: str = "") -> None:
        self.write("app.py", application(version, more))

    def connect(self) -> Client:
        return Client(self.address)

    def ask(self, target: str = "/") -> str:
        """By a connection of its own."""
        with self.connect() as client:
            return client.ask(target).body.decode()

    def version(self) -> str:
        return self.ask().split()[0]

    def pid(self) -> int:
        return int(self.ask().split()[1])

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit status; by then all has been read that is there to be read."""
        status = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert not self._reader.is_alive(), "some child still holds the pipe"
        return status

    def said(self, text: str) -> int:
        """How many lines hold the text."""
        return sum(text in line for line in self.lines)

    def close(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self._reader.join(TIMEOUT)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def application(version: str, more: str = "") -> str:
    return textwrap.dedent(APPLICATION.format(version=version)) + more + "\n"


Start = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Start]:
    """Run it in a directory with this `app.py`, and do not wait for anything."""
    programs: list[Program] = []

    def launch_one(text: str, *options: str) -> Program:
        (tmp_path / "app.py").write_text(text)
        programs.append(Program(tmp_path, *options))
        return programs[-1]

    yield launch_one
    for program in programs:
        program.close()


@pytest.fixture
def start(launch: Start) -> Start:
    """As `launch`, with version `1`, until it serves."""

    def start_one(*options: str, more: str = "") -> Program:
        return launch(application("1", more), *options).started()

    return start_one


def wait_until(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


def free_port() -> int:
    """One that nobody listens on, nor did."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def refused(program: Program) -> bool:
    try:
        program.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def gone(pid: int) -> bool:
    """Whether the process has ended; who its parent was does not matter."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # where there is no init, nobody reaps an orphan
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_child_is_started_as_its_parent_was(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--reload", "-m", "a:b"]
    with_options = ["python", "-X", "dev", "-m", "reactor", *arguments]
    for original, options in (
        (with_options, ["-X", "dev"]),
        (["python", "-m", "reactor", *arguments], []),
        (["python", "-X", "dev", "-m", "handlers", *arguments[1:]], ["-X", "dev"]),
        (["python", "/usr/bin/reactor", *arguments], []),
        (["python", "-c", "..."], []),  # called from another program
    ):
        monkeypatch.setattr(sys, "orig_argv", original)
        expected = [sys.executable, *options, "-m", "reactor", *arguments]
        assert command_of_child(arguments) == expected


# --- what is good --------------------------------------------------------------------------------


def test_a_change_is_served(start: Start) -> None:
    program = start()
    before = program.ask()
    program.edit("2")
    assert program.wait_for("Reloaded").endswith("changed: app.py")
    wait_until(lambda: gone(int(before.split()[1])))
    after = program.ask()
    assert before.split()[0] == "1"
    assert after.split()[0] == "2"
    assert program.said("http://") == 1
    program.signal()
    assert program.wait() == 0
    assert program.process.stdout is not None
    assert program.process.stdout.read().count('"GET / HTTP/1.1" 200') == 2
    assert program.said("Traceback") == 0


def test_a_request_that_has_begun_is_finished_by_the_version_before(start: Start) -> None:
    program = start()
    with program.connect() as client:
        pid = client.ask().body.split()[1]  # a keep-alive connection
        client.send(request("/slow"))
        program.wait_for("slow")
        program.edit("2")
        program.wait_for("Reloaded")
        # Until the old one has closed its sockets, it may still accept beside the new one.
        wait_until(lambda: all(program.version() == "2" for _ in range(5)))
        program.write("go on", "")
        response = client.read_response()
        assert response.body.split() == [b"1", pid]
        assert response.get("connection") == "close"
        assert client.ended()
    wait_until(lambda: gone(int(pid)))


def test_nothing_is_lost_while_versions_take_over(start: Start) -> None:
    """By connections of their own, and by kept ones that are left only when sent so."""
    program = start()
    served: dict[bool, list[int]] = {False: [], True: []}
    failed: list[BaseException] = []
    stop = threading.Event()

    def ask(kept: bool) -> None:
        try:
            while not stop.is_set():
                with program.connect() as client:
                    while not stop.is_set():
                        response = client.ask()
                        served[kept].append(int(response.body.split()[0]))
                        if not kept or response.get("connection") == "close":
                            break
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(kept,)) for kept in (False, True)]
    for thread in threads:
        thread.start()
    try:
        for version in range(2, 7):
            program.edit(str(version))  # as long as before, and often in the same second
            program.wait_for("Reloaded")
        wait_until(lambda: all(versions[-1] == 6 for versions in served.values()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    for versions in served.values():
        assert set(versions) == {1, 2, 3, 4, 5, 6}
    assert served[True] == sorted(served[True])


def test_many_changes_are_one_reload(start: Start, tmp_path: Path) -> None:
    names = [f"part{number}" for number in range(NAMES_MOST + 3)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("")
    program = start(more="import " + ", ".join(names))
    for name in names:
        program.write(f"{name}.py", "\n")
        time.sleep(0.02)
    shown = ", ".join(f"{name}.py" for name in names[:NAMES_MOST])
    assert program.wait_for("Reloaded").endswith(f"changed: {shown} and 3 more")
    program.edit("2")
    assert program.wait_for("Reloaded").endswith("changed: app.py")


def test_a_module_that_a_handler_imports_is_watched_from_then_on(start: Start) -> None:
    program = start()
    program.write("lazy.py", "VERSION = 'lazy 1'")
    assert program.ask("/lazy") == "lazy 1"
    program.write("lazy.py", "VERSION = 'lazy 2'")
    assert program.wait_for("Reloaded").endswith("changed: lazy.py")
    wait_until(lambda: program.ask("/lazy") == "lazy 2")


def test_programs_that_the_application_starts_inherit_nothing(start: Start) -> None:
    inherited, variables = json.loads(start().ask("/inherited"))
    assert inherited == []
    assert not [name for name in variables if "RELOAD" in name]


# --- what is broken ------------------------------------------------------------------------------


def test_a_syntax_error_is_shown_once_and_the_last_good_version_stays(start: Start) -> None:
    program = start()
    pid = program.pid()
    program.edit("2", "wrong = (")
    program.wait_for("Cannot import 'app': SyntaxError: '(' was never closed (app.py, line")
    assert str(program.directory / "app.py") in program.wait_for("File")
    program.wait_for("wrong = (")
    program.wait_for("The previous version goes on serving")
    assert program.pid() == pid
    assert program.version() == "1"
    program.edit("3")
    program.wait_for("Reloaded")
    wait_until(lambda: program.version() == "3")
    assert program.said("reactor: Cannot import") == 1
    assert program.said("goes on") == 1


def test_an_error_is_shown_with_its_way_through_the_application(start: Start) -> None:
    program = start()
    program.write("part.py", "def fail():\n    return {}['no such key']\n")
    program.edit("2", "import part\npart.fail()")
    program.wait_for("KeyError: 'no such key'")
    program.wait_for("Traceback")
    assert "app.py" in program.wait_for("File")
    program.wait_for("part.fail()")
    assert "part.py" in program.wait_for("File")
    program.wait_for("return {}['no such key']")
    assert program.version() == "1"
    assert not [line for line in program.lines if "pkgutil" in line or "importlib" in line]


def test_a_version_that_is_broken_at_the_start_is_waited_for(launch: Start) -> None:
    """Clients that come meanwhile get the version that works."""
    program = launch(application("1", "wrong = ("), "--port", str(free_port()))
    program.address = ("127.0.0.1", int(program.process.args[-1]))  # type: ignore[index, arg-type]
    program.wait_for("Nothing is served until a file changes")
    with program.connect() as client:
        client.send(request())
        program.edit("2")
        assert client.read_response().body.split()[0] == b"2"
    program.started()
    program.signal(signal.SIGINT)
    assert program.wait() == 0


def test_a_version_that_is_broken_at_the_start_is_ended_by_ctrl_c(launch: Start) -> None:
    program = launch("wrong = (")
    program.wait_for("Nothing is served until a file changes")
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.wait() == 0
    assert program.said("KeyboardInterrupt") == 0


def test_a_new_module_that_is_broken_or_missing(start: Start, tmp_path: Path) -> None:
    program = start()
    program.write("part.py", "wrong = (")
    program.edit("2", "import part, missing, pack.missing")
    program.wait_for("goes on")
    program.write("part.py", "")  # only this one changes
    program.wait_for("No module named 'missing'")
    program.write("missing.py", "")  # it was not there
    program.wait_for("No module named 'pack'")
    (tmp_path / "pack").mkdir()
    program.write("pack/missing.py", "")
    (tmp_path / "pack" / "__init__.py").touch()
    program.wait_for("Reloaded")
    wait_until(lambda: program.version() == "2")


def test_a_file_that_is_deleted(start: Start, tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("")
    program = start(more="import part")
    (tmp_path / "part.py").unlink()
    program.wait_for("No module named 'part'")
    assert program.version() == "1"
    (tmp_path / "app.py").unlink()
    program.wait_for("there is no module 'app'")
    assert program.version() == "1"
    program.edit("2")
    program.wait_for("Reloaded")
    wait_until(lambda: program.version() == "2")


def test_an_import_that_hangs_ends_with_the_next_change(start: Start) -> None:
    wrong = "print('hangs', file=sys.stderr, flush=True)\ntime.sleep(1000)"
    program = start()
    program.edit("2", wrong)
    program.wait_for("hangs")
    assert program.version() == "1"
    program.edit("3")
    program.wait_for("Reloaded")
    wait_until(lambda: program.version() == "3")
    assert program.said("killed") == 0


def test_an_import_that_ends_the_process(launch: Start) -> None:
    program = launch("import os\nos._exit(1)")
    program.wait_for("has ended while it was loaded, with exit status 1")
    program.wait_for("Nothing is served until a file changes")
    program.edit("2")
    assert program.started().version() == "2"


def test_a_version_that_dies_is_replaced(start: Start) -> None:
    program = start()
    for _ in range(2):
        with program.connect() as client, pytest.raises((EOFError, ConnectionResetError)):
            client.ask("/exit")
        program.wait_for("has ended by itself, with exit status 3")
        program.wait_for("started again in")
        assert program.version() == "1"  # it waited for the new one
    program.edit("2", "wrong = (")
    program.wait_for("goes on")
    os.kill(program.pid(), signal.SIGKILL)
    program.wait_for("by signal 9")
    program.wait_for("Nothing is served")  # the disk has nothing better
    program.edit("3")
    program.wait_for("Reloaded")
    assert program.version() == "3"


def test_a_version_that_does_not_end_is_killed(start: Start) -> None:
    program = start("--shutdown-timeout", "0", "--stop-timeout", "0.5")
    pid = program.pid()
    with program.connect() as client:
        client.send(request("/block"))
        program.wait_for("blocks")
        program.edit("2")
        program.wait_for("Reloaded")
        assert program.version() == "2"
        program.wait_for(f"Process {pid} did not end within 2.5 s, and is killed")
        wait_until(lambda: gone(pid))
    assert program.version() == "2"
    program.signal()
    assert program.wait() == 0


def connect_to_another(program: Program, pids: list[int]) -> Client:
    """A connection to a process that is not among `pids`, to which it is added.

    Just after a reload the old process may still accept beside the new one.
    """
    while True:
        client = program.connect()
        pid = int(client.ask().body.split()[1])
        if pid not in pids:
            pids.append(pid)
            return client
        client.close()
        time.sleep(0.02)


def test_only_so_many_versions_drain(start: Start) -> None:
    program = start("--shutdown-timeout", "1000")
    clients = []
    pids: list[int] = []
    for version in range(2, LEAVING_MOST + 3):
        clients.append(connect_to_another(program, pids))
        clients[-1].send(request("/slow"))
        program.wait_for("slow")
        program.edit(str(version))
        program.wait_for("Reloaded")
    connect_to_another(program, pids).close()
    program.wait_for(f"Process {pids[0]} did not end within the next {LEAVING_MOST} reloads")
    wait_until(lambda: gone(pids[0]))
    assert not any(gone(pid) for pid in pids[1:])
    program.signal()
    wait_until(lambda: refused(program))
    program.signal()
    program.wait()
    assert all(gone(pid) for pid in pids)
    for client in clients:
        client.close()


# --- signals and the end -------------------------------------------------------------------------


def test_a_running_request_is_completed_when_ctrl_c_ends_all(start: Start) -> None:
    """The terminal signals every process of the group; each is to end once."""
    program = start()
    with program.connect() as client:
        client.send(request("/slow"))
        program.wait_for("slow")
        os.killpg(program.process.pid, signal.SIGINT)
        wait_until(lambda: refused(program))
        program.write("go on", "")
        assert client.read_response().body.split()[0] == b"1"
    assert program.wait() == 0
    assert program.said("KeyboardInterrupt") == 0


@pytest.mark.parametrize(
    ("target", "sent", "status"), [("slow", "slow", 0), ("block", "blocks", 1)]
)
def test_a_second_signal_ends_all(start: Start, target: str, sent: str, status: int) -> None:
    program = start("--shutdown-timeout", "1000")
    pid = program.pid()
    with program.connect() as client:
        client.send(request("/" + target))
        program.wait_for(sent)
        program.signal()
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.2)
        program.signal()
        began = time.monotonic()
        assert program.wait() == status
        assert time.monotonic() - began < stretched(5)
    assert gone(pid)


def test_sighup_reloads(start: Start) -> None:
    """Without a terminal, and also where all processes of the group get it."""
    program = start()
    before = program.pid()
    program.signal(signal.SIGHUP)
    program.wait_for("Started again")
    wait_until(lambda: program.pid() != before)
    before = program.pid()
    os.killpg(program.process.pid, signal.SIGHUP)
    program.wait_for("Started again")
    wait_until(lambda: program.pid() != before)
    program.signal()
    assert program.wait() == 0


@pytest.mark.parametrize("more", [(), (signal.SIGHUP, signal.SIGTERM)])
def test_a_terminal_that_closes_ends_it_and_loses_no_request(
    tmp_path: Path, more: tuple[int, ...]
) -> None:
    """The kernel sends SIGHUP to the session; a shell may send it again, or SIGTERM."""
    (tmp_path / "app.py").write_text(application("1"))
    process, master = start_on_terminal(
        [sys.executable, "-m", "reactor", "--port", "0", "--reload", "app:handler"], tmp_path
    )
    try:
        said = b""
        while (match := re.search(rb":([0-9]+)/.*Watching", said, re.S)) is None:
            said += os.read(master, 1000)
        with Client(("127.0.0.1", int(match[1]))) as client:
            client.send(request("/slow"))
            while b"slow\r\n" not in said:  # to its end, which is written by itself
                said += os.read(master, 1000)
            os.close(master)
            master = -1
            for number in more:
                time.sleep(0.2)
                process.send_signal(number)
            time.sleep(0.3)
            (tmp_path / "go on").write_text("")
            assert client.read_response().body.split()[0] == b"1"
        assert process.wait(TIMEOUT) == 0
    finally:
        if master >= 0:
            os.close(master)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_signal_while_nothing_is_loaded_yet(launch: Start) -> None:
    program = launch("import sys, time\nprint('loads', file=sys.stderr)\ntime.sleep(1000)")
    program.wait_for("loads")
    program.signal()
    assert program.wait() == 0


def test_no_child_survives_its_parent(start: Start) -> None:
    """Neither the one that serves nor one that drains, even if it has time left."""
    program = start("--shutdown-timeout", "1000")
    draining = program.pid()
    with program.connect() as client:
        client.send(request("/slow"))
        program.wait_for("slow")
        program.edit("2")
        program.wait_for("Reloaded")
        wait_until(lambda: program.pid() != draining)
        serving = program.pid()
        program.signal(signal.SIGKILL)
        program.process.wait(TIMEOUT)
        wait_until(lambda: gone(draining) and gone(serving))


def test_no_child_whose_handler_blocks_survives_its_parent(start: Start) -> None:
    program = start("--shutdown-timeout", "0")
    pid = program.pid()
    with program.connect() as client:
        client.send(request("/block"))
        program.wait_for("blocks")
        program.signal(signal.SIGKILL)
        wait_until(lambda: gone(pid))


def test_no_child_survives_its_parent_while_it_is_loaded(start: Start) -> None:
    program = start()
    program.edit("2", "print('pid', os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(1000)")
    pid = int(program.wait_for("pid").split()[1])
    program.signal(signal.SIGKILL)
    wait_until(lambda: gone(pid))


def test_all_addresses_are_handed_over(launch: Start) -> None:
    program = launch(application("1"), "-b", "127.0.0.1:0", "-b", "127.0.0.2:0")
    line = program.wait_for("http://")
    places = [(one, int(port)) for one, port in re.findall(r"http://([0-9.]+):([0-9]+)/", line)]
    assert [address for address, _ in places] == ["127.0.0.1", "127.0.0.2"]
    program.wait_for("Watching ")

    def versions() -> set[str]:
        found = set()
        for place in places:
            with Client(place) as client:
                found.add(client.ask().body.decode().split()[0])
        return found

    assert versions() == {"1"}
    program.edit("2")
    program.wait_for("Reloaded")
    wait_until(lambda: versions() == {"2"})


def test_signals_are_passed_on(start: Start) -> None:
    """Also to a version that was being loaded when they came."""
    program = start()
    program.signal(signal.SIGUSR1)
    program.wait_for("signal passed on")
    fifo = program.directory / "fifo"
    os.mkfifo(fifo)
    program.edit("2", "print('loads', file=sys.stderr, flush=True)\nopen('fifo').read()")
    program.wait_for("loads")
    program.signal(signal.SIGUSR1)
    program.wait_for("signal passed on")  # by the one that serves
    fifo.write_text("go on")
    program.wait_for("signal passed on")
    # Until the old one has closed its sockets, it may still accept beside the new one.
    wait_until(lambda: program.version() == "2")


# --- what is wrong -------------------------------------------------------------------------------


def test_a_port_in_use(launch: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        program = launch(application("1"), "--port", port)
        assert program.wait() == 1
    assert len(program.lines) == 1
    assert program.lines[0].startswith(f"reactor: Cannot listen on 127.0.0.1, port {port}: ")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--static", "/x=nowhere"], "nowhere"),
        (["--access-log", "/nowhere/at/all"], "access log"),
    ],
)
def test_an_error_that_no_change_of_the_application_mends(
    launch: Start, options: list[str], named: str
) -> None:
    program = launch(application("1"), *options)
    assert program.wait() == 1
    assert len(program.lines) == 1
    assert named in program.lines[0]
