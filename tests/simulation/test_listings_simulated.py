"""Listings of a directory that changes, for readers of all paces, on a simulated network.

The directory is a real one, whose reading takes simulated time. Names come and go while it is read,
and readers come, dawdle and go. Each whole response is judged: it lists what was there all the time
from its request to its end, and nothing that was never there.
"""

import gc
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor import Limits
from reactor.simulator import (
    Faults,
    Script,
    SimClient,
    SimNetwork,
    SimResponse,
    SimWorld,
    simulation,
)
from reactor.web.app.application import Application
from reactor.web.semantics.media_types import media_types
from reactor.web.static.file_server import FileServer, Mount

pytestmark = pytest.mark.timeout(120)

SEEDS = 40
STABLE = 300  # names that are always there
YEARS = 10 * 365 * 86400  # the directory is old by the wall clock: its times show all changes


class World:
    """One seed's directory, server and clients."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.network = SimNetwork(seed)
        self.chance = self.network.random
        self.directory = directory
        self.came: dict[str, list[float]] = {}  # when a name came and went, in turns
        self.changes = 0
        for number in range(STABLE):
            (directory / f"stable {number}").touch()
        self._changed()
        limits = Limits(
            connections=200,
            pool_threads=self.chance.randint(1, 8),
            listing_page=self.chance.choice([1000, 100, 50]),
            listing_bytes=self.chance.choice([2**28, 200_000]),
        )
        self.whole = limits.listing_page == 1000
        mount = Mount(directory=str(directory), media_type=media_types({}))
        long_ago = os.stat(directory).st_ctime + YEARS
        self.files = FileServer(
            mount,
            limits,
            clock=self.network.clock,
            wall=lambda: long_ago + self.network.time,
        )
        router = Application()
        router.add("GET", "/{name:segments}", self.files.get)
        seconds = self.chance.choice([0.001, 0.05, 0.3])
        faults = Faults(job_seconds=lambda: self.chance.random() * seconds)
        self.world = SimWorld(self.network, router, limits, faults)
        self.visitors: list[tuple[SimClient, list[tuple[str, float]], bool]] = []

    def _changed(self) -> None:
        """Give the directory another time: real ticks are coarser than simulated changes."""
        self.changes += 1
        os.utime(self.directory, (0, self.changes))

    def change(self) -> Script:
        for _ in range(self.chance.randint(0, 40)):
            name = f"other {self.chance.randint(0, 9)}"
            times = self.came.setdefault(name, [])
            if len(times) % 2:
                (self.directory / name).unlink()
            else:
                (self.directory / name).touch()
            self._changed()
            times.append(self.network.time)
            yield self.chance.random() ** 3

    def visit(self) -> None:
        client = SimClient(self.network, self.world.listener, f"client-{len(self.visitors)}")
        polite = self.chance.random() < 0.8
        asked: list[tuple[str, float]] = []
        self.visitors.append((client, asked, polite))
        self.network.start(self._life(client, asked, polite))

    def _life(self, client: SimClient, asked: list[tuple[str, float]], polite: bool) -> Script:
        yield self.chance.random() * 3
        if not client.connect():
            return
        self.network.start(client.reading())
        if not polite:
            self.network.after(self.chance.random() * 2, client.reset)
        for number in range(1, 4):
            coding = self.chance.choice(["identity", "gzip"])
            asked.append((coding, self.network.time))
            order = self.chance.choice(["", "?sort=size&order=desc", "?sort=date", "?page=2"])
            lines = [f"GET /{order} HTTP/1.1", "Host: test", f"Accept-Encoding: {coding}"]
            lines += ["Accept: application/json", "", ""]
            yield from client.sending("\r\n".join(lines).encode())
            methods = ["GET"] * len(asked)
            while not client.end and sum(one.whole for one in client.responses(methods)) < number:
                yield client
            yield self.chance.random()
        client.close()

    # --- what came --------------------------------------------------------------------------------

    def check(self) -> int:
        """Judge all responses; how many listings there were."""
        count = 0
        for client, asked, polite in self.visitors:
            responses = client.responses(["GET"] * len(asked))
            if polite:
                assert len(responses) == len(asked), (client.name, client.end)
                assert all(response.whole for response in responses)
            for (coding, sent), response in zip(asked, responses, strict=False):
                if response.whole:
                    count += self.judge(coding, sent, response)
        return count

    def judge(self, coding: str, sent: float, response: SimResponse) -> bool:
        assert response.status in (200, 404, 503), response.status
        if response.status != 200:
            return False  # there is no second page, or too much is read
        body = response.body
        if response.fields.get("content-encoding") == "gzip":
            assert coding == "gzip"
            body = gzip.decompress(body)
        listed = json.loads(body)
        names = [entry["name"] for entry in listed["entries"]]
        assert len(names) == len(set(names))
        stable = {name for name in names if name.startswith("stable")}
        assert set(names) - stable <= set(self.came)
        if not self.whole:
            assert STABLE <= listed["total"] <= STABLE + 10
            return True
        assert len(stable) == STABLE
        for name, times in self.came.items():
            before = [time for time in times if time < sent]
            if len(before) == len(times):  # it has not changed since the request
                assert (name in names) == bool(len(times) % 2), (name, times, sent)
        return True

    def end(self) -> None:
        """Nothing of all this may be left."""
        self.world.run_until(lambda: self.network.scripts == 0, 1000)
        self.world.run_until(lambda: not self.world.server.connections, 1000)
        self.world.run(5)
        self.world.invariants.check_rest()
        listings = self.files._listing.listings
        assert listings.pages.held_bytes == 0
        assert not listings.pages._making
        assert not listings.directories._readings
        for turns in (listings.pages.turns, listings.directories.turns.short):
            assert turns.waiting == 0
        self.world.run(100)
        listings.drop_idle()
        assert len(listings.pages) == len(listings.directories) == 0
        self.files._open.close()
        self.world.server.close()
        gc.collect()
        self.world.check_end()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "d"
    path.mkdir()
    with simulation():
        yield path


@pytest.mark.parametrize("seed", range(SEEDS))
def test_listings_for_readers_of_all_kinds(seed: int, directory: Path) -> None:
    world = World(seed, directory)
    for _ in range(world.chance.randint(1, 25)):
        world.visit()
    world.network.start(world.change())
    world.end()
    world.check()
