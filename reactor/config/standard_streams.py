"""The standard streams of a process whose caller may have closed them, or pointed them at no room.

A closed descriptor 0, 1 or 2 would be the number of the next socket or file that the process opens,
and text for a terminal would go to a client. So the command line fills them first. Text that cannot
be written to standard error is dropped: it is no reason to stop.
"""

import os
import sys


def fill_standard_descriptors() -> None:
    """Open the null device in place of each standard stream that is closed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            os.set_inheritable(opened, True)


def print_error(text: str) -> None:
    """Write the text to standard error, if it is open and has room."""
    try:
        if sys.stderr is not None:
            print(text, end="", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a full disk, a stream that the program has closed
        pass
