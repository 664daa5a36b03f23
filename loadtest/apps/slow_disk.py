"""The demo with a simulated slow disk: no page is ever in memory, and a read takes 200 ms.

A read of the page cache alone (preadv with RWF_NOWAIT) fails with EAGAIN, as it does for a page
that is on the disk only, and pread waits before it reads. The rest of the server and its options
are unchanged.

    python -m loadtest.apps.slow_disk --port 8000 --directory files
"""

import os
import sys
import time
from typing import Any, Final

from reactor.web.site.command_line import main

READ_SECONDS: Final = 0.2

_preadv = os.preadv
_pread = os.pread


def cold_preadv(descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
    """preadv that raises BlockingIOError with RWF_NOWAIT."""
    if flags & os.RWF_NOWAIT:
        raise BlockingIOError
    return _preadv(descriptor, buffers, offset, flags)


def slow_pread(descriptor: int, count: int, offset: int) -> bytes:
    """pread after READ_SECONDS."""
    time.sleep(READ_SECONDS)
    return _pread(descriptor, count, offset)


if __name__ == "__main__":
    os.preadv = cold_preadv
    os.pread = slow_pread
    sys.exit(main(["handlers:app", *sys.argv[1:]]))
