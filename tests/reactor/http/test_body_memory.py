"""The memory of bodies: who gets room, who waits, and that none of them waits for ever."""

import random
from collections import Counter
from itertools import count

import pytest

from reactor import Limits, ProtocolError
from reactor.http.body_memory import BodyLease, BodyMemory
from reactor.net.client_network import client_network
from reactor.tasks.futures import Future


class Body:
    """A body that says whether it was evicted."""

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole
        self.evicted = 0

    def evict(self) -> bool:
        self.evicted += not self.whole
        return not self.whole


class Bench:
    """A memory for 1,000 bytes, of which each client has 400; a body has 100 bytes at most."""

    def __init__(self, most: int = 1000, client: int = 400, largest: int = 100) -> None:
        self.limits = Limits(
            memory_bodies_bytes=most, memory_client_bytes=client, memory_body_bytes=largest
        )
        self.memory = BodyMemory(self.limits)
        self.now = 0.0

    def lease(self, client: str, size: int = 0, body: Body | None = None) -> BodyLease:
        """A lease that has this room."""
        lease = self.memory.lease(client, self.now, body or Body())
        assert not size or self.grow(lease, size) is None
        return lease

    def grow(self, lease: BodyLease, size: int) -> Future[None] | None:
        return lease.grow(size, self.now)

    def waits(self, lease: BodyLease, size: int) -> Future[None]:
        room = self.grow(lease, size)
        assert room is not None
        assert not room.done
        return room


def test_room_is_what_has_come_and_returns_at_the_end() -> None:
    bench = Bench()
    lease = bench.lease("a")
    for size in (10, 30, 30, 20):
        assert bench.grow(lease, size) is None
    assert bench.memory.used == 30
    lease.close()
    assert bench.memory.used == 0
    assert bench.memory.waiting == 0


def test_a_client_gets_its_part_and_others_do_not_notice() -> None:
    """The last 100 bytes of the part are the reserve of its oldest body."""
    bench = Bench()
    oldest, *others = [bench.lease("a", 80) for _ in range(4)]
    for lease in others:
        assert bench.grow(lease, 100) is None
    newest = bench.lease("a")
    room = bench.waits(newest, 1)
    assert bench.grow(oldest, 100) is None
    for client in "bc":
        for _ in range(4):
            bench.lease(client, 70)
    assert bench.memory.waiting == 1
    oldest.close()
    assert room.done, "another one is the oldest now, and its bytes are of the reserve"
    assert bench.grow(newest, 100) is None


def test_clients_are_networks() -> None:
    bench = Bench()
    bench.lease("2001:db8::1", 90)
    for number in range(3):
        bench.lease(f"2001:db8:0:{number:x}::7", 100)
    bench.waits(bench.lease("2001:db8:0:ff::"), 10)
    bench.lease("2001:db8:0:100::", 100)
    bench.lease("192.0.2.1", 100)
    bench.lease("", 100)


def test_a_quarter_is_what_a_client_gets_by_default() -> None:
    bench = Bench(client=0, largest=50)
    bench.lease("a", 50)
    for _ in range(4):
        bench.lease("a", 50)
    bench.waits(bench.lease("a"), 1)


def test_bodies_of_a_client_are_served_in_order_and_clients_in_turn() -> None:
    bench = Bench(client=1000)
    holders = [bench.lease("h", 100) for _ in range(10)]
    order: list[str] = []
    for client, number in [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("b", 2)]:
        room = bench.waits(bench.lease(client), 100)
        room.add_callback(lambda _, name=f"{client}{number}": order.append(name))  # type: ignore[misc]
    for holder in holders[1:]:
        holder.close()
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_client_that_waits_for_its_own_part_holds_up_nobody() -> None:
    bench = Bench()
    for _ in range(4):
        bench.lease("a", 100)
    waiting = [bench.waits(bench.lease("a"), 1) for _ in range(100)]
    assert bench.grow(bench.lease("b"), 100) is None
    assert not any(room.done for room in waiting)


def test_a_small_want_does_not_overtake_a_large_one() -> None:
    bench = Bench(client=1000)
    holders = [bench.lease("h", 99) for _ in range(10)]
    large = bench.waits(bench.lease("a"), 50)
    small = bench.waits(bench.lease("b"), 1)
    holders[0].close()
    assert large.done
    assert small.done


