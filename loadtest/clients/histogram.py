"""Latencies, counted in buckets: millions of them in a kilobyte, and mergeable.

A percentile of percentiles is none. So a worker, a round, a process each keeps counts, and whoever
wants a percentile merges the counts first. Buckets are linear below 64 µs and then 32 to each
doubling, so a value is told to within 3 %; a percentile is the upper end of its bucket, never less
than what was measured. The longest value is kept as it is.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any, Final

LINEAR: Final = 64  # buckets of a microsecond each
PER_DOUBLING: Final = 32


class Histogram:
    """Counts of durations; in seconds outside, microseconds inside."""

    __slots__ = ("count", "counts", "longest", "total")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0  # seconds
        self.longest = 0.0  # seconds
        for value in seconds:
            self.record(value)

    def record(self, seconds: float, count: int = 1) -> None:
        bucket = bucket_of(int(seconds * 1e6) if seconds > 0.0 else 0)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += count
        self.total += seconds * count
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: "Histogram") -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float:
        """Seconds that `share` (0 to 1) of all values do not exceed; NaN of nothing."""
        wanted = max(1, ceil(share * self.count))
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return min(end_of(bucket) / 1e6, self.longest)
        return float("nan")

    @property
    def mean(self) -> float:
        """Seconds; NaN of nothing."""
        return self.total / self.count if self.count else float("nan")

    def cumulated(self) -> Iterator[tuple[float, float]]:
        """Seconds, and the share of all values that do not exceed them."""
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            yield min(end_of(bucket) / 1e6, self.longest), seen / self.count

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": sorted(self.counts.items()),
            "total": round(self.total, 6),
            "longest": round(self.longest, 6),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Histogram":
        histogram = cls()
        histogram.counts = {int(bucket): int(count) for bucket, count in content["counts"]}
        histogram.count = sum(histogram.counts.values())
        histogram.total = float(content["total"])
        histogram.longest = float(content["longest"])
        return histogram


def merged(histograms: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for one in histograms:
        whole.merge(one)
    return whole


def bucket_of(microseconds: int) -> int:
    if microseconds < LINEAR:
        return microseconds
    shift = microseconds.bit_length() - LINEAR.bit_length() + 1
    return shift * PER_DOUBLING + (microseconds >> shift)


def end_of(bucket: int) -> int:
    """The microsecond after the bucket's last."""
    if bucket < LINEAR:
        return bucket + 1
    shift = bucket // PER_DOUBLING - 1
    return (bucket - shift * PER_DOUBLING + 1) << shift
