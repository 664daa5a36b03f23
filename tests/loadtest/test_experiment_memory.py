"""The parts of a process's memory: growth is found where it happens."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import system
from loadtest.companion import Lines
from loadtest.experiment.measure.memory_breakdown import Memory, above, memory_of
from loadtest.system import MeasurementError
from tests.support.child_programs import SECONDS, running

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("no_leaks")]


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


def test_the_memory_of_an_ended_process() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(MeasurementError, match="memory cannot be read"):
        memory_of([process.pid])
