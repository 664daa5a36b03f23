"""One seed's history: a crowd of clients, good and bad, and what each must have got at its end.

A polite client must get exactly the right responses, in order, however its bytes were cut. A rude
one (it stalls, drips, resets, leaves) may get fewer, but never a wrong one, and none that looks
whole and is not. Both must be gone in the end, and nothing of them may be left.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reactor import Limits
from reactor.http.states import LINGER
from reactor.simulator import (
    BadResponse,
    Faults,
    Script,
    SimClient,
    SimFile,
    SimNetwork,
    SimResponse,
    SimWorld,
    Violation,
    simulation,
)
from tests.simulation.simulated_app import CONTENT, SIZES, Exchange, Exchanges, Site

FAST_WINDOW: Final = 1 << 20  # bytes, of a client whose connection takes much at once
LONGEST: Final = 600.0  # simulated seconds until the last client must be gone
REST: Final = 5.0  # and then, until nothing is left of it
PROMPT: Final = 2.0  # seconds in which a polite client reads what it gets
CROWDS: Final = 0.04  # how probably many clients come at once
LAST_WORDS: Final = (400, 408, 413, 503)  # the last status that a rude client may get


@dataclass
class Player:
    """A client, what it asks, and how it behaves."""

    client: SimClient
    exchanges: list[Exchange]
    manner: str
    polite: bool
    end: str = "close"  # how a polite one ends: close, half, idle

    @property
    def methods(self) -> list[str]:
        return [exchange.method for exchange in self.exchanges]

    def responses(self) -> list[SimResponse]:
        # A refusal comes before any request, so it has a body where the first one is a HEAD, too.
        head, _, _ = self.client.received.partition(b"\r\n\r\n")
        if b"\r\nRetry-After: 1\r\n" in head + b"\r\n" and self.methods[:1] == ["HEAD"]:
            return self.client.responses(())
        return self.client.responses(self.methods)


class Scenario:
    """The world of a seed, and who lives in it."""

    def __init__(self, seed: int) -> None:
        secure = seed % 4 == 3  # over TLS
        logging.getLogger("reactor").setLevel(logging.CRITICAL)  # handlers fail here on purpose
        self.network = network = SimNetwork(seed)
        self.chance = chance = network.random
        self.faulty_files = chance.random() < 0.2
        self.crowded = chance.random() < 0.1
        self.players: list[Player] = []
        self.begun_before_the_end: dict[str, int] = {}
        self.shut_down_at = float("inf")
        self.files = [self._file(size) for size in SIZES]
        self.site = Site(network, self.files)
        self.world = SimWorld(network, self.site, self._limits(), self._faults(), secure=secure)
        self.watch = self.world.watch() if chance.random() < 0.5 else None
        exchanges = Exchanges(chance, len(self.files), "https" if secure else "http")
        for number in range(int(16 ** chance.random())):
            self._enter(f"client-{number}", exchanges)
        if chance.random() < CROWDS:
            self._enter_crowd(exchanges)
        if chance.random() < 0.15:
            network.after(chance.uniform(0, 3), self._shut_down)
        if chance.random() < 0.2:
            network.after(chance.uniform(0, 1), self._exhaust)

    def play(self) -> None:
        """All of it. Raises Violation."""
        world, network = self.world, self.network
        world.run_until(lambda: network.scripts == 0, LONGEST)
        world.run_until(lambda: not world.server.connections, LONGEST)
        world.run(REST)
        self._check_rest()
        for player in self.players:
            self._check(player)
        world.server.close()
        for file in self.files:
            file.release()
        world.check_end()

    # --- the world -------------------------------------------------------------------------------

    def _file(self, size: int) -> SimFile:
        chance = self.chance
        return SimFile(
            self.network,
            CONTENT[:size],
            coldness=chance.choice([0.0, 0.1, 1.0]),
            shrinks=0.1 if self.faulty_files else 0.0,
            fails=0.1 if self.faulty_files else 0.0,
        )

    def _limits(self) -> Limits:
        chance = self.chance
        return Limits(
            connections=chance.randint(1, 4) if self.crowded else 200,
            surplus_bytes=chance.choice([1, 1000, 65_536]),
            memory_body_bytes=100_000,
            memory_bodies_bytes=chance.choice([50_000, 150_000, 400_000, 10_000_000]),
            memory_client_bytes=chance.choice([0, 50_000, 10_000_000]),
            small_body_bytes=chance.choice([0, 1000, 16_384]),
            memory_timeout=chance.choice([0.5, 5.0]),
            slow_body_timeout=chance.choice([2.0, 30.0]),
            pool_threads=chance.randint(1, 8),
            pool_jobs=chance.choice([1, 2, 100]),
        )

    def _faults(self) -> Faults:
        chance = self.chance
        slowness = chance.choice([0.001, 0.02, 0.2, 1.0])
        return Faults(
            abortion=chance.choice([0.0, 0.0, 0.0, 0.2]),
            empty_interest=chance.random() < 0.8,
            job_seconds=lambda: chance.random() * slowness,
        )

    def _exhaust(self) -> None:
        self.world.listener.exhausted_until = self.network.time + self.chance.uniform(0, 3)

    def _shut_down(self) -> None:
        def act() -> None:
            until = self.network.time + self.chance.choice([0.0, 0.5])
            while self.network.advance(until):  # clients go on, and the loop is behind
                pass
            self.network.note("listener", "shut down")
            self.shut_down_at = self.network.time
            # A false alarm at the last look would end a connection whose request waits.
            self.world.listener.false_alarms = 0.0
            self.begun_before_the_end = dict(self.site.begun)
            for player in self.players:
                if player.client.name not in self.site.begun and self._waits_in_the_kernel(player):
                    self.begun_before_the_end[player.client.name] = 1
                    player.client.socket.other.false_alarms = 0.0  # type: ignore[union-attr]
            for connection in self.world.server.open_connections:
                if connection.state is LINGER:  # it has been answered, and is not waited for
                    self.begun_before_the_end.pop(connection.transport.peer[0], None)
            self.world.server.shut_down()

        self.world.reactor.call_soon_threadsafe(act)

    def _waits_in_the_kernel(self, player: Player) -> bool:
        """Whether the first request has come whole, and the server has not read a byte of it."""
        listener, ours = self.world.listener, player.client.socket
        if ours is None or ours.closed or ours.lost or ours.other is None or ours.other.closed:
            return False
        if listener._abortion or self.crowded:
            return False
        if listener.exhausted_until > self.network.time or player.client.received:
            return False
        return ours.outgoing.data.startswith(player.exchanges[0].data)

    # --- the clients -----------------------------------------------------------------------------

    def _enter(self, name: str, exchanges: Exchanges) -> None:
        chance = self.chance
        sizes = (1000, 10_000, 65_536)
        buffers = (chance.choice(sizes), 65_536, chance.choice(sizes), chance.choice(sizes))
        client = SimClient(self.network, self.world.listener, name, buffers)
        asked = [exchanges.good() for _ in range(int(8 ** chance.random()))]
        polite = chance.random() < 0.6
        if chance.random() < 0.3:
            asked.append(exchanges.last())
        manner = chance.choice(list(_POLITE if polite else _RUDE))
        player = Player(client, asked, manner, polite, chance.choice(["close", "half", "idle"]))
        self.players.append(player)
        script = (_POLITE if polite else _RUDE)[manner]
        self.network.start(self._life(player, script))

    def _enter_crowd(self, exchanges: Exchanges) -> None:
        """Many clients that arrive at once, ask for much, and perhaps leave at once.

        Each has a pipeline of small requests, or takes a few long bodies, some of them fast.
        """
        chance = self.chance
        begin, leave = chance.uniform(0, 1), chance.choice([0.0, 0.0, 0.01, 0.3])
        pipelines = chance.choice([0.0, 0.5, 1.0])
        for number in range(chance.randint(40, 90)):
            window = chance.choice((1000, 65_536, FAST_WINDOW))
            name, buffers = f"crowd-{number}", (window, 65_536, window, window)
            client = SimClient(self.network, self.world.listener, name, buffers)
            if chance.random() < pipelines:
                asked = [exchanges.small() for _ in range(chance.randint(2, 30))]
            else:
                asked = [exchanges.long() for _ in range(chance.randint(1, 2))]
            player = Player(client, asked, "in a crowd", polite=not leave, end="half")
            self.players.append(player)
            self.network.start(self._life_in_a_crowd(player, begin, leave))

    def _life_in_a_crowd(self, player: Player, begin: float, leave: float) -> Script:
        yield begin
        if not player.client.connect():
            return
        if leave:
            how = self.chance.choice([player.client.reset, player.client.close])
            self.network.after(leave, how)
        yield from _pipelines(self, player)

    def _life(self, player: Player, script: "Callable[[Scenario, Player], Script]") -> Script:
        yield self.chance.uniform(0, 1.0)
        self.network.note(player.client.name, f"connects; {player.manner}, {player.end}")
        if player.client.connect():
            yield from script(self, player)

    def fragments(self, data: bytes) -> list[bytes]:
        """Cut somewhere, or nowhere."""
        chance = self.chance
        cuts = sorted(chance.randint(0, len(data)) for _ in range(int(6 * chance.random() ** 2)))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]

    # --- checks ----------------------------------------------------------------------------------

    def _check_rest(self) -> None:
        if self.shut_down_at == float("inf"):
            self.world.invariants.check_rest()
        elif self.world.server.connections:
            raise Violation("the server has ended, but connections are open")
        if self.site.running:
            raise Violation(f"{self.site.running} handlers or bodies were not closed")
        if self.world.server.after_work.count:
            raise Violation(f"{self.world.server.after_work.count} calls of `after` are left")
        for file in self.files:
            if file.holders != 1:
                raise Violation(f"a file is held by {file.holders - 1} who are gone")

    def _check(self, player: Player) -> None:
        """Check everything that this client got."""
        client = player.client
        try:
            responses = player.responses()
        except (ValueError, BadResponse) as error:
            raise Violation(f"{client.name} does not understand the server: {error}") from error
        for index, response in enumerate(responses):
            last = index == len(responses) - 1 or self._is_head_without_method(
                player, index, response
            )
            if self._is_refusal(response) and last:
                return
            if index >= len(player.exchanges):
                if player.polite or response.status not in (0, *LAST_WORDS):
                    raise Violation(f"{client.name} got an answer to nothing: {response.status}")
                continue
            exchange = player.exchanges[index]
            if not response.whole:
                self._check_cut(player, exchange, response)
            elif not self._is_right(player, exchange, response, last):
                raise Violation(
                    f"{client.name}: answer {index + 1} is {response.status} with"
                    f" {len(response.body)} bytes in place of"
                    f" {exchange.status} with {len(exchange.body)}"
                )
            if last:
                break
        if player.polite:
            self._check_complete(player, responses)

    def _is_refusal(self, response: SimResponse) -> bool:
        """There were too many of us."""
        return self.crowded and response.status == 503 and "retry-after" in response.fields

    def _is_head_without_method(self, player: Player, index: int, response: SimResponse) -> bool:
        """The client wanted to say HEAD and did not come so far: it gets a body, its last."""
        asked_head = player.methods[index : index + 1] == ["HEAD"]
        return asked_head and not player.polite and response.status in LAST_WORDS

    def _is_right(
        self, player: Player, exchange: Exchange, response: SimResponse, last: bool
    ) -> bool:
        if not player.polite and last and response.status in LAST_WORDS:
            return True
        if exchange.must_cut:
            return False
        if exchange.must_close and response.fields.get("connection") != "close":
            return False
        if response.status == exchange.status:
            return response.body == exchange.body or (
                exchange.body == b"" and response.status >= 400
            )
        return response.status == 503 and exchange.may_overload and self._is_tight()

    def _check_cut(self, player: Player, exchange: Exchange, response: SimResponse) -> None:
        name = player.client.name
        if player.client.end == "fin":
            raise Violation(f"{name}: an answer is cut, and its end was no reset")
        if response.status and not exchange.body.startswith(response.body):
            last_words = not player.polite and response.status in LAST_WORDS
            if not last_words and response.status == exchange.status and exchange.status < 400:
                raise Violation(f"{name}: the part of an answer that came is wrong")

    def _check_complete(self, player: Player, responses: list[SimResponse]) -> None:
        """A polite client got all it had a right to."""
        client = player.client
        whole = sum(response.whole for response in responses)
        if whole == len(player.exchanges) or client.end == "refused":
            return
        rest = player.exchanges[whole:]
        if client.end == "reset" and any(self._may_reset(player, one) for one in rest):
            return  # bytes in flight before the reset may be lost as well
        if self.network.time >= self.shut_down_at:
            self._check_drained(player, whole)
            return
        announced = whole and responses[whole - 1].fields.get("connection") == "close"
        if announced or (whole and client.end == "fin"):
            before = player.exchanges[whole - 1]
            if before.may_close or (before.may_overload and self._is_tight()):
                return  # without having said so, where the rest of an unread body came too late
        if announced:
            raise Violation(f"{client.name}: answer {whole} closes the connection")
        if self.world.listener._abortion and not client.received:
            return
        if self.crowded and client.end == "reset" and not whole:
            return  # refused, and others that are refused need its place
        raise Violation(
            f"{client.name} ({player.manner}, {player.end}) got {whole} answers of"
            f" {len(player.exchanges)}, then {client.end}"
        )

    def _check_drained(self, player: Player, whole: int) -> None:
        """The server was shut down: what had begun is answered all the same."""
        begun = self.begun_before_the_end.get(player.client.name, 0)
        if whole >= begun or player.manner == "patient":
            return
        exchange = player.exchanges[whole]
        waits = exchange.may_overload and self._is_tight()
        if not (exchange.must_cut or exchange.may_cut or exchange.must_close or waits):
            raise Violation(f"{player.client.name}: request {whole + 1} was lost in the shutdown")

    def _is_tight(self) -> bool:
        """Pool or memory may be too small for all of us."""
        limits = self.world.server.limits
        return limits.pool_jobs < 100 or limits.memory_bodies_bytes < 1_000_000

    def _may_reset(self, player: Player, exchange: Exchange) -> bool:
        """The handler fails too late, or takes too long for a client that has gone half-way.

        A body whose response is not read for long may be evicted from memory that is small.
        """
        is_patient, is_short = (
            player.manner == "patient",
            exchange.may_overload and self._is_tight(),
        )
        if (is_patient and is_short) or (player.end == "half" and (is_patient or is_short)):
            return True
        if player.end == "half" and exchange.seconds > self.world.server.limits.half_closed_timeout:
            return True
        may_lose_files = self.faulty_files or self._is_tight()
        return exchange.must_cut or (exchange.may_cut and may_lose_files)


# --- manners -------------------------------------------------------------------------------------


def _pipelines(scenario: Scenario, player: Player) -> Script:
    """Sends all it has to say and reads meanwhile."""
    scenario.network.start(player.client.reading(lambda: (1 << 18, scenario.chance.random() * 0.1)))
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))
    yield from _part(scenario, player)


def _takes_turns(scenario: Scenario, player: Player) -> Script:
    """Sends the next request when the response before has come; may wait for 100 (Continue)."""
    client = player.client
    scenario.network.start(client.reading())
    for number, exchange in enumerate(player.exchanges, 1):
        body = exchange.data
        if exchange.head_bytes:
            before = len(client.received)
            yield from _say(scenario, player, body[: exchange.head_bytes])
            body = body[exchange.head_bytes :]
            until = scenario.network.time + 1.0
            while scenario.network.time < until and len(client.received) == before:
                yield 0.05
        yield from _say(scenario, player, body)
        while not client.end and sum(one.whole for one in player.responses()) < number:
            yield client
        if client.end or player.responses()[-1].fields.get("connection") == "close":
            break
    yield from _part(scenario, player)


def _is_patient(scenario: Scenario, player: Player) -> Script:
    """Reads slowly, but not too slowly: it must not be cut."""
    scenario.network.start(player.client.reading(lambda: (2000, 1.0)))
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))
    yield from _part(scenario, player)


def _say(scenario: Scenario, player: Player, data: bytes) -> Script:
    for fragment in scenario.fragments(data):
        yield from player.client.sending(fragment)
        yield scenario.chance.random() ** 3 * 0.5


def _part(scenario: Scenario, player: Player) -> Script:
    """Part as friends, in one of three ways, perhaps with an empty line behind the last request."""
    client = player.client
    if scenario.chance.random() < 0.2:
        yield from client.sending(b"\r\n")
        yield scenario.chance.random() ** 3 * 0.5
    if player.end == "half":
        client.half_close()
    while not client.end:
        if player.end == "close":
            responses = player.responses()
            if sum(one.whole for one in responses) == len(player.exchanges):
                break
        yield client
    client.close()


def _resets(scenario: Scenario, player: Player) -> Script:
    """Resets at any time, perhaps behind its FIN."""
    scenario.network.after(scenario.chance.random() ** 2 * 3, player.client.reset)
    scenario.network.start(player.client.reading())
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))
    if scenario.chance.random() < 0.5:
        player.client.half_close()
        yield scenario.chance.random() ** 2
        player.client.reset()


def _leaves(scenario: Scenario, player: Player) -> Script:
    scenario.network.after(scenario.chance.random() ** 2 * 3, player.client.close)
    if scenario.chance.random() < 0.5:
        scenario.network.start(player.client.reading())
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))


def _falls_silent(scenario: Scenario, player: Player) -> Script:
    """Stops in the middle of what it says, with or without a FIN."""
    scenario.network.start(player.client.reading())
    yield from _say(scenario, player, _beginning(scenario, player))
    if scenario.chance.random() < 0.3:
        player.client.half_close()
    yield from _wait_for_the_end(player)


def _drips(scenario: Scenario, player: Player) -> Script:
    """A byte every now and then."""
    client = player.client
    scenario.network.start(client.reading())
    data = b"".join(one.data for one in player.exchanges)
    begin = _beginning(scenario, player)
    yield from _say(scenario, player, begin)
    for at in range(len(begin), len(data)):
        yield scenario.chance.uniform(0.5, 4)
        if client.end or not client.send(data[at : at + 1]):
            break
    yield from _wait_for_the_end(player)


def _stops_reading(scenario: Scenario, player: Player) -> Script:
    """Takes a little, and no more; the connection stays open."""
    client = player.client
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))
    yield 0.1
    client.read(scenario.chance.randint(1, 3000))
    yield from _wait_for_the_end(player)


def _sips(scenario: Scenario, player: Player) -> Script:
    """Reads too slowly."""
    client = player.client
    scenario.network.start(_say(scenario, player, b"".join(one.data for one in player.exchanges)))
    while not client.end and client.socket is not None and not client.socket.closed:
        yield 5.0
        client.read(scenario.chance.randint(1, 200))
        if client.socket.other is None or client.socket.other.closed:
            break
    client.close()


def _never_closes(scenario: Scenario, player: Player) -> Script:
    """Goes on sending after the last response."""
    client = player.client
    scenario.network.start(client.reading())
    yield from _say(scenario, player, b"".join(one.data for one in player.exchanges))
    while client.socket is not None and not client.socket.lost and not _is_cut_off(client):
        yield 1.0
        client.send(b"x" * 100)
    client.close()


def _beginning(scenario: Scenario, player: Player) -> bytes:
    data = b"".join(one.data for one in player.exchanges)
    return data[: scenario.chance.randint(0, len(data))]


def _wait_for_the_end(player: Player) -> Script:
    """Until the server has closed, which a client that does not read cannot notice."""
    while not _is_cut_off(player.client):
        yield 1.0
    player.client.close()


def _is_cut_off(client: SimClient) -> bool:
    return client.socket is None or client.socket.other is None or client.socket.other.closed


_POLITE: Final = {"pipelining": _pipelines, "serial": _takes_turns, "patient": _is_patient}
_RUDE: Final = {
    "resetting": _resets,
    "leaving": _leaves,
    "silent": _falls_silent,
    "dripping": _drips,
    "not reading": _stops_reading,
    "sipping": _sips,
    "talkative": _never_closes,
}


def play(seed: int) -> SimNetwork:
    """Play the seed. Raises Violation, with the network as its `network`."""
    with simulation():
        scenario = Scenario(seed)
        try:
            scenario.play()
        except Violation as violation:
            violation.add_note(f"at {scenario.network.time:.6f} s")
            violation.network = scenario.network
            raise
        return scenario.network
