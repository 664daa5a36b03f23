"""Descriptors for short use, told from the others by their number."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reactor.files import descriptors
from reactor.files.descriptors import (
    PREPARED_MOST,
    SPARE_MOST,
    check_lasting,
    is_scarce,
    most_descriptors,
    prepare_descriptors,
    spare_descriptors,
)


def limit_to(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda which: (soft, soft))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("soft", "most", "spare", "first_scarce"),
    [
        (1024, 1024, 64, 1024 - 128 - 64),
        (65536, 65536, SPARE_MOST, 65536 - 8192 - 64),
        (60, 60, 3, 50),
        (10, 10, 1, 8),
        (resource.RLIM_INFINITY, 1 << 20, 64, (1 << 20) - (1 << 17) - 64),
    ],
)
def test_the_shares(
    soft: int, most: int, spare: int, first_scarce: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(monkeypatch, soft)
    assert most_descriptors() == most
    assert spare_descriptors() == spare
    assert is_scarce(first_scarce)
    assert not is_scarce(first_scarce - 1)
    check_lasting(first_scarce - 1)
    with pytest.raises(OSError) as caught:
        check_lasting(first_scarce)
    assert caught.value.errno == errno.EMFILE


# --- the kernel's table --------------------------------------------------------------------------

STATUS = Path("/proc/self/status")
FRESH_PROCESS = """
import resource
from reactor import Response, Server
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min({soft}, hard), hard))
server = Server(lambda request: Response(200))
server.listen("127.0.0.1", 0)

def look():
    print(min({soft}, hard), open("/proc/self/status").read().partition("FDSize:")[2].split()[0])
    server.shut_down()

server.reactor.call_soon(look)
server.run()
"""


@pytest.mark.system
@pytest.mark.skipif(not STATUS.exists(), reason="Linux alone reports the size")
@pytest.mark.parametrize("soft", [600, PREPARED_MOST * 2])
def test_a_crowd_never_waits_for_a_larger_table(soft: int) -> None:
    """Linux doubles a full table, for which one thread of several sleeps 10 ms and more."""
    program = FRESH_PROCESS.format(soft=soft)
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    most, size = map(int, printed.stdout.split())
    assert size >= min(most, PREPARED_MOST)


def test_no_descriptor_is_left_where_the_highest_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for soft in (1 << 30, 100):
        limit_to(monkeypatch, soft)
        before = os.dup(0)
        os.close(before)
        prepare_descriptors()
        after = os.dup(0)
        os.close(after)
        assert before == after
