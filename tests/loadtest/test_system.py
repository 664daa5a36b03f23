"""Processes: how they end, which signals they survive, and the kernel's clocks."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loadtest import system
from loadtest.companion import Lines
from loadtest.system import MeasurementError
from tests.support import processes
from tests.support.child_programs import SECONDS, running

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("no_leaks")]


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


def test_has_ended_before_it_is_waited_for(tmp_path: Path) -> None:
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
    # A child that was waited for counts in `cpu_seconds`, and is not in the clock.
    mine = [system.cpu_seconds_of([os.getpid()]), system.cpu_clock(os.getpid())]
    assert 0 <= mine[0] - before[0] < precise
    assert 0 <= mine[1] - before[1] < precise
    assert system.cpu_seconds(os.getpid()) >= precise - 0.05
