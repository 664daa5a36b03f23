"""The share of served clients: what is certain of it, and the connections that count as errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.clients.closed_loop import jain
from loadtest.experiment.measure.served import Served, by_connection, served, unserved

COUNTS = st.lists(st.integers(0, 1000), min_size=2, max_size=200)


@given(COUNTS)
def test_the_share_that_follows_from_jains_index_is_never_too_large(counts: list[int]) -> None:
    if min(counts) > 0 or max(counts) == 0:
        return
    known = by_connection({"jain": jain(counts), "connections": len(counts)})
    assert known is not None
    assert not known.exact
    assert known.share <= sum(map(bool, counts)) / len(counts)
    assert known.share < 1.0, "at least one has no response"


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 10**6))
def test_it_is_the_share_where_the_served_ones_are_served_alike(
    with_one: int, without: int, responses: int
) -> None:
    counts = [responses] * with_one + [0] * without
    values = {"jain": jain(counts), "connections": len(counts)}
    assert by_connection(values) == Served(with_one / len(counts), False)
    assert unserved(values) == without


def test_a_counted_share_is_exact() -> None:
    values = {"served": 0.25, "jain": 0.2, "connections": 4096}
    assert served(values, 3.0) == Served(0.25, True)
    assert unserved(values) == 3072


def test_a_recorded_number_is_not_computed_again() -> None:
    assert unserved({"served": 0.25, "connections": 100, "unserved": 7}) == 7


def test_connections_that_failed_are_not_counted_twice() -> None:
    values = {"served": 0.5, "connections": 100, "errors": 20, "refused": 10}
    assert unserved(values) == 20
    assert unserved(values | {"errors": 500}) == 0


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ({"requests": 99, "errors": 1}, 0.99),
        ({"requests": 98, "errors": 1, "refused": 1}, 0.98),
        ({"requests": 50, "errors": 20, "offered": 100}, 0.9),  # 200 were due in two seconds
        ({"requests": 0, "errors": 5}, 0.0),
        ({"connections": 100, "refused": 25}, 0.75),  # idle ones
    ],
)
def test_without_counts_by_connection_it_is_the_share_of_requests(
    values: dict[str, float], share: float
) -> None:
    assert served(values, 2.0) == Served(share, True)
    assert unserved(values) == 0, "the failed ones are counted as what they are"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"connections": 0, "refused": 0},
        {"connections": 500, "errors": 0, "refused": 0},  # slow heads: no response is due
        {"requests": 0, "errors": 0},
        {"jain": 0.5},
        {"served": float("nan")},
    ],
)
def test_it_may_be_unknown(values: dict[str, float]) -> None:
    assert served(values, 1.0) is None
    assert unserved(values) == 0


@pytest.mark.parametrize(("share", "enough"), [(0.99, True), (0.9899, False), (0.0, False)])
def test_enough_is_99_percent(share: float, enough: bool) -> None:
    assert Served(share, True).enough is enough
