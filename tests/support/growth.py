"""How the time of a call grows with its input, in time of the processor and in spite of noise.

A short call drowns in noise, and holds up nobody. Any other is measured
at two sizes in turn, and the least times are compared. Where they grow by too much, they are
measured again: an accident of a loaded machine does not repeat itself, a quadratic loop does.
"""

import gc
import time
from collections.abc import Callable

GROWTH = 2.6  # for twice the size; a linear call is at 2, a quadratic one at 4
QUICK_SECONDS = 0.001
ATTEMPTS = 8

Run = Callable[[], object]


def seconds(run: Run) -> float:
    """The processor time of one call, without garbage collections: they depend on all objects of
    the process, and come with some calls. Its exceptions are results like others.
    """
    collects = gc.isenabled()
    gc.disable()
    began = time.thread_time()
    try:
        run()
    except Exception:
        pass
    finally:
        ended = time.thread_time()
        if collects:
            gc.enable()
    return ended - began


def check_growth(make: Callable[[int], Run], size: int) -> None:
    """Assert that a call for twice the size takes at most GROWTH times as long.

    `make(size)` returns the call, its input prepared. Where the time takes a step at this size, as
    it does when memory must be asked of the system, the next doubling decides.
    """
    if min(seconds(make(size)), seconds(make(size))) < QUICK_SECONDS:
        return
    first = _growth(make, size)
    if first <= GROWTH:
        return
    second = _growth(make, 2 * size)
    assert second <= GROWTH, (
        f"it grows by {first:.2f} from {size // 2} to {size}, by {second:.2f} to {2 * size}"
    )


def _growth(make: Callable[[int], Run], size: int) -> float:
    """The least times for a size, divided by those for half of it; measured until it is small."""
    small, large = make(size // 2), make(size)
    half = whole = float("inf")
    for _ in range(ATTEMPTS):
        half, whole = min(half, seconds(small)), min(whole, seconds(large))
        if whole <= GROWTH * half:
            break
    return whole / half
