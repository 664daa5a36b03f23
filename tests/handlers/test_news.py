"""The events of /news, in simulated time."""

import json

import pytest

from handlers.app import make_app
from reactor.testing import Client


@pytest.mark.parametrize(
    ("last", "first"), [(None, 1), ("7", 8), ("", 1), ("x", 1), ("-3", 1), ("\u0664", 1)]
)
def test_events_go_on_after_the_last_one_seen(last: str | None, first: int) -> None:
    headers = {} if last is None else {"Last-Event-ID": last.encode().decode("latin-1")}
    with (
        Client(make_app()) as client,
        client.stream("GET", "/news", headers=headers) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        for number in (first, first + 1):
            event: dict[str, str] = {}
            while line := next(lines):
                name, _, value = line.partition(": ")
                event[name] = value
            assert (event["event"], event["id"]) == ("tick", str(number))
            assert json.loads(event["data"])["number"] == number
