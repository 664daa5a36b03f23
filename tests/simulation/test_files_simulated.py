"""A mount on a simulated disk: slow, cold, and changed by us and others while clients come and go.

The server, the router and the Files are the real ones; only the walk from a path to open files is
another, since there is no directory to walk. Every tag stands for one content, so each response
can be judged: it must be whole, of one version, and of one that was not too old.
"""

import errno
import gc
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reactor import Limits, Response
from reactor.files.file import WINDOW_BYTES
from reactor.simulator import (
    Faults,
    Script,
    SimClient,
    SimFile,
    SimNetwork,
    SimResponse,
    SimWorld,
    simulation,
)
from reactor.simulator.world import EPOCH
from reactor.web.app.application import Application
from reactor.web.semantics.media_types import media_types
from reactor.web.semantics.validators import entity_tag, identity_tag
from reactor.web.static import open_file_cache
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.static.open_file_cache import SIBLINGS, Found, OpenFile, Version
from reactor.web.storage.safe_path import Place, Root
from reactor.web.storage.trust import Trust

pytestmark = pytest.mark.timeout(60)

SEEDS = 60
AGE = 1.0
NAMES = ("a", "b.txt", "b.txt.gz", "c")
SIZES = (0, 100, 5000, 70_000, 300_000, WINDOW_BYTES + 5000)
PATTERN = bytes(range(251)) * (max(SIZES) // 251 + 1)


@dataclass
class Made:
    """A version of a file."""

    name: str
    content: bytes
    status: os.stat_result
    until: float = float("inf")  # when it was replaced
    recorded: float = float("inf")  # when the server knew, if it did it itself
    tag: str = ""


@dataclass
class Disk:
    """The state of a directory; a missing one has no status."""

    network: SimNetwork
    coldness: float
    now: dict[str, Made] = field(default_factory=dict)
    tags: dict[str, Made] = field(default_factory=dict)
    missing: dict[str, list[Made]] = field(default_factory=dict)
    serial: int = 0

    def write(self, name: str) -> Made | None:
        """Another content; what was there before."""
        self.serial += 1
        size = self.network.random.choice(SIZES)
        start = self.serial % 251
        content = PATTERN[start : start + size]
        if name.endswith(".gz"):
            content = zlib.compress(PATTERN[start : start + 3000], wbits=31)
        time_ns = (1_600_000_000 + self.serial) * 10**9
        status = SimpleNamespace(
            st_dev=1,
            st_ino=self.serial,
            st_size=len(content),
            st_mtime_ns=time_ns,
            st_ctime_ns=time_ns,
            st_ctime=time_ns / 10**9,
        )
        made = Made(name, content, cast(os.stat_result, status))
        made.tag = entity_tag(made.status, EPOCH)
        self.tags[made.tag] = made
        return self._put(name, made)

    def remove(self, name: str) -> Made | None:
        """Its absence is a version, too."""
        gone = Made(name, b"", cast(os.stat_result, None))
        self.missing.setdefault(name, []).append(gone)
        return self._put(name, gone)

    def _put(self, name: str, made: Made) -> Made | None:
        before = self.now.get(name)
        if before is not None:
            before.until = self.network.time
        self.now[name] = made
        return before

    def walk(
        self,
        root: Root,
        segments: Sequence[str],
        trust: Trust,
        clock: Callable[[], float],
        index: bool,
    ) -> Found:
        """In place of the real one, on a simulated thread."""
        began = clock()
        name = "/".join(segments)
        plain = self._open(name)
        if plain is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        names = {coding: name + end for coding, end in SIBLINGS.items()}
        siblings = {}
        for coding, path in names.items():
            one = self._open(path)
            if one is not None and one.version.modified >= plain.version.modified:
                siblings[coding] = one
        places = frozenset(map(place, (name, *names.values())))
        return Found(plain, siblings, places, began, trusted=True)

    def _open(self, name: str) -> OpenFile | None:
        made = self.now.get(name)
        if made is None or made.status is None:
            return None
        status = made.status
        file = SimFile(self.network, made.content, coldness=self.coldness)
        # By name only: what nobody holds any more is to close itself.
        self.network.descriptors[file.descriptor] = f"{name} {made.tag}"
        version = Version(1, status.st_ino, status.st_size, status.st_mtime_ns, 0)
        return OpenFile(file, status, version)


def place(name: str) -> Place:
    return 1, 1, name.encode()


@dataclass
class Asked:
    """A request, and when it was sent."""

    name: str
    method: str
    fields: tuple[str, ...]
    sent: float = 0.0

    @property
    def data(self) -> bytes:
        lines = [f"{self.method} /{self.name} HTTP/1.1", "Host: test", *self.fields, "", ""]
        return "\r\n".join(lines).encode()


class World:
    """One seed's disk, server and clients."""

    def __init__(
        self, seed: int, directory: Path, coldness: float, seconds: float, calm: bool
    ) -> None:
        self.network = SimNetwork(seed, calm)
        self.chance = self.network.random
        self.disk = Disk(self.network, coldness)
        for name in NAMES:
            self.disk.remove(name)
        limits = Limits(
            connections=100,
            open_files=self.chance.choice([1, 3, 100]),
            open_file_age=AGE,
            pool_threads=self.chance.randint(1, 8),
            compressed_bytes=self.chance.choice([1000, 10**7]),
        )
        mount = Mount(directory=str(directory), media_type=media_types({}))
        self.files = FileServer(
            mount,
            limits,
            clock=self.network.clock,
            wall=lambda: EPOCH + self.network.time,
        )
        router = Application()
        router.add("GET", "/ping", lambda request: Response(200, b"pong"))
        router.add("GET", "/{name:segments}", self.files.get)
        faults = Faults(job_seconds=lambda: self.chance.random() * seconds)
        self.world = SimWorld(self.network, router, limits, faults)
        self.visitors: list[tuple[SimClient, list[Asked], bool]] = []

    def visit(self, asked: list[Asked], *, polite: bool = True) -> SimClient:
        name = f"client-{len(self.visitors)}"
        client = SimClient(self.network, self.world.listener, name)
        self.visitors.append((client, asked, polite))
        self.network.start(self._life(client, asked, polite))
        return client

    def _life(self, client: SimClient, asked: list[Asked], polite: bool) -> Script:
        yield self.chance.random() * 2
        if not client.connect():
            return
        self.network.start(client.reading())
        if not polite:
            self.network.after(self.chance.random() * 2, client.reset)
        methods = [one.method for one in asked]
        for number, one in enumerate(asked, 1):
            one.sent = self.network.time
            yield from client.sending(one.data)
            while not client.end and sum(one.whole for one in client.responses(methods)) < number:
                yield client
            yield self.chance.random() ** 4
        client.close()

    def change(self) -> Script:
        """Files come, change and go; half of it are uploads, reported a little later."""
        for _ in range(self.chance.randint(0, 60)):
            name = self.chance.choice(NAMES)
            before = (self.disk.remove if self.chance.random() < 0.2 else self.disk.write)(name)
            if self.chance.random() < 0.5:
                yield self.chance.random() * 0.01
                self.world.reactor.call_soon_threadsafe(self._tell, name, before)
            if self.chance.random() < 0.1:
                self.world.reactor.call_soon_threadsafe(self.files.close_idle)
            yield self.chance.random() * 0.2

    def _tell(self, name: str, before: Made | None) -> None:
        self.files.forget(place(name))
        if before is not None:
            before.recorded = self.network.time

    def asked(self) -> Asked:
        chance = self.chance
        name = chance.choice([*NAMES, "b.txt", "b.txt", "none"])
        fields: list[str] = []
        if chance.random() < 0.4:
            fields.append("Accept-Encoding: gzip")
        dice = chance.random()
        if dice < 0.2:
            fields.append(f"Range: bytes={chance.randint(0, 400)}-")
        elif dice < 0.4:
            fields.append("Range: bytes=0-9,100-4000")
        elif dice < 0.6:
            made = self.disk.now.get(name)
            fields.append(f"If-None-Match: {made.tag if made else '*'}")
        return Asked(name, chance.choice(["GET", "GET", "GET", "HEAD"]), tuple(fields))

    def end(self) -> None:
        """Nothing of all this may be left."""
        self.world.run_until(lambda: self.network.scripts == 0, 1000)
        self.world.run_until(lambda: not self.world.server.connections, 1000)
        self.world.run(5)
        self.world.invariants.check_rest()
        entries = self.files._open._entries.values()
        assert {file.holders for one in entries for file in one.found.files()} <= {1}
        self.files._open.close()
        self.world.server.close()
        gc.collect()  # a job of the simulated pool is a cycle, and has its result
        self.world.check_end()

    # --- what came --------------------------------------------------------------------------------

    def check(self) -> int:
        """How many responses there were."""
        count = 0
        for client, asked, polite in self.visitors:
            responses = client.responses([one.method for one in asked])
            if polite:
                assert len(responses) == len(asked), (client.name, client.end)
                assert all(response.whole for response in responses)
            for one, response in zip(asked, responses, strict=False):
                if response.whole:
                    self.judge(one, response)
                    count += 1
        return count

    def judge(self, asked: Asked, response: SimResponse) -> None:
        if response.status == 404:
            versions = self.disk.missing.get(asked.name, [])
            assert asked.name == "none" or any(self.is_recent(asked, made) for made in versions)
            return
        if response.status == 416:
            return
        assert response.status in (200, 206, 304), response.status
        made = self.disk.tags[identity_tag(response.fields["etag"])]
        assert made.name == asked.name
        assert self.is_recent(asked, made), (asked, made.until, made.recorded, made.tag)
        if asked.method == "HEAD" or response.status == 304:
            return
        if response.status == 200:
            self.judge_whole(response, made)
        elif "content-range" in response.fields:
            self.judge_part(response.fields["content-range"], response.body, made)
        else:
            for part in re.findall(rb"\r\nContent-Range: (.+?)\r\n\r\n", response.body):
                begin = response.body.index(part) + len(part) + 4
                first, last = re.findall(rb"\d+", part)[:2]
                body = response.body[begin : begin + int(last) + 1 - int(first)]
                self.judge_part(part.decode(), body, made)

    def judge_whole(self, response: SimResponse, made: Made) -> None:
        if response.fields.get("content-encoding") != "gzip":
            assert response.body == made.content
            return
        decoder = zlib.decompressobj(31)
        plain = decoder.decompress(response.body)
        assert decoder.eof
        stored = [one for one in self.disk.tags.values() if one.name == f"{made.name}.gz"]
        assert plain == made.content or any(response.body == one.content for one in stored)

    def judge_part(self, recorded: str, body: bytes, made: Made) -> None:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", recorded)
        assert match
        first, last, size = map(int, match.groups())
        assert size == len(made.content)
        assert body == made.content[first : last + 1]

    def is_recent(self, asked: Asked, made: Made) -> bool:
        """It was there a second before the request, and no upload was reported before."""
        return made.until > asked.sent - AGE and made.recorded >= asked.sent


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Make the world of a seed."""

    def make(seed: int, coldness: float, seconds: float, calm: bool = False) -> World:
        world = World(seed, tmp_path, coldness, seconds, calm)
        monkeypatch.setattr(open_file_cache, "_walk", world.disk.walk)
        return world

    with simulation():
        yield make


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_seeds(play: Callable[..., World], first: int) -> None:
    responses = 0
    for seed in range(first, first + 20):
        coldness, seconds = ((0.0, 0.001), (0.1, 0.05), (1.0, 0.2), (1.0, 2.0))[seed % 4]
        world = play(seed, coldness, seconds)
        for name in NAMES[seed % 2 :]:
            world.disk.write(name)
        world.network.start(world.change())
        for _ in range(world.chance.randint(1, 10)):
            asked = [world.asked() for _ in range(world.chance.randint(1, 8))]
            world.visit(asked, polite=world.chance.random() < 0.7)
        try:
            world.end()
            responses += world.check()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert responses > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_bystanders_of_cold_files_notice_nothing(play: Callable[..., World], seed: int) -> None:
    """Every read takes up to 0.2 s; a small response that needs no disk takes none of it."""
    world = play(seed, 1.0, 0.2, calm=True)  # all that it sends comes at once
    for name in NAMES:
        world.disk.write(name)
    for _ in range(20):
        world.visit([world.asked() for _ in range(5)])
    waits: list[float] = []

    def ping() -> Script:
        client: Any = SimClient(world.network, world.world.listener, "bystander")
        client.connect()
        world.network.start(client.reading())
        for number in range(1, 400):
            begin = world.network.time
            yield from client.sending(b"GET /ping HTTP/1.1\r\nHost: test\r\n\r\n")
            while sum(one.whole for one in client.responses(["GET"] * number)) < number:
                yield client
            waits.append(client.heard_time - begin)
            yield 0.01
        client.close()

    world.network.start(ping())
    world.end()
    assert world.check() == 100
    assert len(waits) == 399
    assert max(waits) < 0.01
