"""A log that is a pipe, and its reader, which a test can hold up as a slow disk would."""

import os
import threading
from codecs import getincrementaldecoder

from tests.conftest import Running
from tests.support.raw_client import TIMEOUT


class PipeLog:
    """A pipe with a reader that the test can hold up."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.go = threading.Event()
        self.go.set()
        self.text = ""
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        decoder = getincrementaldecoder("utf-8")()
        while True:
            self.go.wait(TIMEOUT)
            data = os.read(self.reader, 65536)
            if not data:
                return
            self.text += decoder.decode(data)

    def end(self, running: Running) -> list[str]:
        """The lines, when the server has ended."""
        running.stop()
        self.close()
        assert self.text.endswith("\n") or not self.text
        return self.text.splitlines()

    def close(self) -> None:
        self.go.set()
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1
            self.thread.join(TIMEOUT)
            os.close(self.reader)
