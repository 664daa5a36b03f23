"""What came of a run, request by request, in histograms: locust rounds and cannot be merged.

A Recorder listens to locust's `request` event. Where an open loop ran, it counts what the open loop
sent within the window, that is what was due after the warm-up; otherwise every request that was
reported. What was not answered rightly is an error or
was refused, and has no latency. Workers send what they have counted to their master, which adds it
up. Nothing here imports locust.
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

# The context of a request of the open loop: when it was due, and from when its time was taken.
DUE: Final = "due"
SINCE: Final = "since"
SENT: Final = "sent"
INTENDED: Final = "intended"


@dataclass
class Outcome:
    """What was counted, and how long the requests took."""

    requests: int = 0  # right answers
    errors: int = 0  # wrong ones, cut ones, none at all
    refused: int = 0  # connections refused or reset, and 503
    offered: float = 0.0  # requests a second that were due; 0 in a closed loop
    seconds: float = 0.0  # of the window
    sent: int = 0  # requests of the whole run, those of the warm-up as well
    service: Histogram = field(default_factory=Histogram)  # from the sending to the answer's end
    intended: Histogram = field(default_factory=Histogram)  # from when it was due; open loop only
    messages: dict[str, int] = field(default_factory=dict)  # what went wrong, and how often

    @property
    def due(self) -> int:
        return self.requests + self.errors + self.refused

    @property
    def failures(self) -> float:
        """The share of requests, 0 to 1, that were not answered rightly; 1 of none at all."""
        return 1.0 - self.requests / self.due if self.due else 1.0

    def merge(self, other: "Outcome") -> None:
        self.sent += other.sent
        self.requests += other.requests
        self.errors += other.errors
        self.refused += other.refused
        self.service.merge(other.service)
        self.intended.merge(other.intended)
        for message, count in other.messages.items():
            self.note(message, count)

    def note(self, message: str, count: int = 1) -> None:
        if message in self.messages or len(self.messages) < MOST_MESSAGES:
            self.messages[message] = self.messages.get(message, 0) + count

    def to_json(self) -> dict[str, Any]:
        content = dict(vars(self))
        return content | {
            "service": self.service.to_json(),
            "intended": self.intended.to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Outcome":
        outcome = cls(**content)
        outcome.service = Histogram.from_json(content["service"])
        outcome.intended = Histogram.from_json(content["intended"])
        return outcome


class Recorder:
    """Counts the requests of one process, or on a master those of all workers."""

    def __init__(self) -> None:
        self.opened = Outcome()  # of the open loop
        self.closed = Outcome()  # of all others

    def on_request(
        self,
        response_time: float,
        exception: BaseException | None = None,
        context: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """locust's event; `response_time` in milliseconds."""
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
        """Each request is reported twice, and counted once."""
        self.opened.sent += since == INTENDED
        if due < WARM_UP_SECONDS:
            return
        if since == INTENDED:
            _count(self.opened, exception)
            _record(self.opened.intended, response_time, exception)
        else:
            _record(self.opened.service, response_time, exception)

    def on_report_to_master(self, data: dict[str, Any], **others: Any) -> None:
        """What was counted since the last report goes along with it."""
        data["outcome"] = [self.opened.to_json(), self.closed.to_json()]
        self.opened, self.closed = Outcome(), Outcome()

    def on_worker_report(self, data: Mapping[str, Any], **others: Any) -> None:
        opened, closed = data["outcome"]
        self.opened.merge(Outcome.from_json(opened))
        self.closed.merge(Outcome.from_json(closed))

    def write(self, path: Path, run_seconds: float, open_seconds: float) -> None:
        """As JSON, for `read`. The open loop was to send for `open_seconds`; 0: all the time."""
        outcome = self.closed
        outcome.seconds = run_seconds
        if self.opened.sent:
            outcome = self.opened
            outcome.seconds = (open_seconds or run_seconds) - WARM_UP_SECONDS
            outcome.offered = outcome.due / outcome.seconds if outcome.seconds > 0.0 else 0.0
        path.write_text(json.dumps(outcome.to_json()) + "\n")


def _count(outcome: Outcome, exception: BaseException | None) -> None:
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


def read(path: Path) -> Outcome:
    """Raises OSError where the run left nothing, and ValueError for what is no outcome."""
    content = json.loads(path.read_text())
    try:
        return Outcome.from_json(content)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no outcome: {error}") from error
