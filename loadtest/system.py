"""Processes on this machine: starting them, stopping them, reading their CPU time and memory.

A benchmark needs its server on one core and its clients on another, the CPU time and memory of a
process with all its children, and no process left running at the end. Everything is read from
/proc, so the measured program takes no part in its measurement. Linux only.

CPU time is user plus system time of /proc/PID/stat: of all the process's threads, of its living
descendants, and of the children that it has waited for. The unit is a clock tick (10 ms), which is
0.3 % of a load of three seconds. `cpu_seconds_of` reads a finer clock for light loads.

Every process starts in a session of its own. Ctrl-C therefore reaches the benchmark alone, which
stops what it started, by process id, on its way out.
"""

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final, TypeAlias

PROJECT: Final = Path(__file__).resolve().parent.parent
ADDRESS: Final = "127.0.0.1"
START_TIMEOUT: Final = 15.0  # seconds for a server to listen
STOP_TIMEOUT: Final = 5.0  # seconds for a process to end by itself before it is killed

Process: TypeAlias = "subprocess.Popen[str]"


class MeasurementError(Exception):
    """A measurement failed; the text says which and why."""


# ---------------------------------------------------------------------------------- processes


@cache
def cores() -> tuple[int, int]:
    """The server's core and its clients' core: the same one on a machine with one core.

    The first result is kept, also when this process is later confined to one of the two.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def stay_behind() -> None:
    """Let the other processes of the core run first: the lowest priority, nice 19.

    Linux weighs sessions first and their processes afterwards where autogroups are on, see
    sched(7), so the session gets the lowest priority too.
    """
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def come_first() -> None:
    """Run in real time: before all other processes of the core. Raises OSError if forbidden."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@cache
def real_time_is_permitted() -> bool:
    """Whether `come_first` works for this user."""
    try:
        come_first()
    except OSError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


@contextmanager
def started(
    command: Sequence[str],
    core: int | None,
    log: Path,
    pipes: bool = False,
    priority: Callable[[], None] | None = None,
    directory: Path = PROJECT,
) -> Iterator[Process]:
    """A process pinned to `core` (None: not pinned), which is stopped at the end of the block.

    With `pipes`, its stdin and stdout are pipes; otherwise its output goes to `log`. `priority` is
    `stay_behind` or `come_first`; the process starts in `directory`. Raises MeasurementError where
    the program cannot be started.
    """

    def prepare() -> None:  # before exec, so that every thread and child of the program inherits it
        os.sched_setaffinity(0, usable)
        if priority is not None:
            priority()

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
                    cwd=directory,
                    text=True,
                    start_new_session=True,
                    preexec_fn=prepare,
                )
            except OSError as error:
                raise MeasurementError(f"{command[0]}: {error.strerror}") from error
        yield process
    finally:
        if process is not None:
            stop(process)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delays SIGINT and SIGTERM until the end of the block.

    An exception of a signal handler is lost where it interrupts a hook of a fork, and leaves a
    process behind where that has started and its id is not known yet. Signals that Python does not
    handle, and other threads than the main one, are left alone.
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
def serving(
    command: Sequence[str],
    port: int,
    core: int | None,
    log: Path,
    directory: Path = PROJECT,
) -> Iterator[int]:
    """A server that accepts connections at `port`; the block gets its process id."""
    with started(command, core, log, directory=directory) as process:
        wait_for_port(process, port, log)
        yield process.pid


def stop(process: Process) -> None:
    """Send SIGTERM, and after STOP_TIMEOUT SIGKILL to the process and its children."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        # The whole process group is killed. The process has not been waited for, so its id is
        # still its own, while ids of its children may belong to other processes by now.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server((ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(process: Process, port: int, log: Path) -> None:
    """Wait until the process accepts connections.

    Raises MeasurementError where it ends, or takes longer than START_TIMEOUT.
    """
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MeasurementError(f"the server ended at once: {last_line(log)}")
        with suppress(OSError), socket.create_connection((ADDRESS, port), 1.0):
            return
        time.sleep(0.02)
    raise MeasurementError(
        f"no process listens at port {port} after {START_TIMEOUT:g} s: {last_line(log)}"
    )


def last_line(log: Path) -> str:
    """The last line of a log, or a note that it is empty."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its log is empty"


def end_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, which unwinds the stack and so stops every started process."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


def raise_descriptor_limit() -> int:
    """Raise the limit of file descriptors to its maximum, also for child processes; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# ---------------------------------------------------------------------------------- /proc


def descendants(pid: int) -> list[int]:
    """The process and all its living descendants, parents first."""
    family = [pid]
    for parent in family:  # the list grows while it is walked
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
    """User and system time of the process so far, with all threads and children."""
    return _sum_over_family(pid, _ticks) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of(pids: Iterable[int]) -> float:
    """CPU time of these processes without their children, by their own clocks, to the microsecond.

    With ten thousand threads a search for the children of each would cost more than what is
    measured.
    """
    total = 0.0
    for pid in pids:
        with suppress(OSError):  # the process has ended
            total += cpu_clock(pid)
    return total


def _ticks(pid: int) -> float:
    # The name in parentheses may contain spaces; fields 3 and on follow it, see proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))  # utime, stime, and both of waited-for children


def cpu_clock(pid: int) -> float:
    """The process's CPU time in seconds, to the microsecond and without its children.

    Raises OSError where the process has ended.
    """
    # The id of another process's clock, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def children_cpu_seconds() -> float:
    """CPU time of our children that have ended: of a generator, while the server still runs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def has_ended(pid: int) -> bool:
    """Whether the process has ended, waited for by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def private_dirty(pid: int) -> float:
    """Bytes of memory that this process alone has and has written: heap and stacks, no program."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/smaps_rollup", "Private_Dirty"))


def resident(pid: int) -> float:
    """Bytes of memory in use, shared memory included (VmRSS)."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/status", "VmRSS"))


def peak_resident(pid: int) -> float:
    """The largest value of `resident` since `forget_peak` (VmHWM, which the kernel keeps)."""
    return _sum_over_family(pid, lambda one: field_of(f"/proc/{one}/status", "VmHWM"))


def forget_peak(pid: int) -> None:
    """Start `peak_resident` anew, from the memory in use now."""
    for member in descendants(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")


def socket_memory() -> float:
    """Bytes of the kernel's TCP buffers, for all processes together."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return float(line.split()[-1]) * resource.getpagesize()
    return 0.0


def slab_memory() -> float:
    """Bytes of the kernel's own objects (sockets, files, epoll items), for all processes."""
    return field_of("/proc/meminfo", "Slab")


def field_of(path: str, name: str) -> float:
    """Bytes of the line "NAME:  N kB" in a file of /proc; 0 where there is no such line."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024  # always in kB
    return 0.0
