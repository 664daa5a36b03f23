"""Processes and what they say: lines in any pieces, ends of every kind, and the kernel's clocks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from loadtest import system, system_idle
from loadtest.companion import Companion, Lines
from loadtest.experiment.measure.memory_breakdown import Memory, above, memory_of
from loadtest.system import MeasurementError
from tests.support import processes

SECONDS = 20.0  # for what should come at once, on a machine that is busy

pytestmark = pytest.mark.usefixtures("no_leaks")


@contextmanager
def running(directory: Path, code: str, *arguments: str) -> Iterator[system.Process]:
    """A program that imports os, sys and time, says its lines, and is stopped in the end."""
    command = [sys.executable, "-c", f"import os, sys, time\n{code}", *arguments]
    with system.started(command, None, directory / "tool.log", pipes=True) as process:
        yield process


@contextmanager
def companion(directory: Path, code: str) -> Iterator[Companion]:
    with running(directory, code) as process:
        yield Companion(process, directory / "tool.log")


def all_lines(lines: Lines) -> Sequence[str]:
    found = []
    while line := lines.next(SECONDS):
        found.append(line)
    assert line == "", "the end, and not the timeout"
    return found


# ---------------------------------------------------------------------------------- lines


def test_two_lines_at_once_are_two(tmp_path: Path) -> None:
    with running(
        tmp_path, r"os.write(1, b'one\ntwo\nthr'); time.sleep(.2); os.write(1, b'ee\n')"
    ) as one:
        assert all_lines(Lines(one)) == ["one", "two", "three"]


def test_a_line_in_pieces_is_one_and_an_end_without_a_line_feed_ends_it(tmp_path: Path) -> None:
    code = "for byte in 'grün\\nlast'.encode():\n  os.write(1, bytes([byte])); time.sleep(.01)"
    with running(tmp_path, code) as one:
        lines = Lines(one)
        assert all_lines(lines) == ["grün", "last"]
        assert lines.next(SECONDS) == "", "it stays at the end"


def test_an_empty_line_is_no_end(tmp_path: Path) -> None:
    with running(tmp_path, r"os.write(1, b'\n\nx\n')") as one:
        assert [line.strip() for line in all_lines(Lines(one))] == ["", "", "x"]


def test_invalid_utf8_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, r"os.write(1, b'\xff\xfe\nx\n')") as one:
        first, second = all_lines(Lines(one))
    assert len(first) == 2
    assert second == "x"


def test_a_huge_line(tmp_path: Path) -> None:
    with running(tmp_path, r"print('x' * 5_000_000); print('y')") as one:
        assert [len(line) for line in all_lines(Lines(one))] == [5_000_000, 1]


def test_a_timeout_is_no_end_and_loses_nothing(tmp_path: Path) -> None:
    code = r"os.write(1, b'ha'); sys.stdin.readline(); os.write(1, b'lf\n')"
    with running(tmp_path, code) as one:
        lines = Lines(one)
        assert lines.next(0.3) is None
        assert lines.next(0.0) is None
        assert lines.next(-5.0) is None
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
        assert lines.next(SECONDS) == "half"


def test_a_program_that_talks_without_a_line_feed_does_not_prolong_the_timeout(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "while True: os.write(1, b'x'); time.sleep(.01)") as one:
        assert Lines(one).next(0.5) is None


def test_until(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one\ntwo begins\n\nthree\nfour', flush=True)") as one:
        lines = Lines(one)
        lines.until("begins", SECONDS)
        assert lines.rest(SECONDS).split() == ["three", "four"]
        with pytest.raises(MeasurementError, match="expected a line with 'five', got ''"):
            lines.until("five", SECONDS)


def test_until_names_the_last_line(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one\ntwo', flush=True); time.sleep(60)") as one:
        lines = Lines(one)
        assert lines.next(SECONDS) == "one"
        with pytest.raises(MeasurementError, match="expected a line with 'five', got 'two'"):
            lines.until("five", 0.5)


def test_the_rest_does_not_wait_for_ever(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one', flush=True); time.sleep(60)") as one:
        lines = Lines(one)
        lines.until("one", SECONDS)
        assert lines.rest(0.2) == ""


# ---------------------------------------------------------------------------------- companions


def test_lines_of_a_companion(tmp_path: Path) -> None:
    code = r"""print('{"a": 1}\n{"b": 2}', flush=True); sys.stdin.read(); print('{"c": 3}')"""
    with companion(tmp_path, code) as one:
        assert one.receive(SECONDS) == {"a": 1}
        assert one.receive(SECONDS) == {"b": 2}
        assert one.dismiss(SECONDS) == {"c": 3}


def test_a_line_that_came_too_late_to_be_heard_is_not_the_last_one(tmp_path: Path) -> None:
    """A crowd may be there only after nobody waits for it any more."""
    code = r"""sys.stdin.read(); print('{"ready": 1}'); print('{"told": 2}')"""
    with companion(tmp_path, code) as one:
        with pytest.raises(MeasurementError, match=r"tool: no line in 0\.2 s"):
            one.receive(0.2)
        assert one.dismiss(SECONDS) == {"told": 2}


@pytest.mark.parametrize("dismissed", [False, True])
def test_one_that_dies_is_quoted(tmp_path: Path, dismissed: bool) -> None:
    code = "print('first', file=sys.stderr)\nraise SystemExit('an idle client got status 503')"
    with (
        companion(tmp_path, code) as one,
        pytest.raises(MeasurementError, match="tool: an idle client got status 503"),
    ):
        one.dismiss(SECONDS) if dismissed else one.receive(SECONDS)


def test_one_that_dies_in_silence(tmp_path: Path) -> None:
    with (
        companion(tmp_path, "os._exit(3)") as one,
        pytest.raises(MeasurementError, match="tool: its log is empty"),
    ):
        one.receive(SECONDS)


def test_one_that_does_not_end_when_it_is_dismissed(tmp_path: Path) -> None:
    with (
        companion(tmp_path, "print('{}', flush=True); time.sleep(60)") as one,
        pytest.raises(MeasurementError, match=r"no line in 0\.5 s"),
    ):
        one.dismiss(0.5)


@pytest.mark.parametrize("line", ["Traceback", "", "[1]", "3", "{'a': 1}"])
def test_lines_that_are_no_objects(tmp_path: Path, line: str) -> None:
    for dismissed in (False, True):
        with (
            companion(tmp_path, f"print({line!r}, flush=True)") as one,
            pytest.raises(MeasurementError, match="tool printed"),
        ):
            one.dismiss(SECONDS) if dismissed else one.receive(SECONDS)


# ---------------------------------------------------------------------------------- the end


def test_a_process_that_wants_to_stay_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "STOP_TIMEOUT", 0.3)
    code = (
        "import signal, subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)'])\n"
        "time.sleep(60)"
    )
    with running(tmp_path, code) as one:
        assert Lines(one).next(SECONDS) == "1"
        family = processes.commands(system.descendants(one.pid))
        assert len(family) == 2
        assert all(family.values())
    until = time.monotonic() + SECONDS
    while processes.left(family):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_frozen_process_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "STOP_TIMEOUT", 0.3)
    handler = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); "
    with running(tmp_path, handler + "print(1, flush=True); time.sleep(60)") as one:
        assert Lines(one).next(SECONDS) == "1"
        os.kill(one.pid, signal.SIGSTOP)
    assert one.returncode == -signal.SIGKILL


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(MeasurementError, match="/nowhere: No such file"),
        system.started(["/nowhere"], None, tmp_path / "log"),
    ):
        pass


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('the port is taken')"]
    with (
        pytest.raises(MeasurementError, match="the server ended at once: the port is taken"),
        system.serving(command, system.free_port(), None, tmp_path / "log"),
    ):
        pass


def test_has_ended_while_nobody_has_waited_for_it(tmp_path: Path) -> None:
    with running(tmp_path, "sys.stdin.read(); sum(range(10**6))") as one:
        assert not system.has_ended(one.pid)
        assert one.stdin is not None
        one.stdin.close()
        until = time.monotonic() + SECONDS
        while not system.has_ended(one.pid):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert system.cpu_seconds_of([one.pid]) > 0, "a zombie's time is still known"
    assert system.has_ended(one.pid)
    assert system.cpu_seconds_of([one.pid]) == 0
    with pytest.raises(OSError):
        system.cpu_clock(one.pid)


# ---------------------------------------------------------------------------------- the clocks


def test_cpu_time_is_of_all_threads_and_of_no_children() -> None:
    before = system.cpu_seconds_of([os.getpid()]), system.cpu_clock(os.getpid())
    burner = (
        "import threading, time\ndef burn():\n  end = time.thread_time() + .2\n"
        "  while time.thread_time() < end: pass\n"
        "threads = [threading.Thread(target=burn) for _ in range(2)]\n"
        "for one in threads: one.start()\nfor one in threads: one.join()\n"
        "print(1, flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", burner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        burnt = system.cpu_seconds_of([process.pid])
        precise = system.cpu_clock(process.pid)
        process.communicate("\n")
    assert burnt <= precise
    assert 0.4 <= precise < 3.0
    assert system.cpu_seconds_of([]) == 0
    # A child that was waited for counts for who reads it with children, and is not in the clock.
    mine = [system.cpu_seconds_of([os.getpid()]), system.cpu_clock(os.getpid())]
    assert 0 <= mine[0] - before[0] < precise
    assert 0 <= mine[1] - before[1] < precise
    assert system.cpu_seconds(os.getpid()) >= precise - 0.05


def test_machine_times_go_on() -> None:
    before = system_idle.machine_times()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    after = system_idle.machine_times()
    assert after.total - before.total >= after.busy - before.busy >= 5  # ticks of 10 ms
    assert after.stolen >= before.stolen >= 0


# ---------------------------------------------------------------------------------- memory

THREADS = 100
GROWING = f"""
import threading
kept = []
def start(count):
    threading.stack_size(count)
    for _ in range({THREADS}):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
