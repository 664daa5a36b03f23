"""Records of a log that cannot be written: few, with counts that are right."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor.observe.log_file import LogFile
from reactor.observe.log_reporter import LogReporter


@pytest.fixture
def file(tmp_path: Path) -> LogFile:
    return LogFile(-1, "/logs/access")


@pytest.fixture(autouse=True)
def records(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="reactor"):
        yield caplog


def test_a_log_that_fails_again_and_again_is_one_record_a_minute(
    file: LogFile, records: pytest.LogCaptureFixture
) -> None:
    reporter = LogReporter("access log", file)
    for second in range(150):
        file.lose()
        reporter.failed(1000.0 + second, "no room")
        if second % 10 == 5:
            reporter.succeeded()
    name = "access log '/logs/access'"
    assert records.messages == [
        f"Cannot write the {name}: no room; 0 lines held, 1 lost",
        f"The {name} is written again; 6 lines were lost",
        f"Cannot write the {name}: no room; 0 lines held, 55 lost",
        f"The {name} is written again; 60 lines were lost",
        f"Cannot write the {name}: no room; 0 lines held, 55 lost",
        f"The {name} is written again; 60 lines were lost",
    ]


def test_a_log_without_trouble_is_not_mentioned(
    file: LogFile, records: pytest.LogCaptureFixture
) -> None:
    reporter = LogReporter("access log", file)
    reporter.succeeded()
    reporter.ended()
    assert records.messages == []


def test_the_end_names_what_is_missing(file: LogFile, records: pytest.LogCaptureFixture) -> None:
    reporter = LogReporter("access log", LogFile(-1))
    reporter.failed(1.0)
    reporter = LogReporter("access log", file)
    file.add(["one\n", "two\n"])
    file.lose()
    reporter.ended()
    assert records.messages == [
        "Cannot write the access log: its disk or its reader is too slow; 0 lines held, 0 lost",
        "The access log '/logs/access' lacks 3 lines, which could not be written before the "
        "server's end",
    ]
