"""The parts of a server's memory, to find what a connection costs.

A thread costs more than its stack. So there are four parts: the memory that the process has written
beside its stacks; the stacks, those in the kernel included (16 KiB for each thread); the page
tables that map them; and the kernel's sockets with their buffers, which are the same for every
design and belong to both ends, since the clients are on this machine.

The last part and the kernel's stacks are known for the whole machine only, so they are a difference
between two moments, with an error of what other processes do in between.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import system
from loadtest.system import MeasurementError

KIB: Final = 1024
GUARD_BYTES: Final = 64 * KIB
_HEADER: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")


class Memory(NamedTuple):
    """Bytes."""

    process_bytes: float
    stacks_bytes: float
    tables_bytes: float
    sockets_bytes: float


def memory_of(pids: Sequence[int]) -> Memory:
    """The memory of these processes, with the kernel's stacks and sockets of the machine.

    Raises MeasurementError where a process has ended.
    """
    stacks = written = tables = 0.0
    for pid in pids:
        for dirty, is_stack in _mappings(pid):
            written += dirty
            stacks += dirty if is_stack else 0.0
        tables += system.field_of(f"/proc/{pid}/status", "VmPTE")
    kernel_stacks = system.field_of("/proc/meminfo", "KernelStack")
    sockets = system.socket_memory() + system.slab_memory()
    return Memory(written - stacks, stacks + kernel_stacks, tables, sockets)


def above(base: Memory, now: Memory) -> dict[str, float]:
    """The growth of each part, by the names of samples.VALUES; 0 where it has shrunk."""
    return {
        name: max(0.0, after - before)
        for name, before, after in zip(Memory._fields, base, now, strict=True)
    }


def _mappings(pid: int) -> Iterator[tuple[float, bool]]:
    """For each mapping: the bytes that only this process has written, and whether it is a stack.

    The first thread's stack has a name. The stack of another thread follows its guard, inaccessible
    pages of GUARD_BYTES at most (pthread_attr_setguardsize(3)); see proc(5), smaps.
    """
    end_of_guard, is_stack = "", False
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError as error:
        raise MeasurementError(f"the server's memory cannot be read: {error}") from error
    for line in lines:
        if line.startswith("Private_Dirty:"):
            yield int(line.split()[1]) * KIB, is_stack
        elif header := _HEADER.match(line):
            start, end, rights, name = header.groups()
            is_stack = name == "[stack]" or (start == end_of_guard and not name)
            is_guard = rights == "---p" and not name
            small = int(end, 16) - int(start, 16) <= GUARD_BYTES
            end_of_guard = end if is_guard and small else ""
