"""Whether a stretch of a file is in memory, asked of the kernel without reading it.

cachestat(2), of Linux 6.5, counts the pages of a range that are in the page cache. Python has no
name for it, so it is called by its number, which is the same on all machines that CPython runs on
but Alpha. It costs the same for a page and for a large folio, and copies nothing.

It counts pages whose reading has begun as well as those that are there, so its word is only good
for what has been found in memory before; see File.in_memory. It tells only those who may write the
file. Whatever stands in the way, a missing system call or a missing permission, the answer is
False: "look yourself".
"""

import ctypes
import sys
from mmap import PAGESIZE
from typing import Any, Final

_CACHESTAT: Final = 451
_NO_FLAGS: Final = 0


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Counts(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


def _find_syscall() -> Any:
    """syscall(2) of the C library, called without letting go of the GIL: it does not wait."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.PyDLL(None), "syscall", None)
    if function is not None:
        function.restype = ctypes.c_long
    return function


# One range and one answer, of the loop's thread.
_syscall: Final = _find_syscall()
_range: Final = _Range()
_counts: Final = _Counts()
_range_pointer: Final = ctypes.byref(_range)
_counts_pointer: Final = ctypes.byref(_counts)


def resident(descriptor: int, offset: int, count: int) -> bool:
    """Whether all pages of these bytes are in the page cache; False where nobody can tell."""
    if _syscall is None:
        return False
    _range.offset = offset
    _range.length = count
    if _syscall(_CACHESTAT, descriptor, _range_pointer, _counts_pointer, _NO_FLAGS):
        return False
    pages = (offset + count - 1) // PAGESIZE - offset // PAGESIZE + 1
    return bool(_counts.cached >= pages)
