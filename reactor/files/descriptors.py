"""The file descriptors of this process: how many there may be, and which of them are for short use.

Connections and uploads hold descriptors for as long as their clients like. They leave the last ones
to what is short: files and directories that are read, and clients that are refused. The system
gives each new descriptor the lowest number that is free (open(2)), so all lower ones are in use:
the number alone shows how few are left, and no part of the server has to count.
"""

import errno
import os
import resource
from typing import Final

SHORT_SHARE: Final = 8  # one descriptor in so many is for short use
SPARE_SHARE: Final = 16  # one in so many, SPARE_MOST at most, is held in reserve for refusals
SPARE_MOST: Final = 64


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
