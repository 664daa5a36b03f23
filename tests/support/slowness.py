"""How much slower than usual this machine is right now, for tests that measure seconds."""

import time

SPIN_SECONDS = 0.02  # on the processor


def stretched(seconds: float) -> float:
    """So many seconds of an idle machine, as long as they take on this one now.

    A process that shares its processor gets a part of it: everything then takes longer by the ratio
    of the time on the clock to the time on the processor, which is measured by a short spin.
    """
    began, cpu_began = time.monotonic(), time.thread_time()
    while time.thread_time() - cpu_began < SPIN_SECONDS:
        pass
    took = time.monotonic() - began
    return seconds * max(1.0, took / SPIN_SECONDS)
