"""Uploads in the simulator: crowds, races, resets, restarts and a disk with faults, by the seed.

The server is the real one, and so are its files; time, sockets and threads are simulated. Each
client of a race sends files of one letter, so that a mixture of two, or a part of one, is seen.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urljoin

import pytest

from reactor import Limits
from reactor.simulator import Faults, SimClient, SimNetwork, SimWorld
from reactor.simulator.network import Script
from reactor.simulator.world import simulation
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site

CROWD = 900
STAYING = 100  # each turn of the simulator looks at all connections that are open
PARTIAL = ("Content-Type: application/partial-upload", "Upload-Offset: 0")
NAMES = ("a", "b")
ROUNDS = 12  # requests of each client of a race
CALLS = ("write", "pwrite", "fsync", "open", "link", "replace", "rename", "ftruncate", "utime")


def encode(method: str, path: str, *fields: str, body: bytes = b"", length: int = -1) -> bytes:
    """A request; `length` is announced where not all of the body is sent."""
    size = len(body) if length < 0 else length
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields, f"Content-Length: {size}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture(autouse=True)
def simulated() -> Iterator[None]:
    with simulation():
        yield


def world_of(
    path: Path, network: SimNetwork, faults: Faults | None = None, **limits: Any
) -> SimWorld:
    chosen = Limits(connections=CROWD + 100, **limits)
    site = Site(SiteOptions(directory=str(path), deletes=True), chosen)
    world = SimWorld(network, site.handler, chosen, faults)
    world.site = site  # type: ignore[attr-defined]
    return world


def client_of(world: SimWorld, name: str, data: bytes = b"") -> SimClient:
    client = SimClient(world.network, world.listener, name)
    assert client.connect()
    world.network.start(client.reading())
    assert client.send(data[:1]) == len(data[:1])
    world.network.start(client.sending(data[1:]))
    return client


def ask(world: SimWorld, data: bytes) -> tuple[int, dict[str, str]]:
    """The final response to a request on a connection of its own."""
    method = data.partition(b" ")[0].decode()
    client = client_of(world, f"asking {world.network.time}", data)
    world.run_until(lambda: any(one.whole for one in client.responses([method])), 60)
    (response,) = client.responses([method])
    client.close()
    return response.status, {name.lower(): value for name, value in response.fields.items()}


def begin(world: SimWorld, name: str = "big") -> str:
    status, fields = ask(world, encode("PUT", f"/files/{name}", "Upload-Complete: ?0"))
    assert status == 201
    return urljoin("/files/", fields["location"])


def end(world: SimWorld) -> None:
    world.server.close()
    for files in world.site._mounted:  # type: ignore[attr-defined]
        files._open.close()


# --- a crowd -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["first to last", "last to first", "any"])
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_crowd_that_asks_for_one_upload_and_leaves(
    tmp_path: Path, method: str, order: str, waits: bool
) -> None:
    """The last of them is served, and so is everybody afterwards."""
    world = world_of(tmp_path, SimNetwork(0, calm=True), resumable_uploads=1)
    place = begin(world)
    holding = client_of(
        world, "holding", encode("PATCH", place, *PARTIAL, "Upload-Complete: ?0", length=9)
    )
    world.run(0.1)
    fields = (*PARTIAL, "Upload-Complete: ?0") if method == "PATCH" else ()
    data = encode(method, place, *fields, length=9 if method == "PATCH" else 0)
    crowd = [client_of(world, f"crowd-{number}", data) for number in range(CROWD)]
    world.run(0.5 if waits else 0.02)  # all of them wait, or most are on their way
    last = crowd.pop()
    if order == "last to first":
        crowd.reverse()
    elif order == "any":
        Random(1).shuffle(crowd)
    for client in crowd:
        client.reset()
    if method == "PATCH":
        world.network.after(0.5, lambda: last.send(b"123456789"))
    world.run_until(lambda: bool(last.responses([method])), 30)
    # It may have come before another one of the crowd, which was then the newest.
    assert last.responses([method])[0].status in (204, 404, 409)
    holding.reset()
    last.close()
    world.run(1)
    assert not world.site._upload_mount._resumable._leases._newest  # type: ignore[attr-defined]
    status, _ = ask(world, encode("HEAD", place))
    assert status == (404 if method == "DELETE" else 204)
    if method != "PATCH":
        begin(world, "other")  # without bytes, the upload is evicted for another one
    else:
        assert ask(world, encode("DELETE", place))[0] == 204
    world.run(1)
    end(world)


def test_a_crowd_that_stays_is_served_in_turn_without_recursion(tmp_path: Path) -> None:
    world = world_of(tmp_path, SimNetwork(0, calm=True))
    place = begin(world)
    crowd = [
        client_of(world, f"crowd-{number}", encode("HEAD", place)) for number in range(STAYING)
    ]
    world.run(20)
    assert {client.responses(["HEAD"])[0].status for client in crowd} <= {204, 409}
    end(world)


def test_a_crowd_before_a_full_pool(tmp_path: Path) -> None:
    """The pool refuses their jobs at once: each gives its turn to the next without a step."""
    faults = Faults(job_seconds=lambda: 5.0)
    world = world_of(
        tmp_path, SimNetwork(0, calm=True), faults, pool_threads=1, pool_jobs=1, pool_timeout=0.01
    )
    name = "x" * 22
    crowd = [
        client_of(world, f"crowd-{number}", encode("HEAD", f"/files/.uploads/{name}"))
        for number in range(4 * STAYING)
    ]
    world.run(60)
    assert {client.responses(["HEAD"])[0].status for client in crowd} <= {404, 409, 503}
    world.run(20)
    assert not world.site._upload_mount._resumable._leases._newest  # type: ignore[attr-defined]
    end(world)


# --- races ---------------------------------------------------------------------------------------


class Race:
    """Clients that put, resume and delete two files, and leave in the middle."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.network = SimNetwork(seed)
        self.random = Random(seed)
        self.deleted = False
        self.sizes: dict[str, set[int]] = {}
        faults = Faults(job_seconds=lambda: self.random.choice((0.0001, 0.001, 0.05)))
        self.world = world_of(
            path, self.network, faults, resumable_uploads=4, resumable_bytes=60_000,
            resumable_idle=2.0,
        )  # fmt: skip

    def client(self, letter: str) -> Script:
        """Request after request, each on a connection of its own."""
        for _ in range(ROUNDS):
            size = self.random.choice((0, 1, 10_000, 20_000))
            self.sizes.setdefault(letter, set()).add(size)
            body = letter.encode() * size
            name = self.random.choice(NAMES)
            act = self.random.choice((self.put, self.put, self.resume, self.resume, self.delete))
            yield from act(name, body)
            yield self.random.random() * 0.1

    def put(self, name: str, body: bytes) -> Script:
        yield from self.exchange(encode("PUT", f"/files/{name}", body=body))

    def delete(self, name: str, body: bytes) -> Script:
        self.deleted = True
        yield from self.exchange(encode("DELETE", f"/files/{name}"))

    def resume(self, name: str, body: bytes) -> Script:
        lengths = (f"Upload-Length: {len(body)}",) if self.random.random() < 0.5 else ()
        begun = encode("PUT", f"/files/{name}", "Upload-Complete: ?0", *lengths)
        created = yield from self.exchange(begun)
        place = created.get("location", "") and urljoin("/files/", created["location"])
        offset = 0
        for _ in range(6):
            if not place:
                return
            fields = (
                "Content-Type: application/partial-upload",
                f"Upload-Offset: {offset}",
                "Upload-Complete: ?1",
            )
            response = yield from self.exchange(encode("PATCH", place, *fields, body=body[offset:]))
            if response.get("upload-complete") == "?1":
                return
            response = yield from self.exchange(encode("HEAD", place))
            if response.get("upload-complete") != "?0":
                return
            offset = int(response["upload-offset"])
            assert offset <= len(body)

    def exchange(self, data: bytes) -> Any:
        """Send it, at a pace; the fields of the response, none where the client has left."""
        method = data.partition(b" ")[0].decode()
        client = SimClient(self.network, self.world.listener, f"client {self.network.time}")
        if not client.connect():
            return {}
        self.network.start(client.reading())
        leaves = self.random.random() < 0.3
        sent, until = 0, self.random.randint(0, len(data)) if leaves else len(data)
        while sent < until and not client.end:
            sent += client.send(data[sent : min(until, sent + self.random.choice((50, 5_000)))])
            yield 0.002
        for _ in range(2_000):
            responses = client.responses([method])
            if client.end or (responses and responses[0].whole) or leaves:
                break
            yield 0.01
        client.reset()
        found = client.responses([method])
        return {name.lower(): value for name, value in found[0].fields.items()} if found else {}

    def check(self) -> None:
        """Each file is one that a client has sent, whole; no unfinished file is left over."""
        for name in NAMES:
            path = self.path / name
            if not path.exists():
                assert self.deleted, f"{name} has vanished"
                continue
            content = path.read_bytes()
            letters = set(content.decode())
            assert len(letters) <= 1, f"{name} is a mixture of {letters}"
            sizes = self.sizes[letters.pop()] if letters else {0}
            assert len(content) in sizes, f"{name} has {len(content)} bytes"

    def run(self) -> None:
        for letter in "vwxyz":
            self.network.start(self.client(letter))
        until = self.network.time + 200
        while self.network.scripts and self.network.time < until:
            self.world.run(0.05)
            self.check()
        self.world.run(5)
        self.check()


