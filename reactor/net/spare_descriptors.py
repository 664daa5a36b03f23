"""File descriptors that are held in reserve, so that a client can be refused when all are in use.

The system counts the descriptors of a process: connections, files that are sent or received,
directories that are read, and those of the application. A count of our own would miss some. When
there is none left for a client, one of the reserve is closed, the client takes its place, and hears
why it is refused; without a reserve it would wait in the kernel.
"""

import os


class SpareDescriptors:
    """Descriptors of the null device, `size` of them once `fill` has been called."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: list[int] = []

    def __len__(self) -> int:
        """The number of descriptors that are held."""
        return len(self._held)

    def fill(self) -> None:
        """Hold as many as there should be, or as there can be."""
        while len(self._held) < self.size:
            try:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def release(self) -> bool:
        """Close one, for the next `accept`; False if none is held."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def close(self) -> None:
        """Close all, and hold none any more."""
        self.size = 0
        while self.release():
            pass