for line in sys.stdin:
    if line == 'threads\\n': start(0)
    if line == 'small\\n': start(512 * 1024)
    if line == 'heap\\n': kept.append(bytearray(b'x' * (32 * 1024 * 1024)))
    print('done', flush=True)
"""


def grown(process: system.Process, lines: Lines, what: str) -> dict[str, float]:
    base = memory_of([process.pid])
    assert process.stdin is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    assert lines.next(SECONDS) == "done"
    return above(base, memory_of([process.pid]))


def test_growth_is_found_in_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the kernel's part, which is that of the whole machine: others start threads, too."""
    field_of = system.field_of

    def of_the_process(path: str, name: str) -> float:
        return 0.0 if path == "/proc/meminfo" else field_of(path, name)

    monkeypatch.setattr(system, "field_of", of_the_process)
    with running(tmp_path, GROWING) as one:
        lines = Lines(one)
        grown(one, lines, "warm")
        for kind in ("threads", "small"):
            more = grown(one, lines, kind)
            # Two pages at least, one of Python's and one of the C library's.
            assert more["stacks_bytes"] >= THREADS * 2 * 4096, kind
            assert more["tables_bytes"] >= THREADS * 1024, kind
            assert more["process_bytes"] < 8 * 1024 * 1024, kind
        more = grown(one, lines, "heap")
        assert 32e6 < more["process_bytes"] < 40e6
        assert more["stacks_bytes"] < 1e6


def test_the_kernels_part_of_a_stack_is_counted() -> None:
    assert memory_of([]).stacks_bytes > 0
    assert memory_of([]).process_bytes == memory_of([]).tables_bytes == 0


def test_nothing_is_below_its_base() -> None:
    less = above(Memory(5.0, 5.0, 5.0, 5.0), Memory(4.0, 5.0, 6.5, 0.0))
    assert less == {
        "process_bytes": 0.0,
        "stacks_bytes": 0.0,
        "tables_bytes": 1.5,
        "sockets_bytes": 0.0,
    }


def test_the_memory_of_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(MeasurementError, match="memory cannot be read"):
        memory_of([process.pid])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_a_start_is_neither_lost_nor_does_it_leave_a_process(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come in a hook of a fork, and what is raised there is lost."""
    begun: list[system.Process] = []
    original = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> system.Process:
        process: system.Process = original(*arguments, **options)
        begun.append(process)
        with suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        return process

    before = signal.signal(number, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", popen)
            with pytest.raises(KeyboardInterrupt), running(tmp_path, "time.sleep(60)"):
                pytest.fail("nobody has been interrupted")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    (process,) = begun
    assert process.returncode is not None
