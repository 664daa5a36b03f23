"""Processes on this machine, and what the kernel says about them.

A benchmark needs its server on one core and its clients on another, CPU time and memory of a
process with all its children, and nothing left running afterwards. All of that is here, read from
/proc, so the measured program takes no part in its measurement. Linux only.

CPU time is user plus system time of /proc/PID/stat: of all the process's threads, of its living
descendants, and of the children it has waited for. The unit is a clock tick (10 ms), which is
0.3 % of a load of three seconds; where a load is light, `cpu_seconds_of` has a finer clock.

Every process is started in a session of its own, so that Ctrl-C reaches only the benchmark, which
then stops what it started, by process id, on its way out.
"""

import json
import os
import platform
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, TypeAlias

PROJECT: Final = Path(__file__).resolve().parent.parent
ADDRESS: Final = "127.0.0.1"
START_TIMEOUT: Final = 15.0  # seconds for a server to listen
STOP_TIMEOUT: Final = 5.0  # seconds for a process to end by itself before it is killed

Process: TypeAlias = "subprocess.Popen[str]"


class MeasurementError(Exception):
    """Something could not be measured; the text says what and why."""


# ---------------------------------------------------------------------------------- processes


@cache
def cores() -> tuple[int, int]:
    """The server's core and its clients' core: the same one where there is only one.

    Once told it stays, also when this process is confined to one of them.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def started(
    command: Sequence[str], core: int | None, log: Path, pipes: bool = False
) -> Iterator[Process]:
    """A process pinned to `core` (None: to none), stopped at the end.

    With `pipes`, its stdin and stdout are.
    """
    usable = os.sched_getaffinity(0) if core is None else {core}
    process: Process | None = None
    try:
        with log.open("w") as output, _undisturbed():
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if pipes else output,
                    stderr=output,
                    cwd=PROJECT,
                    text=True,
                    start_new_session=True,
                    # Before exec, so that every thread and child of the program inherits it.
                    preexec_fn=partial(os.sched_setaffinity, 0, usable),
                )
            except OSError as error:
                raise MeasurementError(f"{command[0]}: {error.strerror}") from error
        yield process
    finally:
        if process is not None:
            stop(process)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait for the end of this block, if Python handles them and this is its main thread.

    What a handler raises is lost where it interrupts a hook of a fork, and would leave a process
    behind where that has begun and nobody knows it yet.
    """
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, lambda one, frame: came.append(one))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in came:
            signal.raise_signal(late)


@contextmanager
def serving(command: Sequence[str], port: int, core: int | None, log: Path) -> Iterator[int]:
    """A server that accepts connections at `port`; gives its process id."""
    with started(command, core, log) as process:
        wait_for_port(process, port, log)
        yield process.pid


def stop(process: Process) -> None:
    """SIGTERM, and SIGKILL for the process and its children if that does not do."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        # All of the group that it has begun. As it has not been waited for, that is still its own;
        # numbers of its children may be somebody else's by now.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(process: Process, port: int, log: Path) -> None:
    """Until it accepts connections. Raises MeasurementError if it ends, or takes too long."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MeasurementError(f"it ended at once: {last_line(log)}")
        with suppress(OSError), socket.create_connection((ADDRESS, port), 1.0):
            return
        time.sleep(0.02)
    raise MeasurementError(
        f"nothing listens at port {port} after {START_TIMEOUT:g} s: {last_line(log)}"
    )


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def end_on_sigterm() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that what was started is stopped."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def raise_descriptor_limit() -> int:
    """As many descriptors as we may have, for us and for what we start; gives that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# ---------------------------------------------------------------------------------- companions


class Lines:
    """What a process prints, line by line, as it comes."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._descriptor = process.stdout.fileno()
        self._rest = b""

    def next(self, timeout: float) -> str | None:
        """The next line; "" at the end, None after so many seconds."""
        end = time.monotonic() + timeout
        while b"\n" not in self._rest:
            left = max(0.0, end - time.monotonic())
            ready, _, _ = select.select([self._descriptor], [], [], left)
            if not ready:
                return None
            piece = os.read(self._descriptor, 65536)
            if not piece:
                line, self._rest = self._rest, b""
                return line.decode(errors="replace")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace") or " "

    def until(self, text: str, timeout: float) -> None:
        """Wait for a line that has this text. Raises MeasurementError."""
        end, line = time.monotonic() + timeout, ""
        while text not in line:
            last, line = line, self.next(end - time.monotonic()) or ""
            if not line:
                raise MeasurementError(f"it did not say {text!r}, but {last.strip()!r}")

    def rest(self, timeout: float) -> str:
        """All that comes until the end."""
        end, lines = time.monotonic() + timeout, []
        while line := self.next(end - time.monotonic()):
            lines.append(line)
        return "\n".join(lines)


