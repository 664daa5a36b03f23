"""The outcome of a run, in histograms: locust's own figures are rounded and cannot be merged.

A Recorder listens to locust's `request` event. With an open loop it counts the requests of the open
loop that were due after the warm-up; otherwise it counts every reported request. A request without
a correct response is an error or was refused, and has no latency. Workers send their counts to
their master, which adds them up. This module does not import locust.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest.clients.histogram import Histogram
from loadtest.scenarios.checks import Refused

WARM_UP_SECONDS: Final = 1.0
MOST_MESSAGES: Final = 10  # different ones that are kept

# The context of a request of the open loop: when it was due, and from when its time counts.
DUE: Final = "due"
SINCE: Final = "since"
SENT: Final = "sent"
INTENDED: Final = "intended"


@dataclass
class RunOutcome:
    """The counts and latencies of a run."""

    requests: int = 0  # correct responses
    errors: int = 0  # responses that were wrong, cut, or missing
    refused: int = 0  # connections refused or reset, and 503
    offered: float = 0.0  # requests a second that were due; 0 in a closed loop
    seconds: float = 0.0  # length of the window
    sent: int = 0  # requests of the whole run, those of the warm-up as well
    service: Histogram = field(default_factory=Histogram)  # from sending to the response's end
    intended: Histogram = field(default_factory=Histogram)  # from when it was due; open loop only
    messages: dict[str, int] = field(default_factory=dict)  # messages of failures, and their counts

    @property
    def due(self) -> int:
        """All requests of the window."""
        return self.requests + self.errors + self.refused

    @property
    def failures(self) -> float:
        """The share of requests without a correct response, 0 to 1; 1 without any request."""
        return 1.0 - self.requests / self.due if self.due else 1.0

    def merge(self, other: "RunOutcome") -> None:
        """Add the counts and latencies of another process."""
        self.sent += other.sent
        self.requests += other.requests
        self.errors += other.errors
        self.refused += other.refused
        self.service.merge(other.service)
        self.intended.merge(other.intended)
        for message, count in other.messages.items():
            self.note(message, count)

    def note(self, message: str, count: int = 1) -> None:
        """Count a message, of MOST_MESSAGES different ones at most."""
        if message in self.messages or len(self.messages) < MOST_MESSAGES:
            self.messages[message] = self.messages.get(message, 0) + count

    def to_json(self) -> dict[str, Any]:
        content = dict(vars(self))
        return content | {
            "service": self.service.to_json(),
            "intended": self.intended.to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RunOutcome":
        outcome = cls(**content)
        outcome.service = Histogram.from_json(content["service"])
        outcome.intended = Histogram.from_json(content["intended"])
        return outcome


class Recorder:
    """Counts the requests of one process, or on a master those of all workers."""

    def __init__(self) -> None:
        self.opened = RunOutcome()  # for the open loop
        self.closed = RunOutcome()  # for all other users

    def on_request(
        self,
        response_time: float,
        exception: BaseException | None = None,
        context: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """The event of locust; `response_time` is in milliseconds."""
        since = context.get(SINCE) if context else None
        if since is None:
            self.closed.sent += 1
            _count(self.closed, exception)
            _record(self.closed.service, response_time, exception)
        elif context is not None:
            self._on_open(since, context[DUE], response_time, exception)

    def _on_open(
        self, since: str, due: float, response_time: float, exception: BaseException | None
    ) -> None:
        """Count a request, which is reported twice, once."""
        self.opened.sent += since == INTENDED
        if due < WARM_UP_SECONDS:
            return
        if since == INTENDED:
            _count(self.opened, exception)
            _record(self.opened.intended, response_time, exception)
        else:
            _record(self.opened.service, response_time, exception)

    def on_report_to_master(self, data: dict[str, Any], **others: Any) -> None:
        """Add the counts since the last report to the report."""
        data["outcome"] = [self.opened.to_json(), self.closed.to_json()]
        self.opened, self.closed = RunOutcome(), RunOutcome()

    def on_worker_report(self, data: Mapping[str, Any], **others: Any) -> None:
        """Add the counts of a worker."""
        opened, closed = data["outcome"]
        self.opened.merge(RunOutcome.from_json(opened))
        self.closed.merge(RunOutcome.from_json(closed))

    def write(self, path: Path, run_seconds: float, open_seconds: float) -> None:
        """Write the outcome as JSON, for `read`.

        `open_seconds` is the duration of the open loop, 0 for the whole run.
        """
        outcome = self.closed
        outcome.seconds = run_seconds
        if self.opened.sent:
            outcome = self.opened
            outcome.seconds = (open_seconds or run_seconds) - WARM_UP_SECONDS
            outcome.offered = outcome.due / outcome.seconds if outcome.seconds > 0.0 else 0.0
        path.write_text(json.dumps(outcome.to_json()) + "\n")


def _count(outcome: RunOutcome, exception: BaseException | None) -> None:
    if exception is None:
        outcome.requests += 1
        return
    if isinstance(exception, Refused | ConnectionError):
        outcome.refused += 1
    else:
        outcome.errors += 1
    outcome.note(f"{type(exception).__name__}: {exception}")


def _record(latencies: Histogram, response_time: float, exception: BaseException | None) -> None:
    if exception is None:
        latencies.record(response_time / 1000)


def read(path: Path) -> RunOutcome:
    """The outcome that `write` has left.

    Raises OSError where there is no file, and ValueError where it is malformed.
    """
    content = json.loads(path.read_text())
    try:
        return RunOutcome.from_json(content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not an outcome: {error}") from error
