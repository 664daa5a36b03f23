"""The connections accepted last."""

from typing import cast

import pytest

from reactor.net.arrivals import LATEST, LATEST_SECONDS, LatestConnections
from reactor.net.transport import Transport
from tests.support.fake_loop import LoopWorld

pytestmark = pytest.mark.system


class Client:
    """A transport that receives `size` bytes in each of its turns."""

    def __init__(self, world: LoopWorld, size: int) -> None:
        self.protocol: object | None = self
        self.size = size
        self._world = world

    def on_events(self, mask: int) -> None:
        self._world.seen.append(self)
        self._world.reactor.received += self.size


def test_connections_are_looked_at_until_their_first_bytes(world: LoopWorld) -> None:
    latest = LatestConnections(world.reactor)
    silent, talking, gone = Client(world, 0), Client(world, 5), Client(world, 0)
    for client in (silent, talking, gone):
        latest.add(cast(Transport, client))
    gone.protocol = None
    latest.on_events(1)
    assert world.seen == [silent, talking, gone]
    latest.on_events(1)
    assert world.seen[3:] == [silent]


def test_only_the_latest_are_kept(world: LoopWorld) -> None:
    latest = LatestConnections(world.reactor)
    clients = [Client(world, 0) for _ in range(LATEST + 1)]
    for client in clients:
        latest.add(cast(Transport, client))
    latest.on_events(1)
    assert world.seen == clients[1:]


def test_a_connection_that_stays_silent_is_forgotten(world: LoopWorld) -> None:
    latest = LatestConnections(world.reactor)
    latest.add(cast(Transport, Client(world, 0)))
    world.reactor.now += LATEST_SECONDS
    latest.on_events(1)
    assert world.seen == []
    world.reactor.now = 0.0
    latest.on_events(1)
    assert world.seen == []