class Companion:
    """A process of ours that tells what it did in lines of JSON, until its stdin is closed."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._lines = Lines(process)
        self._log = log

    @property
    def command(self) -> list[str]:
        return [str(part) for part in self.process.args]  # type: ignore[union-attr]

    def hear(self, timeout: float) -> dict[str, Any]:
        """Its next line. Raises MeasurementError after `timeout` seconds, or at its end."""
        line = self._lines.next(timeout)
        if not line:
            raise self._silent(line, timeout)
        return self._news(line)

    def dismiss(self, timeout: float = 30.0) -> dict[str, Any]:
        """Close its stdin and hear its last line, whatever it had to say before. Raises
        MeasurementError if it has not ended after `timeout` seconds, or says nothing any more."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        end, last = time.monotonic() + timeout, ""
        while line := self._lines.next(end - time.monotonic()):
            last = line
        if line is None or not last:
            raise self._silent(line, timeout)
        return self._news(last)

    def _silent(self, line: str | None, timeout: float) -> MeasurementError:
        why = f"nothing heard in {timeout:g} s" if line is None else last_line(self._log)
        return MeasurementError(f"{self._log.stem}: {why}")

    def _news(self, line: str) -> dict[str, Any]:
        try:
            news = json.loads(line)
        except ValueError:
            news = None
        if not isinstance(news, dict):
            raise MeasurementError(f"{self._log.stem} said {line[:200]!r}")
        return news


@contextmanager
def companion(module: str, arguments: Sequence[str], core: int, log: Path) -> Iterator[Companion]:
    command = [sys.executable, "-m", module, *arguments]
    with started(command, core, log, pipes=True) as process:
        yield Companion(process, log)


# ---------------------------------------------------------------------------------- /proc


def descendants(pid: int) -> list[int]:
    """The process and all its living children, parents first."""
    family = [pid]
    for parent in family:  # it grows while it is walked
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
    return family


def _sum_over_family(pid: int, read: Callable[[int], float]) -> float:
    total = 0.0
    for member in descendants(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += read(member)
    return total


def cpu_seconds(pid: int) -> float:
    """User and system time so far, with all threads and children."""
    return _sum_over_family(pid, _ticks) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of(pids: Iterable[int]) -> float:
    """The same of these processes alone, by their own clocks, so to the microsecond: where there
    are ten thousand threads, to look for children of each would cost more than what is measured."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):  # it is gone
            total += cpu_clock(pid)
    return total


def _ticks(pid: int) -> float:
    # The name in parentheses may have spaces; after it come fields 3 and on, see proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))  # utime, stime, and both of waited-for children


def cpu_clock(pid: int) -> float:
    """The process's own CPU time in seconds, to the microsecond and without its children.

    Raises OSError when it is gone.
    """
    # The id of another process's clock, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def children_cpu_seconds() -> float:
    """Of our children that have ended: of a generator, as the server still runs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def has_ended(pid: int) -> bool:
    """It is gone, or only waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def private_dirty(pid: int) -> float:
    """Bytes that only this process has and has written: its heap and stacks, no program text."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/smaps_rollup", "Private_Dirty"))


def resident(pid: int) -> float:
    """Bytes of memory in use, shared ones included (VmRSS)."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/status", "VmRSS"))


def peak_resident(pid: int) -> float:
    """The most that `resident` was since `forget_peak` (VmHWM, which the kernel keeps)."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/status", "VmHWM"))


def forget_peak(pid: int) -> None:
    for member in descendants(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def socket_memory() -> float:
    """Bytes of the kernel's TCP buffers, of all processes."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return float(line.split()[-1]) * resource.getpagesize()
    return 0.0


def slab_memory() -> float:
    """Bytes of the kernel's own objects: sockets, files, epoll items; of all processes."""
    return field_of("/proc/meminfo", "Slab")


def field_of(path: str, name: str) -> float:
    """Bytes, of a file that has a line "Name:  N kB" for each."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024  # always in kB
    return 0.0


class Times(NamedTuple):
    """What all cores have done since the start, in ticks."""

    busy: int
    stolen: int  # by the host of a virtual machine
    total: int


def machine_times() -> Times:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, idle, waiting, interrupts, soft, stolen = map(int, fields)
    busy = user + nice + system + interrupts + soft
    return Times(busy, stolen, busy + idle + waiting + stolen)


def described() -> dict[str, Any]:
    """The machine, for the record and for the reader's doubts."""
    text = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def introduction(machine: dict[str, Any]) -> str:
    """The machine in a line, with a warning where the figures cannot be trusted."""
    text = (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"Python {machine['python']}, load average {machine['load_average']:.2f}"
    )
    if machine["cores"] < 2:
        text += "\nOnly one core: server and clients share it, and figures mean little."
    if machine["load_average"] > 0.5:
        text += "\nThe machine was not idle before: read these figures with care."
    return text
