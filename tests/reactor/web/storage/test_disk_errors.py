"""Errors of disks: the status that a request gets, and the records of those that are ours."""

import errno
import logging
import os

import pytest

from reactor import Application, Request
from reactor.log_limit import LogLimit
from reactor.testing import Client
from reactor.web.storage import disk_errors
from reactor.web.storage.disk_errors import WHEN_READING, WHEN_WRITING, on_disk


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client of an endpoint whose disk operation fails with the number in the query."""
    for name in ("_full_disks", "_lacks"):
        monkeypatch.setattr(disk_errors, name, LogLimit(disk_errors.log.error))
    app = Application()

    async def store(request: Request) -> str:
        table = WHEN_READING if request.method == "GET" else WHEN_WRITING
        await on_disk(table, fail, int(request.query))
        return "never"

    app.add("GET", "/", store)
    app.add("PUT", "/", store)
    return Client(app)


@pytest.mark.parametrize(
    ("method", "number", "status", "reason"),
    [
        ("PUT", errno.ENOSPC, 507, "no space left on device"),
        ("PUT", errno.EDQUOT, 507, "disk quota exceeded"),
        ("PUT", errno.EMFILE, 503, "too many open files"),
        ("GET", errno.ENFILE, 503, "too many open files in system"),
    ],
)
def test_trouble_of_the_server_is_recorded_once_a_minute(
    client: Client,
    caplog: pytest.LogCaptureFixture,
    method: str,
    number: int,
    status: int,
    reason: str,
) -> None:
    with caplog.at_level(logging.WARNING, logger="reactor"), client:
        for _ in range(3):
            assert client.request(method, f"/?{number}").status == status
    assert caplog.messages == [f"A request for a file gets {status}: {reason}"]


@pytest.mark.parametrize(
    ("method", "number", "status"),
    [("GET", errno.ENOENT, 404), ("PUT", errno.EISDIR, 409), ("PUT", errno.EACCES, 403)],
)
def test_an_error_that_the_request_has_caused_is_not_recorded(
    client: Client, caplog: pytest.LogCaptureFixture, method: str, number: int, status: int
) -> None:
    with caplog.at_level(logging.WARNING, logger="reactor"), client:
        assert client.request(method, f"/?{number}").status == status
    assert caplog.messages == []
