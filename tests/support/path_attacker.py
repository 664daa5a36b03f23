"""Changes what names mean, as fast as it can: a process of its own, beside a server under attack.

python -m tests.support.path_attacker        plans as JSON on stdin, a line; "ready" is answered,
and at stdin's
                                end how many rounds there were

A plan has `swaps`, triples of a directory, a name in it and a path elsewhere, whose files change
places in one step; and `moves`, pairs of paths, the first of which is moved to the second and back,
so that the ".." of an open directory in there leads elsewhere. The directories of swaps are opened
at the start: after that, nothing from elsewhere is ever moved below a directory that it swaps.
"""

import ctypes
import json
import os
import select
import sys

EXCHANGE = 2  # renameat2(2)

_rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def exchange(directory: int, name: bytes, other: bytes) -> None:
    if _rename is not None and _rename(directory, name, -1, other, EXCHANGE) == 0:
        return
    os.rename(name, other + b".swap", src_dir_fd=directory)
    os.rename(other, name, dst_dir_fd=directory)
    os.rename(other + b".swap", other)


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    swaps = [
        (os.open(directory, os.O_RDONLY), os.fsencode(name), os.fsencode(other))
        for directory, name, other in plan["swaps"]
    ]
    print("ready", flush=True)
    rounds = 0
    while rounds % 16 or not select.select([sys.stdin], [], [], 0)[0]:
        for directory, name, other in swaps:
            exchange(directory, name, other)
        for path, elsewhere in plan["moves"]:
            os.rename(path, elsewhere)
            os.rename(elsewhere, path)
        rounds += 1
    print(rounds, flush=True)


if __name__ == "__main__":
    main()
