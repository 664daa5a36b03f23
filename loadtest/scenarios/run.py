"""A run of locust at a fixed rate, as a command line for another program, and its outcome.

The mix of a browser's requests is sent on a schedule, without think time: for the same seed and
rate two servers get the same requests at the same moments. The command ends when the last response
has arrived. Its status is 0 as soon as any request was made; the caller judges the outcome.
"""

import sys
from pathlib import Path
from typing import Final

from loadtest.scenarios.outcome import WARM_UP_SECONDS, RunOutcome, read
from loadtest.system import ADDRESS, PROJECT

__all__ = ("RunOutcome", "command", "locust", "open_loop", "read")

SEED: Final = 1
SPARE_SECONDS: Final = 15  # after which a run that has not ended by itself is stopped


def locust(port: int, *options: str) -> list[str]:
    """The command line of a headless run with our scenarios."""
    file = str(PROJECT / "loadtest" / "locustfile.py")
    host = f"http://{ADDRESS}:{port}"
    return [sys.executable, "-m", "locust", "-f", file, "--host", host, "--headless", *options]


def open_loop(rate: float, seconds: int, seed: int = SEED) -> list[str]:
    """The options of an open loop: `rate` requests a second, for `seconds` after the warm-up."""
    sending = seconds + WARM_UP_SECONDS
    schedule = ["--rate", f"{rate:g}", "--open-seconds", f"{sending:g}", "--seed", str(seed)]
    return ["OpenLoop", *schedule, "-u", "1", "-r", "1", "-t", f"{sending + SPARE_SECONDS:g}s"]


def command(port: int, rate: float, seconds: int, output: Path) -> list[str]:
    """The command line of an open loop that writes its outcome to `output`, for `read`.

    It prints a line when the window opens and one when it is over (see connection.announce).
    """
    unlimited = ["--most-failures", "1", "--most-p99", "inf"]
    quiet = ["--only-summary", "--loglevel", "WARNING", "--announce"]
    return locust(port, *open_loop(rate, seconds), *unlimited, *quiet, "--outcome", str(output))
