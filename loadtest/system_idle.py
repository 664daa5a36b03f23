"""The machine: what it is, and whether it is quiet enough to measure on. Linux only.

A figure is worth as much as the machine was idle beside the measurement. So each program prints the
machine and its load average first, and the experiment marks the samples beside which another
process, or the host of a virtual machine, was busy.
"""

import os
import platform
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

MOST_LOAD: Final = 0.5  # load average above which figures are doubtful


class Times(NamedTuple):
    """Ticks of all cores since the start of the machine."""

    busy: int
    stolen: int  # by the host of a virtual machine
    total: int


def machine_times() -> Times:
    """The times so far; two readings make a share."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, idle, waiting, interrupts, soft, stolen = map(int, fields)
    busy = user + nice + system + interrupts + soft
    return Times(busy, stolen, busy + idle + waiting + stolen)


def busy_share(seconds: float) -> float:
    """The share of all cores, 0 to 1, that other processes use while this one sleeps."""
    before = machine_times()
    time.sleep(seconds)
    after = machine_times()
    return (after.busy - before.busy) / max(1, after.total - before.total)


def stolen_share(before: Times, after: Times) -> float:
    """The share of all cores, 0 to 1, that the host took between two readings."""
    return (after.stolen - before.stolen) / max(1, after.total - before.total)


def machine_facts() -> dict[str, Any]:
    """Processor, cores, kernel, Python and load average, for the record."""
    text = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def machine_summary(facts: dict[str, Any]) -> str:
    """The machine in one line, with a warning where its figures cannot be trusted."""
    text = (
        f"{facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"Python {facts['python']}, load average {facts['load_average']:.2f}"
    )
    if facts["cores"] < 2:
        text += "\nThere is one core only: server and clients share it, and figures mean little."
    if facts["load_average"] > MOST_LOAD:
        text += "\nThe machine was busy before the start: read these figures with care."
    return text
