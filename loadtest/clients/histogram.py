"""Latencies, counted in buckets: millions of them in a kilobyte, and mergeable.

A percentile of percentiles means nothing. So each worker, round or process keeps counts, which are
merged before a percentile is taken. Buckets are linear below 64 µs, and then there are 32 to each
doubling, so a value is known to within 3 %. A percentile is the upper end of its bucket, never less
than what was measured. The longest value is kept exactly.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any, Final

LINEAR: Final = 64  # buckets of a microsecond each
PER_DOUBLING: Final = 32


class Histogram:
    """Counts of durations. Arguments and results are in seconds, buckets in microseconds."""

    __slots__ = ("count", "counts", "longest", "total")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0  # seconds
        self.longest = 0.0  # seconds
        for value in seconds:
            self.record(value)

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a duration; a negative one counts as 0."""
        bucket = bucket_of(int(seconds * 1e6) if seconds > 0.0 else 0)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += count
        self.total += seconds * count
        if seconds > self.longest:
            self.longest = seconds

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    def percentile(self, share: float) -> float:
        """Seconds that `share` (0 to 1) of all values do not exceed; NaN without values."""
        wanted = max(1, ceil(share * self.count))
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return min(end_of(bucket) / 1e6, self.longest)
        return float("nan")

    @property
    def mean(self) -> float:
        """Seconds; NaN without values."""
        return self.total / self.count if self.count else float("nan")

    def cumulated(self) -> Iterator[tuple[float, float]]:
        """Pairs of seconds and the share of all values that do not exceed them, ascending."""
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            yield min(end_of(bucket) / 1e6, self.longest), seen / self.count

    def to_json(self) -> dict[str, Any]:
        """For `from_json`; total and longest are rounded to microseconds."""
        return {
            "counts": sorted(self.counts.items()),
            "total": round(self.total, 6),
            "longest": round(self.longest, 6),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Histogram":
        """The histogram that `to_json` made."""
        histogram = cls()
        histogram.counts = {int(bucket): int(count) for bucket, count in content["counts"]}
        histogram.count = sum(histogram.counts.values())
        histogram.total = float(content["total"])
        histogram.longest = float(content["longest"])
        return histogram


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """A new histogram with the counts of all."""
    whole = Histogram()
    for one in histograms:
        whole.merge(one)
    return whole


def bucket_of(microseconds: int) -> int:
    """The number of the bucket that counts this duration."""
    if microseconds < LINEAR:
        return microseconds
    shift = microseconds.bit_length() - LINEAR.bit_length() + 1
    return shift * PER_DOUBLING + (microseconds >> shift)


def end_of(bucket: int) -> int:
    """The microsecond after the last one of a bucket."""
    if bucket < LINEAR:
        return bucket + 1
    shift = bucket // PER_DOUBLING - 1
    return (bucket - shift * PER_DOUBLING + 1) << shift
