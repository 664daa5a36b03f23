"""The error log: its records, which cannot be forged, and a loop that never waits for it."""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Headers, Limits, Response, Server, in_pool
from reactor.messages.request import BaseRequest
from reactor.observe.error_log import ErrorLog
from reactor.observe.log_file import LogFile
from tests.support.pipe_log import PipeLog
from tests.support.raw_client import TIMEOUT, Client

FIRST = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z "
    r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [^ ]+: .*"
)
log = logging.getLogger("tests.errorlog")


class Written:
    """A logger whose records go into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error_log = ErrorLog(LogFile.open(str(path)))
        log.addHandler(self.error_log)

    def records(self) -> list[list[str]]:
        """The lines of each record, without its time; indented lines belong to the one before."""
        found: list[list[str]] = []
        for line in self.path.read_bytes().decode().split("\n")[:-1]:
            if line.startswith("    "):
                found[-1].append(line[4:])
            else:
                assert FIRST.fullmatch(line), line
                found.append([line.partition(" ")[2]])
        return found

    def close(self) -> None:
        log.removeHandler(self.error_log)
        os.close(self.error_log.file.descriptor)


@pytest.fixture
def written(no_leaks: None, tmp_path: Path) -> Iterator[Written]:
    written = Written(tmp_path / "error.log")
    yield written
    written.close()


def test_a_record_is_a_line(written: Written) -> None:
    log.error("%s failed", "it")
    log.warning("caf\xe9")
    assert written.records() == [
        ["ERROR tests.errorlog: it failed"],
        ["WARNING tests.errorlog: caf\xe9"],
    ]


def test_a_traceback_is_indented(written: Written) -> None:
    def fail() -> None:
        raise ValueError("first\n2026-01-01T00:00:00.000Z ERROR reactor: forged\x1b[0m")

    try:
        fail()
    except ValueError:
        log.exception("no\r\ngood")
    (record,) = written.records()
    assert record[:3] == [
        r"ERROR tests.errorlog: no\x0d",
        "good",
        "Traceback (most recent call last):",
    ]
    assert record[-2:] == [
        "ValueError: first",
        r"2026-01-01T00:00:00.000Z ERROR reactor: forged\x1b[0m",
    ]


def test_a_request_id_is_in_its_record(written: Written) -> None:
    request = BaseRequest("GET", "/a", "/a", "", 1, Headers("\r\nX-Request-Id: theirs\x85"))
    log.error("%r failed", request)
    request.id = "ours\n"
    log.error("%r failed", request)
    log.error("said", extra={"request_id": 7})
    log.error("none %(a)s", {"a": 1})
    assert written.records() == [
        [r"ERROR tests.errorlog: <GET /a HTTP/1.1> failed [theirs\x85]"],
        [r"ERROR tests.errorlog: <GET /a HTTP/1.1> failed [ours\x0a]"],
        ["ERROR tests.errorlog: said [7]"],
        ["ERROR tests.errorlog: none 1"],
    ]


def test_arguments_that_do_not_fit_are_reported_and_stop_nothing(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"msg": "%d", "args": ("no number",), "name": "n", "levelname": "ERROR"}
    written.error_log.handle(logging.makeLogRecord(record))
    log.error("after")
    assert written.records() == [["ERROR tests.errorlog: after"]]
    assert "no number" in capsys.readouterr().err


@given(message=st.text(max_size=60), identifier=st.text(max_size=20))
def test_no_text_passes_for_another_record(message: str, identifier: str) -> None:
    """For any text, one line begins a record, and all others are indented."""
    reader, writer = os.pipe()
    try:
        error_log = ErrorLog(LogFile(writer))
        record = logging.makeLogRecord({"msg": message, "name": "n", "levelname": "ERROR"})
        record.request_id = identifier
        error_log.handle(record)
        first, *others = os.read(reader, 100_000).split(b"\n")[:-1]
        assert FIRST.fullmatch(first.decode())
        assert all(line.startswith(b"    ") for line in others)
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", b"".join((first, *others)))
    finally:
        os.close(reader)
        os.close(writer)


# --- while a server runs -------------------------------------------------------------------------


class Running:
    """A server with an error log, on a thread of its own."""

    def __init__(self, file: LogFile, **limits: int) -> None:
        self.error_log = ErrorLog(file)
        log.addHandler(self.error_log)
        ready = threading.Event()

        def run() -> None:
            self.server = Server(handler, Limits(**limits), error_log=self.error_log)
            self.address = self.server.listen("127.0.0.1", 0)
            ready.set()
            self.server.run()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert ready.wait(TIMEOUT)

    def stop(self) -> None:
        self.server.reactor.call_soon_threadsafe(self.server.reactor.stop)
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        log.removeHandler(self.error_log)


async def handler(request: BaseRequest) -> Response:
    count, _, where = request.path[1:].partition("-")
    for number in range(int(count)):
        if where == "thread":
            await in_pool(log.error, "number %d", number)
        else:
            log.error("number %d", number)
    return Response(200, b"done")


def numbers(text: str) -> list[int]:
    return [int(one) for one in re.findall(r"number ([0-9]+)", text)]


@pytest.mark.system
def test_all_records_of_a_run_are_there_in_their_order(no_leaks: None, tmp_path: Path) -> None:
    file = LogFile.open(str(tmp_path / "log"))
    running = Running(file)
    log.error("beside it")
    with Client(running.address) as client:
        client.ask("/1000")
        client.ask("/20-thread")
    running.stop()
    log.error("never")
    running.error_log.handle(logging.makeLogRecord({"msg": "after", "levelname": "INFO"}))
    text = (tmp_path / "log").read_text()
    os.close(file.descriptor)
    assert "beside it" in text
    assert "never" not in text
    assert text.endswith(": after\n")
    found = numbers(text)
    assert sorted(found) == sorted([*range(1000), *range(20)])
    assert len(re.findall(FIRST.pattern, text)) == len(text.splitlines())


@pytest.mark.system
def test_a_disk_that_is_stuck_does_not_hold_the_loop(no_leaks: None) -> None:
    """A thread that waits for it with a record of its own does not hold the loop either."""
    pipe = PipeLog()
    pipe.go.clear()
    running = Running(LogFile(pipe.writer), log_bytes=100_000)
    with Client(running.address) as client, Client(running.address) as other:
        client.ask("/2000")  # more than a pipe holds, and more than `log_bytes`
        other.send(b"GET /1-thread HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.1)
        began = time.monotonic()
        assert client.ask("/1").status == 200
        assert time.monotonic() - began < 15
        pipe.go.set()
        assert other.read_response().status == 200
    running.stop()
    pipe.close()
    lost = sum(
        int(one) for one in re.findall(r"^# ([0-9]+) lines? (?:was|were) lost", pipe.text, re.M)
    )
    assert lost > 0
    assert lost + len(numbers(pipe.text)) == 2002
    assert running.server.snapshot().lost_lines["error"] == lost


@pytest.mark.system
def test_a_log_that_cannot_be_written_ends_nothing(no_leaks: None) -> None:
    file = LogFile(os.open(os.devnull, os.O_RDONLY))
    running = Running(file)
    with Client(running.address) as client:
        assert client.ask("/3").status == 200
        assert client.ask("/3-thread").status == 200
    running.stop()
    os.close(file.descriptor)
