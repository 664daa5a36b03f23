"""The terminal of this process.

One that closes sends SIGHUP, and so does an operator who wants something to be loaded again.
"""

import os


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
