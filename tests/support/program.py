"""A server in a process of its own."""

import re
import signal
import subprocess
import sys
import time
from typing import Any

from tests.support.paths import ROOT
from tests.support.raw_client import TIMEOUT, Client, SecureAddress


class Program:
    """A process that serves; its address is in the first line of its stderr or stdout."""

    def __init__(self, arguments: list[str], **options: Any) -> None:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = pipes | {"cwd": ROOT} | options
        began = time.monotonic()
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, *arguments], text=True, **options
        )
        assert self.process.stderr is not None
        self.line = self.process.stderr.readline()
        self.took = time.monotonic() - began
        match = re.search(r"(https?)://(?:\[([^]]*)\]|([^:/]*)):([0-9]+)/", self.line)
        assert match, self.line + self.process.stderr.read()
        address = (match[2] or match[3], int(match[4]))
        self.address = SecureAddress(address) if match[1] == "https" else address

    def connect(self) -> Client:
        return Client(self.address)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> tuple[int, float]:
        """The exit status, and how long it took."""
        began = time.monotonic()
        status = self.process.wait(TIMEOUT)
        return status, time.monotonic() - began

    def error_log(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