@pytest.mark.parametrize("most", [1, 50, 100, 101, 150])
def test_memory_for_less_than_two_bodies_is_for_one_at_a_time(most: int) -> None:
    bench = Bench(most, client=0)
    first, second = bench.lease("a", 60), bench.lease("b")
    room = bench.waits(second, 60)
    third = bench.waits(bench.lease("a"), 60)
    assert bench.grow(first, 100) is None
    first.close()
    assert room.done
    assert not third.done
    second.close()
    assert third.done


def test_bodies_that_are_half_read_do_not_wait_for_each_other_for_ever() -> None:
    bench = Bench(client=1000)
    leases = [bench.lease(client, 50) for client in "abcdefghijklmnopqr"]
    rooms = [bench.grow(lease, 100) for lease in leases]
    assert rooms[0] is None, "the oldest has the reserve"
    for lease, room, following in zip(leases, rooms[1:], leases[1:], strict=False):
        assert lease.held == 100
        lease.close()
        assert room is None or room.done
        assert following.held == 100


def test_the_place_of_one_that_gives_up_goes_to_the_next() -> None:
    bench = Bench(client=1000)
    for _ in range(10):
        bench.lease("h", 95)
    first, second = bench.lease("a"), bench.lease("a")
    rooms = bench.waits(first, 100), bench.waits(second, 1)
    first.stop_waiting()
    assert rooms[0].done
    assert rooms[0].exception() is not None
    assert rooms[1].done
    assert rooms[1].exception() is None
    second.close()
    first.close()
    assert bench.memory.waiting == 0


@pytest.mark.parametrize("granted", [False, True])
def test_a_lease_that_is_closed_while_it_waits_leaves_nothing_taken(granted: bool) -> None:
    """Also when the room came in this turn, and its reader has not noticed yet."""
    bench = Bench(100)
    first, second = bench.lease("a", 60), bench.lease("a")
    bench.waits(second, 60)
    if granted:
        first.close()
    second.close()
    if not granted:
        first.close()
    assert (bench.memory.used, bench.memory.waiting) == (0, 0)
    assert not bench.memory._clients
    assert not bench.memory._turns


def test_a_body_cannot_be_read_twice_at_once() -> None:
    bench = Bench(100)
    bench.lease("a", 60)
    lease = bench.lease("a")
    bench.waits(lease, 60)
    with pytest.raises(RuntimeError, match="being read already"):
        bench.grow(lease, 70)


def test_a_slow_body_is_evicted_where_another_one_waits() -> None:
    bench = Bench(100)
    whole, slow, other = Body(whole=True), Body(), Body()
    for body in (whole, slow, other):
        bench.memory.lease("a", bench.now, body)
    bench.now += bench.limits.slow_body_timeout - 1
    bench.waits(bench.lease("b"), 10)
    assert not slow.evicted
    bench.now += 1
    bench.waits(bench.lease("b"), 10)
    assert (whole.evicted, slow.evicted, other.evicted) == (0, 1, 0)


def test_a_slow_body_of_another_client_is_not_evicted_for_one_beyond_its_part() -> None:
    bench = Bench()
    slow, own = Body(), Body()
    bench.lease("a", 50, slow)
    bench.lease("b", 100, own)
    for _ in range(3):
        bench.lease("b", 100)
    bench.now += bench.limits.slow_body_timeout
    bench.waits(bench.lease("b"), 10)
    assert (slow.evicted, own.evicted) == (0, 1)


def test_the_client_that_holds_most_loses_a_body() -> None:
    """A client with much cannot take the room of one with little."""
    bench = Bench(client=900)
    little, much, most = Body(), Body(), Body()
    bench.lease("a", 10, little)
    bench.lease("b", 100, much)
    bench.lease("b", 100)
    for _ in range(6):
        bench.lease("c", 100, most)
    bench.lease("d", 100)
    bench.now += bench.limits.slow_body_timeout
    for expected, client in enumerate("dcbae", 1):
        bench.waits(bench.lease(client), 100)
        assert (little.evicted, much.evicted, most.evicted) == (0, 0, expected)
    most.whole = True
    bench.waits(bench.lease("e"), 100)
    assert (little.evicted, much.evicted) == (0, 1)
    bench.waits(bench.lease("c"), 100)
    assert (little.evicted, much.evicted) == (0, 1), "c holds more than any other"