@pytest.fixture
def race(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Race]:
    path = tmp_path / "served"
    path.mkdir()
    race = Race(path, request.param)
    for name in NAMES:
        (path / name).write_bytes(b"o" * 5)
    race.sizes["o"] = {5}
    yield race
    end(race.world)


@pytest.mark.slow
@pytest.mark.parametrize("race", range(12), indirect=True)
def test_a_race_leaves_whole_files(race: Race) -> None:
    race.run()
    assert not race.world.site._upload_mount._resumable._leases._newest  # type: ignore[attr-defined]
    left = [name for name in os.listdir(race.path) if name not in NAMES]
    assert set(left) <= {".uploads"}


@pytest.mark.slow
@pytest.mark.parametrize("race", range(100, 112), indirect=True)
def test_a_race_on_a_disk_with_faults_leaves_whole_files(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(7)
    for call in CALLS:
        if hasattr(os, call):
            monkeypatch.setattr(os, call, failing(getattr(os, call), chance))
    race.run()
    monkeypatch.undo()
    for name in NAMES:
        assert ask(race.world, encode("PUT", f"/files/{name}", body=b"z"))[0] in (201, 204)
        assert (race.path / name).read_bytes() == b"z"


@pytest.mark.slow
@pytest.mark.parametrize("race", range(200, 206), indirect=True)
def test_a_restart_in_the_middle_goes_on_with_what_is_there(race: Race) -> None:
    """The server ends at once, in the middle of all requests, and another one takes over."""
    for letter in "vwxyz":
        race.network.start(race.client(letter))
    race.world.run(race.random.random())
    race.check()
    end(race.world)
    again = Race(race.path, race.network.random.randrange(1000))
    again.sizes, again.deleted, race.world = race.sizes, race.deleted, again.world
    again.run()
    status, _ = ask(again.world, encode("PUT", "/files/a", body=b"z"))
    assert status in (201, 204)


def failing(real: Any, chance: Random) -> Any:
    """The call, which fails now and then."""

    def call(*arguments: Any, **named: Any) -> Any:
        if chance.random() < 0.02:
            code = chance.choice((errno.ENOSPC, errno.ENOSPC, errno.EIO, errno.EDQUOT))
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    return call
