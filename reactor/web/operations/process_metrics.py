"""Metrics of this process, with the names that the client libraries of Prometheus use:

https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics

Metrics that /proc (proc_pid_stat(5)) does not have, or for which there is no /proc, are left out.
Reading it needs no disk: the kernel makes these files while they are read.
"""

import os
import resource
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

_START: Final = 22 - 3  # starttime, vsize and rss are fields 22 to 24; the third is the first here


class ProcessMetric(NamedTuple):
    """One metric: its name, its Prometheus type, its help text and its value."""

    name: str
    kind: str
    meaning: str
    value: float


def measure_process() -> Iterator[ProcessMetric]:
    """All metrics that this system has."""
    cpu = time.process_time()
    yield ProcessMetric("process_cpu_seconds_total", "counter", "CPU time, user and system.", cpu)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY:
        yield ProcessMetric("process_max_fds", "gauge", "Limit of open file descriptors.", limit)
    fields = _read("/proc/self/stat").rpartition(")")[2].split()
    if len(fields) > _START + 2:
        started, size, pages = (int(one) for one in fields[_START : _START + 3])
        rss = pages * os.sysconf("SC_PAGE_SIZE")
        yield ProcessMetric("process_virtual_memory_bytes", "gauge", "Virtual memory.", size)
        yield ProcessMetric("process_resident_memory_bytes", "gauge", "Resident memory.", rss)
        since = _boot_time() + started / os.sysconf("SC_CLK_TCK")
        yield ProcessMetric("process_start_time_seconds", "gauge", "Start, since the epoch.", since)
    count = _open_descriptors()
    if count:
        yield ProcessMetric("process_open_fds", "gauge", "Open file descriptors.", count)


def _boot_time() -> float:
    """Seconds since the epoch (proc_stat(5))."""
    for line in _read("/proc/stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "btime":
            return float(value)
    return 0.0


def _open_descriptors() -> int:
    """The size of /proc/self/fd since Linux 6.2; before, it is 0, and the entries are counted."""
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""
