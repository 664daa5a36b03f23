"""Token buckets in bounded memory: against a model with a bucket for everybody."""

import random
import time

import pytest

from reactor.web.middlewares.token_buckets import ENTRIES_FOR_ROOM, TokenBuckets


def taken(buckets: TokenBuckets, client: str, now: float) -> bool:
    return buckets.take(client, now) >= 0


@pytest.mark.parametrize("most", [1, 3, 10_000])
def test_networks_that_ask_in_turn_are_refused(most: int) -> None:
    buckets = TokenBuckets(rate=0.001, burst=1, most=most)
    clients = [str(n) for n in range(most + 1)]
    assert sum(taken(buckets, client, n / 1000) for n, client in enumerate(clients)) == most + 1
    for _ in range(3):
        assert not any(taken(buckets, client, 15.0) for client in clients)
    assert len(buckets) == most


def test_an_empty_bucket_is_kept_however_many_others_ask() -> None:
    buckets = TokenBuckets(rate=0.001, burst=1, most=10)
    assert taken(buckets, "first", 0)
    for n in range(100_000):
        buckets.take(str(n), n / 1000)
        assert len(buckets) <= 10
    assert len(buckets._shared) <= 1
    assert not taken(buckets, "first", 100.0)


def test_full_buckets_make_room() -> None:
    buckets = TokenBuckets(rate=1, burst=10, most=3)
    for client, tokens in (("a", 9), ("b", 1), ("c", 5)):
        assert all(taken(buckets, client, 0) for _ in range(tokens))
    assert taken(buckets, "d", 1.0)  # in place of b, which is full, and not of a, which is older
    assert len(buckets) == 3
    assert taken(buckets, "e", 1.5)  # with the others that have no bucket
    assert [taken(buckets, "a", 1.9) for _ in range(3)] == [True, True, False]


def test_clients_without_a_bucket_share_a_few() -> None:
    buckets = TokenBuckets(rate=0.001, burst=1, most=1000)
    assert all(taken(buckets, str(n), 0) for n in range(1000))
    served = sum(taken(buckets, str(n), 0) for n in range(1000, 5000))
    assert 90 <= served <= 100  # a hundred shared buckets
    assert not any(taken(buckets, str(n), 0) for n in range(1000))


def test_buckets_are_forgotten_as_time_goes_on() -> None:
    buckets = TokenBuckets(rate=1, burst=1, most=10_000)
    for n in range(5000):
        assert taken(buckets, str(n), n)
        assert len(buckets) <= 2
    for n in range(5000):
        assert taken(buckets, str(n), 5000.0)
    for n in range(5000):  # one client that goes on asking cleans up behind the others
        buckets.take("x", 5001.0 + n)
    assert len(buckets) == 1


def test_a_clock_that_goes_back_changes_nothing() -> None:
    buckets = TokenBuckets(rate=1, burst=2, most=5)
    assert taken(buckets, "a", 100.0)
    assert [taken(buckets, "a", 0.0) for _ in range(2)] == [True, False]
    assert taken(buckets, "b", 0.0)
    assert taken(buckets, "a", 101.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [4, 30])
def test_against_a_bucket_for_everybody(seed: int, most: int) -> None:
    """Where there is room every response is the same; where there is none, it is never better."""
    chance = random.Random(seed)
    rate, burst = chance.choice([(1, 1), (3, 5), (0.5, 20)])
    buckets, model = TokenBuckets(rate, burst, most), TokenBuckets(rate, burst, 10**9)
    now, roomy = 1_000_000.0, True
    for _ in range(3000):
        now += chance.choice([0, 0, chance.random() * burst / rate / 10])
        client = str(chance.randrange(25 if chance.random() < 0.95 else 40))
        here, there = buckets.take(client, now), model.take(client, now)
        roomy = roomy and not buckets._shared
        if roomy:
            assert here == pytest.approx(there, abs=1e-6)
        assert len(buckets) <= most
        assert len(buckets) == len(buckets._filling)
        assert {one for _, one in buckets._filling} == set(buckets._buckets)


def test_one_request_looks_at_a_bounded_number_of_buckets() -> None:
    """All entries of the heap come up too early at once: each client has asked twice."""
    buckets = TokenBuckets(rate=1, burst=10, most=100_000)
    for _ in range(2):
        for n in range(100_000):
            buckets.take(str(n), 0.0)
    calls = 0
    full_at = buckets._full_at

    def counted(bucket: tuple[float, float]) -> float:
        nonlocal calls
        calls += 1
        return full_at(bucket)

    buckets._full_at = counted  # type: ignore[method-assign]
    assert taken(buckets, "new", 1.5)
    assert calls <= ENTRIES_FOR_ROOM + 10
    began = time.process_time()
    for n in range(10_000):
        buckets.take(f"new {n}", 2.5)
    assert time.process_time() - began < 5  # 10,000 requests; about 0.05 s
