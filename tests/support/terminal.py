"""A process on a terminal of its own, which the test can close."""

import fcntl
import os
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

from tests.support.paths import ROOT


def start_on_terminal(
    command: Sequence[str], directory: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command in a new session; the other end of its terminal is the second value."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    return process, master
