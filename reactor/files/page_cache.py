"""Asks the kernel whether a part of a file is in memory, without reading it.

cachestat(2), since Linux 6.5, counts the pages of a range that are in the page cache. Python has no
name for it, so it is called by its number, which is the same on all machines that CPython runs on
except Alpha. It costs the same for a page and for a large folio, and copies nothing.

It also counts pages whose reading has only begun, so its result is trusted only for bytes that were
found in memory before (see File.in_memory). It works only for a process that may write the file.
Where it does not work, because of a missing system call or a missing permission, the result is
False, and the caller has to look itself.
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
    """syscall(2) of the C library, called without releasing the GIL, since it does not wait."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.PyDLL(None), "syscall", None)
    if function is not None:
        function.restype = ctypes.c_long
    return function


# One range and one result, used by the loop's thread alone.
_syscall: Final = _find_syscall()
_range: Final = _Range()
_counts: Final = _Counts()
_range_pointer: Final = ctypes.byref(_range)
_counts_pointer: Final = ctypes.byref(_counts)


def resident(descriptor: int, offset: int, count: int) -> bool:
    """Whether all pages of these bytes are in the page cache; False if that is unknown."""
    if _syscall is None:
        return False
    _range.offset = offset
    _range.length = count
    if _syscall(_CACHESTAT, descriptor, _range_pointer, _counts_pointer, _NO_FLAGS):
        return False
    pages = (offset + count - 1) // PAGESIZE - offset // PAGESIZE + 1
    return bool(_counts.cached >= pages)
