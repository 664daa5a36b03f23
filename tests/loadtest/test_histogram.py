"""Buckets hold what they say, merging is the same as recording, percentiles are near the truth."""

import json
from math import ceil, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.clients.histogram import LINEAR, PER_DOUBLING, Histogram, bucket_of, end_of, merged

SECONDS = st.floats(min_value=0.0, max_value=1000.0, allow_nan=False)
MANY = st.lists(SECONDS, max_size=200)
WIDTH = 1 / PER_DOUBLING  # the width of a bucket, relative to its values


@given(st.integers(min_value=0, max_value=2**45))
def test_a_value_lies_in_its_bucket(microseconds: int) -> None:
    bucket = bucket_of(microseconds)
    assert microseconds < end_of(bucket)
    assert bucket == 0 or microseconds >= end_of(bucket - 1)
    assert end_of(bucket) - microseconds <= max(1, microseconds * WIDTH)


def test_buckets_follow_each_other_without_a_gap() -> None:
    ends = [end_of(bucket) for bucket in range(LINEAR + 40 * PER_DOUBLING)]
    assert ends == sorted(set(ends))
    assert ends[:LINEAR] == list(range(1, LINEAR + 1))
    for bucket, end in enumerate(ends[:-1]):
        assert bucket_of(end - 1) == bucket
        assert bucket_of(end) == bucket + 1


@given(st.lists(MANY, max_size=5))
def test_merged_is_recorded_in_one(parts: list[list[float]]) -> None:
    whole = merged(Histogram(part) for part in parts)
    together = Histogram(value for part in parts for value in part)
    assert whole.counts == together.counts
    assert whole.count == together.count == sum(map(len, parts))
    assert whole.longest == together.longest
    assert whole.total == pytest.approx(together.total)


@given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_a_percentile_is_that_of_the_sorted_values(values: list[float], share: float) -> None:
    exact = sorted(values)[max(1, ceil(share * len(values))) - 1]
    result = Histogram(values).percentile(share)
    assert exact - 1e-9 <= result <= exact * (1 + WIDTH) + 1.001e-6


@given(st.lists(SECONDS, min_size=1))
def test_the_longest_is_exact(values: list[float]) -> None:
    assert Histogram(values).percentile(1.0) == max(values) == Histogram(values).longest


def test_an_empty_histogram_has_no_percentile() -> None:
    assert isnan(Histogram().percentile(0.5))
    assert isnan(Histogram().mean)
    assert list(Histogram().cumulated()) == []


@given(MANY)
def test_json_keeps_it(values: list[float]) -> None:
    histogram = Histogram(values)
    again = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert again.counts == histogram.counts
    assert again.count == histogram.count
    assert again.longest == pytest.approx(histogram.longest, abs=1e-6)
    assert again.total == pytest.approx(histogram.total, abs=1e-6)


@given(st.lists(SECONDS, min_size=1))
def test_cumulated_shares_end_with_all(values: list[float]) -> None:
    steps = list(Histogram(values).cumulated())
    assert steps == sorted(steps)
    assert steps[-1] == (max(values), 1.0)


def test_a_clock_that_went_back_is_nothing() -> None:
    assert Histogram([-1.0]).counts == {0: 1}
