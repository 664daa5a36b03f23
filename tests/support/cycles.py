"""Cyclic garbage: what reference counts do not free."""

import gc
from collections import Counter


class Cycles:
    """Garbage that the collector finds, and reference counts do not: a `with` block's."""

    def __enter__(self) -> "Cycles":
        while gc.collect():
            pass  # garbage of other tests; some of it only goes when its finalizers have run
        # A server of another test may end in the block: its garbage is older than the block.
        self._older = {id(one) for one in gc.get_objects()}
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        return self

    def __exit__(self, *_: object) -> None:
        gc.collect()
        found = Counter(type(one).__name__ for one in gc.garbage if id(one) not in self._older)
        gc.garbage.clear()
        gc.set_debug(0)
        gc.enable()
        gc.collect()
        assert not found, f"cyclic garbage: {found.most_common(12)}"
