"""Settings of the Python interpreter for a process that serves.

They hold for the whole process, so `Server.run` makes them and a program that turns the loop itself
does not have to.
"""

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

# Each recv and send releases the GIL, and a thread that computes returns it after this time. The
# default is 5 ms, which every step of the loop would have to wait.
SWITCH_SECONDS: Final = 0.0005
# So many container objects are made before the collector looks for cycles. Requests leave none, and
# with Python's 700 a crowd that arrives or leaves stops the loop for a look at all connections.
COLLECT_OBJECTS: Final = 10_000


def tune_interpreter() -> None:
    """Set the switch interval, the threshold of the garbage collector, and a hook for errors."""
    sys.setswitchinterval(SWITCH_SECONDS)
    youngest, *older = gc.get_threshold()
    if 0 < youngest < COLLECT_OBJECTS:  # 0: the program has turned the collector off
        gc.set_threshold(COLLECT_OBJECTS, *older)
    if getattr(sys.unraisablehook, "func", None) is not _report:
        sys.unraisablehook = partial(_report, sys.unraisablehook)


def _report(others: Callable[[Any], object], error: Any) -> None:
    """Report an error that no caller can catch, but for one that clients cause.

    Python's `ssl` writes the traceback of each handshake whose server name is not ASCII. The
    handshake fails by that, and it is counted and logged like others.
    """
    value = error.exc_value
    if not (isinstance(value, UnicodeDecodeError) and value.object == error.object):
        others(error)
