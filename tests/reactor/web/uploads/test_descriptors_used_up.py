"""A real server with few descriptors, which slow uploads hold: others are refused, at once."""

import re
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reactor.files.descriptors import SHORT_SHARE, SPARE_MOST
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT, Client, request

pytestmark = [pytest.mark.system, pytest.mark.slow]

DESCRIPTORS = 1024
UPLOADS = 320
HEADS = 60
SETTLED = 4.0  # seconds; refused uploads linger for half of that, and then make room


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process has enough of them for all clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("too few file descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def program(tmp_path: Path, many_descriptors: None) -> Iterator[Program]:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("there")
    started = Program(
        [
            *("-m", "reactor", "--port", "0", "--directory", str(tmp_path)),
            *("--access-log", "off", "--min-rate-timeout", "1000", "--head-timeout", "1000"),
            *("--slow-callback", "0"),  # the machine of the test may be slow
        ],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)),
    )
    yield started
    started.close()


def slow_upload(program: Program, number: int, resumable: bool) -> Client:
    """A client that sends 100 bytes of its file, and no more."""
    client = program.connect()
    fields = ["Content-Length: 1000000"]
    if resumable:
        fields += ["Upload-Complete: ?0", "Upload-Draft-Interop-Version: 6"]
    method = "POST" if resumable else "PUT"
    client.send(request(f"/files/u{number}", *fields, method=method) + bytes(100))
    return client


def use_up(program: Program, stack: ExitStack) -> None:
    """Send half a head again and again, until new clients are refused for good."""
    refused_since = time.monotonic()
    while time.monotonic() - refused_since < SETTLED:
        with program.connect() as client:
            if client.ask("/files/sub/b.txt").status == 503:
                continue
        stack.enter_context(program.connect()).send(b"GET / HT")
        refused_since = time.monotonic()


def file_numbers(program: Program) -> list[int]:
    return [int(one.name) for one in Path(f"/proc/{program.process.pid}/fd").iterdir()]


@pytest.mark.parametrize("resumable", [False, True])
def test_new_clients_are_refused_at_once_and_known_ones_served(
    program: Program, resumable: bool
) -> None:
    known = program.connect()
    assert known.ask("/files/sub/b.txt").status == 200
    with ExitStack() as stack:
        for number in range(UPLOADS):
            stack.enter_context(slow_upload(program, number, resumable))
        for _ in range(HEADS):
            client = stack.enter_context(program.connect())
            client.send(b"GET / HT")
        use_up(program, stack)
        for count in range(100):
            client = stack.enter_context(program.connect())
            client.send(request("/files/sub/b.txt"))
            began = time.monotonic()
            response = client.read_response()
            assert time.monotonic() - began < 5
            assert response.status == 503, count
            assert response.get("retry-after") == "1"
        # One that was there before reads files and directories still.
        for path in ("/files/sub/b.txt", "/files/", "/files/sub/"):
            assert known.ask(path).status == 200, path
        for_short_use = DESCRIPTORS // SHORT_SHARE - SPARE_MOST  # beside those of refusals
        assert len(file_numbers(program)) < DESCRIPTORS - for_short_use + 10
    known.close()
    until = time.monotonic() + TIMEOUT
    status = 503
    while status != 200 and time.monotonic() < until:
        with program.connect() as client:
            status = client.ask("/files/sub/b.txt").status
    assert status == 200
    program.signal()
    assert program.wait()[0] == 0
    lines = program.error_log().splitlines()
    assert len(lines) <= 5, "\n".join(lines)
    refused = re.compile(r"ERROR reactor: Clients are refused: too many open files")
    assert any(map(refused.search, lines)), "\n".join(lines)