def test_few_bytes_of_a_client_wait() -> None:
    """Each of them is a piece that is held somewhere."""
    bench = Bench(most=1000, client=2000)
    for _ in range(10):
        bench.lease("h", 95)
    rooms = [bench.waits(bench.lease("a"), 100) for _ in range(20)]
    last = bench.lease("a")
    with pytest.raises(ProtocolError, match="no memory") as caught:
        bench.grow(last, 1)
    assert (caught.value.status, caught.value.headers) == (503, [("Retry-After", "1")])
    last.close()
    other = bench.waits(bench.lease("b"), 100)
    assert bench.memory.waiting == 21
    assert not any(room.done for room in (*rooms, other))


def test_a_callback_that_releases_at_once_does_not_recurse() -> None:
    """Clients choose how many wait."""
    bench = Bench(1, client=1)
    first = bench.lease("a", 1)
    ended = []
    for number in range(5000):
        lease = bench.lease(f"c{number % 7}")
        room = bench.waits(lease, 1)

        def end(room: Future[None], lease: BodyLease = lease) -> None:
            ended.append(lease)
            lease.close()

        room.add_callback(end)
    first.close()
    assert len(ended) == 5000
    assert (bench.memory.used, bench.memory.waiting) == (0, 0)


# --- by chance -----------------------------------------------------------------------------------


class Crowd:
    """Bodies of a few clients that grow, wait, give up and end in any order."""

    CLIENTS = ("a", "b", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8:0:1::")

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        largest = chance.choice([10, 50, 100])
        most = chance.choice([5, largest, largest * 2, 1000])
        client = chance.choice([0, most // 2, most])
        self.bench = Bench(most, client, largest)
        self.largest = largest
        self.most = most
        self.client = client or most // 4
        self.leases: dict[BodyLease, tuple[str, int]] = {}  # with network and size in the end
        self.rooms: dict[BodyLease, Future[None]] = {}
        self.ended = 0
        self.names = count()

    def step(self) -> None:
        chance = self.chance
        if len(self.leases) < 30 and chance.random() < 0.4:
            client = chance.choice(self.CLIENTS)
            lease = self.bench.lease(client)
            self.leases[lease] = (client_network(client), chance.randint(1, self.largest))
            self.grow(lease)
        elif self.leases:
            lease = chance.choice(list(self.leases))
            room = self.rooms.get(lease)
            if room is not None and not room.done:
                if chance.random() < 0.1:
                    self.end(lease)
                elif chance.random() < 0.1:
                    lease.stop_waiting()
                    self.rooms.pop(lease)
            elif lease.held == self.leases[lease][1] or chance.random() < 0.05:
                self.end(lease)
            else:
                self.grow(lease)

    def grow(self, lease: BodyLease) -> None:
        self.rooms.pop(lease, None)
        rest = self.leases[lease][1] - lease.held
        try:
            room = self.bench.grow(lease, lease.held + self.chance.randint(1, max(1, rest)))
        except ProtocolError:
            self.end(lease)
            return
        if room is not None:
            self.rooms[lease] = room

    def end(self, lease: BodyLease) -> None:
        self.rooms.pop(lease, None)
        del self.leases[lease]
        lease.close()
        self.ended += 1

    def check(self) -> None:
        memory = self.bench.memory
        assert memory.used == sum(lease.held for lease in self.leases)
        assert memory.used <= max(self.most, self.largest)
        held: Counter[str] = Counter()
        for lease, (network, _) in self.leases.items():
            held[network] += lease.held
        for network, size in held.items():
            assert size <= max(self.client, self.largest), network
        waiting = [lease for lease, room in self.rooms.items() if not room.done]
        assert memory.waiting == len(waiting)
        assert len(waiting) < len(self.leases) or not waiting, "all of them wait for each other"

    def finish(self) -> None:
        """The bodies that need not wait come to their end, until all have."""
        while self.leases:
            ready = [
                lease
                for lease in self.leases
                if (room := self.rooms.get(lease)) is None or room.done
            ]
            assert ready, "all of them wait for each other"
            for lease in ready:
                if lease.held == self.leases[lease][1]:
                    self.end(lease)
                else:
                    self.rooms.pop(lease, None)
                    self.grow(lease)
            self.check()


@pytest.mark.parametrize("seed", range(60))
def test_no_limit_is_exceeded_and_all_bodies_end(seed: int) -> None:
    crowd = Crowd(seed)
    for _ in range(500):
        crowd.step()
        crowd.check()
    crowd.finish()
    assert crowd.ended > 50
    assert (crowd.bench.memory.used, crowd.bench.memory.waiting) == (0, 0)
    assert not crowd.bench.memory._clients
    assert not crowd.bench.memory._turns
