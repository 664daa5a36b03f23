"""The share of clients that a server has served, and the clients that got no response at all.

Connections without a response have no latency, so a server that leaves out most of them has an
excellent p99. Every latency of the report therefore depends on this share. It is the share of
connections where the generator counts by connection, and otherwise the share of requests.

h2load prints no count of served connections where some got no response. The count then follows from
Jain's index J, which those without a response lower: of n connections at least J * n had a response
(by the inequality of Cauchy and Schwarz), and exactly as many where all of these had the same
number of responses. A share that was found in this way is a lower bound.
"""

from collections.abc import Mapping
from math import ceil, isfinite
from typing import Final, NamedTuple

NAN: Final = float("nan")
ROUNDING: Final = 1e-6  # in connections
ENOUGH: Final = 0.99  # share with which a latency is that of the server's clients


class Served(NamedTuple):
    """The share of clients that were served, 0 to 1."""

    share: float
    exact: bool  # False for a lower bound

    @property
    def enough(self) -> bool:
        """Whether it is certain that ENOUGH of the clients were served."""
        return self.share >= ENOUGH


def by_connection(values: Mapping[str, float]) -> Served | None:
    """The share of connections that got a response; None where they were not counted."""
    if isfinite(share := values.get("served", NAN)):
        return Served(share, True)
    index, count = values.get("jain", NAN), values.get("connections", 0.0)
    if not isfinite(index) or not count:
        return None
    least = min(ceil(index * count - ROUNDING), count - 1)  # one at least was not served
    return Served(least / count, False)


def served(values: Mapping[str, float], seconds: float) -> Served | None:
    """The share for the values of a sample with a window of `seconds`; None where it is unknown.

    Without counts by connection it is the share of requests, or of the idle connections that stay
    open.
    """
    if (known := by_connection(values)) is not None:
        return known
    failed = values.get("errors", 0.0) + values.get("refused", 0.0)
    if "requests" in values:
        count = values["offered"] * seconds if "offered" in values else values["requests"] + failed
    else:
        # Slow heads are never complete, so no response is due; they have a count of errors.
        count = 0.0 if "errors" in values else values.get("connections", 0.0)
    return Served(max(0.0, 1.0 - failed / count), True) if count > 0.0 else None


def unserved(values: Mapping[str, float]) -> float:
    """The connections without any response that no error and no refusal counts.

    It is the largest possible number where the share is a lower bound.
    """
    if "unserved" in values:
        return values["unserved"]
    known = by_connection(values)
    if known is None or "connections" not in values:
        return 0.0
    without = round(values["connections"] * (1.0 - known.share))
    failed = values.get("errors", 0.0) + values.get("refused", 0.0)
    return max(0.0, without - failed)
