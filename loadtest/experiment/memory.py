"""What a server's memory consists of, for the question of what a connection costs.

A thread costs more than its stack. So four parts are told apart: what the process has written
beside its stacks; the stacks, those in the kernel included (16 KiB for each thread); the page
tables that map them; and the kernel's sockets with their buffers, which are the same for every
design and belong to both ends, since the clients are on this machine.

The last part and the kernel's stacks are known for the whole machine only, so they are a difference
between two moments, and wrong by what else happens in between.
"""

import resource
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import machine
from loadtest.machine import MeasurementError

KIB: Final = 1024
DEFAULT_STACK: Final = 8 * 1024 * KIB  # where the limit is unlimited (pthread_create(3))


class Memory(NamedTuple):
    """Bytes."""

    process_bytes: float
    stacks_bytes: float
    tables_bytes: float
    sockets_bytes: float


def memory_of(pids: Sequence[int]) -> Memory:
    """Of these processes, and of the kernel for all."""
    stacks = written = tables = 0.0
    for pid in pids:
        for size, dirty, is_main_stack in _mappings(pid):
            written += dirty
            if is_main_stack or size == _stack_bytes():
                stacks += dirty
        tables += machine.field_of(f"/proc/{pid}/status", "VmPTE")
    kernel_stacks = machine.field_of("/proc/meminfo", "KernelStack")
    sockets = machine.socket_memory() + machine.slab_memory()
    return Memory(written - stacks, stacks + kernel_stacks, tables, sockets)


def above(base: Memory, now: Memory) -> dict[str, float]:
    """What has been added, by the names of raw.VALUES; never less than nothing."""
    return {
        name: max(0.0, after - before)
        for name, before, after in zip(Memory._fields, base, now, strict=True)
    }


def _mappings(pid: int) -> Iterator[tuple[float, float, bool]]:
    """Of each mapping: its size, what only this process has written, whether it is the first stack.

    See proc(5), smaps.
    """
    size, is_main_stack = 0.0, False
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError as error:
        raise MeasurementError(f"the server's memory cannot be read: {error}") from error
    for line in lines:
        name, _, value = line.partition(":")
        if name == "Size":
            size = int(value.split()[0]) * KIB
        elif name == "Private_Dirty":
            yield size, int(value.split()[0]) * KIB, is_main_stack
        elif "-" in name and " " in name:  # a header: the addresses, the rights, the file
            is_main_stack = line.endswith("[stack]")


def _stack_bytes() -> float:
    """Of a thread that nobody has given another size (a server inherits our limit)."""
    asked = threading.stack_size()
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return asked or (DEFAULT_STACK if soft == resource.RLIM_INFINITY else soft)
