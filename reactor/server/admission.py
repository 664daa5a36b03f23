"""How many connections the process can afford."""

import logging
import resource
from typing import Final

REFUSALS: Final = 64  # clients over the limit that are told so at the same time
RESERVED_DESCRIPTORS: Final = 64  # for the loop, the log, libraries
KEPT_BACK: Final = 8  # one descriptor in so many is for files, sent or received
log = logging.getLogger("reactor")


def affordable_connections() -> int:
    """Raise the soft RLIMIT_NOFILE to the hard one; how many connections fit below it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS has a limit of its own below the hard one
            pass
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 20
    return max(16, soft - soft // KEPT_BACK - RESERVED_DESCRIPTORS - REFUSALS)
