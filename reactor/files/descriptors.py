"""The file descriptors of this process: how many there may be, and which of them are for short use.

Connections and uploads hold descriptors for as long as their clients like. They leave the last ones
to what is short: files and directories that are read, and clients that are refused. The system
gives each new descriptor the lowest number that is free (open(2)), so all lower ones are in use:
the number alone shows how few are left, and no part of the server has to count.
"""

import contextlib
import errno
import fcntl
import os
import resource
from typing import Final

SHORT_SHARE: Final = 8  # one descriptor in so many is for short use
SPARE_SHARE: Final = 16  # one in so many, SPARE_MOST at most, is held in reserve for refusals
SPARE_MOST: Final = 64
PREPARED_MOST: Final = 1 << 16  # descriptors, of 8 bytes in the kernel's table


def prepare_descriptors() -> None:
    """Make the kernel's table as large as this process may need, PREPARED_MOST at most.

    Linux doubles a table that is full. In a process of several threads, the one that needs the next
    descriptor then sleeps until no processor reads the old table: 10 to 20 ms, for which a loop
    that accepts a crowd would serve nobody.
    """
    highest = min(most_descriptors(), PREPARED_MOST) - 1
    with contextlib.suppress(OSError):  # in use, or above a limit of the system's
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest))
        finally:
            os.close(descriptor)


def most_descriptors() -> int:
    """The number of descriptors that the process may have (RLIMIT_NOFILE)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def spare_descriptors() -> int:
    """The number of descriptors to be held in reserve."""
    return min(SPARE_MOST, max(1, most_descriptors() // SPARE_SHARE))


def lasting_descriptors() -> int:
    """The number of descriptors that are not for short use.

    It includes the reserve. When some of that are released and filled again, they may stand behind
    the others, so that as many are left out once more.
    """
    most = most_descriptors()
    return most - most // SHORT_SHARE - spare_descriptors()


def is_scarce(descriptor: int) -> bool:
    """Whether this new descriptor is one of those for short use."""
    return descriptor >= lasting_descriptors()


def check_lasting(*descriptors: int) -> None:
    """Raises OSError (EMFILE) where one that is to be held for long is one for short use."""
    if is_scarce(max(descriptors)):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
