"""The memory of request bodies that are read whole, counted as their bytes arrive.

A length that a client announces takes nothing. A body grows piece by piece, and asks for room for
each piece that has come; it keeps its room until its response has been made. Five rules:

- The first `small_body_bytes` of a body belong to its connection, as its receive buffer does. They
  are not counted, so a small body never waits.
- All bodies share `memory_bodies_bytes`, and those of one client share `memory_client_bytes` of
  that (a client is what net/client_network.py takes for one).
- The last `memory_body_bytes`, the size of one body, are a reserve in both: of all bodies, and of
  each client's, only the oldest may use it.
- A body without room waits, and its socket is not read meanwhile. Those that hold some come before
  those that hold none, since they end sooner and return it. Otherwise clients take turns, and the
  bodies of one client are served in order. The waits of a body end after `memory_timeout` in all,
  with 503; at once, where the client has as many bytes waiting as its part is large.
- A body that begins to wait evicts one that began `slow_body_timeout` ago and waits for its client:
  with 408, if it still arrives, or by a reset, if its response is not read. It is the oldest one of
  the client that holds most, but never of one that holds less than the client of the waiting body.

No bodies that are half read wait for each other for ever. The oldest of all is the oldest of its
client as well, so both reserves are its own, and they hold a whole body: it never waits for room.
It ends with its response, by the minimum rate, or with its connection, and then another one is the
oldest. The bodies behind it wait for `memory_timeout` each. And the limits are never exceeded:
the other bodies leave the reserve alone, and the oldest has no more than the reserve, unless a
limit is smaller than one body; then one body at a time is held.
"""

from collections import OrderedDict
from itertools import islice
from typing import Final, Protocol

from reactor.errors import Cancelled, ProtocolError
from reactor.limits import ServerLimits
from reactor.net.client_network import client_network
from reactor.tasks.futures import Future

CLIENT_PART: Final = 4  # one client may hold so small a part, where no other limit is set
WAITING_BODIES: Final = 16  # that one client may have waiting, though it may hold fewer
EVICTION_LEASES: Final = 64  # the oldest ones, which are looked at for one that can be evicted


class Holder(Protocol):
    """The owner of a lease: a request's body, see request_body.py."""

    def evict(self) -> bool:
        """Another body needs the room: end this request if it waits for its client.

        Returns whether it does. Nothing is released before this has returned.
        """


class _Share:
    """The leases of one client, or of all."""

    __slots__ = ("_ordinary", "held", "leases", "most_wanted", "waiting", "wanted")

    def __init__(self, most: int, largest: int) -> None:
        self._ordinary = max(0, most - largest)  # bytes for all leases but the oldest
        self.held = 0  # bytes
        self.wanted = 0  # bytes that wait, in a client's
        self.most_wanted = max(most, WAITING_BODIES * largest)
        self.leases: OrderedDict[BodyLease, None] = OrderedDict()  # by age
        self.waiting: OrderedDict[BodyLease, None] = OrderedDict()  # for room, in a client's

    @property
    def oldest(self) -> "BodyLease | None":
        """The lease that may use the reserve."""
        return next(iter(self.leases), None)

    def has_room(self, lease: "BodyLease") -> bool:
        """Whether the lease can have what it wants."""
        oldest = self.oldest
        if oldest is None or lease is oldest:
            return True
        return self.held - oldest.held + lease.wanted <= self._ordinary

    def prefer(self, lease: "BodyLease | None") -> None:
        """Put the lease before all that wait, if it waits."""
        if lease is not None and lease in self.waiting:
            self.waiting.move_to_end(lease, last=False)


class BodyMemory:
    """The memory that the bodies of one server share. It belongs to one thread, the loop's."""

    def __init__(self, limits: ServerLimits) -> None:
        self.waiting = 0  # bodies that wait for room
        self._limits = limits
        self._client_bytes = limits.memory_client_bytes or limits.memory_bodies_bytes // CLIENT_PART
        self._all = _Share(limits.memory_bodies_bytes, limits.memory_body_bytes)
        self._clients: dict[str, _Share] = {}
        # The clients one of whose bodies waits, in turn; a client that has no room of its own for
        # the first of them is left out until something of it changes.
        self._turns: OrderedDict[_Share, None] = OrderedDict()
        self._granting = False

    @property
    def used(self) -> int:
        """The bytes that are held, without the first `small_body_bytes` of each body."""
        return self._all.held

    def lease(self, address: str, now: float, holder: Holder) -> "BodyLease":
        """A lease without any room, for a body from this address."""
        network = client_network(address)
        client = self._clients.get(network)
        if client is None:
            client = _Share(self._client_bytes, self._limits.memory_body_bytes)
            self._clients[network] = client
        lease = BodyLease(self, network, client, now, holder)
        for share in (client, self._all):
            share.leases[lease] = None
        return lease

    def enqueue(self, lease: "BodyLease", now: float) -> None:
        """For BodyLease: grant what it wants, now or later. Raises ProtocolError (503)."""
        client = lease.client
        self.waiting += 1
        client.wanted += lease.wanted
        client.waiting[lease] = None
        if lease.held:
            client.prefer(lease)
        self._take_turns(client)
        if not lease.wanted:
            return
        if client.wanted > client.most_wanted:
            lease.stop_waiting()
            raise no_memory()
        self._press(lease, now)

    def forget(self, lease: "BodyLease") -> None:
        """For BodyLease: it no longer waits. Those behind it may have room now."""
        client = lease.client
        if lease in client.waiting:
            del client.waiting[lease]
            self.waiting -= 1
            client.wanted -= lease.wanted
            self._take_turns(client)

    def release(self, lease: "BodyLease") -> None:
        """For BodyLease: take back all that it holds."""
        client = lease.client
        for share in (client, self._all):
            share.held -= lease.held
            del share.leases[lease]
        if not client.leases:
            del self._clients[lease.network]
        self._take_turns(client)

    def _take_turns(self, client: _Share) -> None:
        """Something of this client has changed: grant what can be granted."""
        client.prefer(client.oldest)
        self._queue(client)
        oldest = self._all.oldest
        if oldest is not None and oldest in oldest.client.waiting:
            oldest.client.prefer(oldest)
            self._queue(oldest.client)
            self._turns.move_to_end(oldest.client, last=False)
        if not self._granting:  # otherwise a callback below has called; the loop there goes on
            self._granting = True
            try:
                self._grant()
            finally:
                self._granting = False

    def _queue(self, client: _Share) -> None:
        """Give the client a turn if one of its bodies waits; the first where that holds some."""
        first = next(iter(client.waiting), None)
        if first is None:
            self._turns.pop(client, None)
        else:
            self._turns.setdefault(client)
            if first.held:
                self._turns.move_to_end(client, last=False)

    def _grant(self) -> None:
        while self._turns:
            client = next(iter(self._turns))
            lease = next(iter(client.waiting), None)
            if lease is None or not client.has_room(lease):
                del self._turns[client]  # until something of this client changes
                continue
            if not self._all.has_room(lease):
                return
            del client.waiting[lease]
            del self._turns[client]
            self._queue(client)
            self.waiting -= 1
            client.wanted -= lease.wanted
            client.held += lease.wanted
            self._all.held += lease.wanted
            lease.granted()

    def _press(self, lease: "BodyLease", now: float) -> None:
        """Evict an old body whose client is waited for, of a client that holds no less."""
        client = lease.client
        share = self._all if client.has_room(lease) else client
        latest = now - self._limits.slow_body_timeout
        old = [
            one
            for one in islice(share.leases, EVICTION_LEASES)
            if one.since <= latest and one.client.held >= client.held and one is not lease
        ]
        old.sort(key=lambda one: -one.client.held)
        any(one.holder.evict() for one in old)


class BodyLease:
    """The room of one body. It is closed once, when the response has been made."""

    __slots__ = (
        "_memory",
        "_room",
        "client",
        "held",
        "holder",
        "network",
        "since",
        "waited",
        "wanted",
    )

    def __init__(
        self, memory: BodyMemory, network: str, client: _Share, now: float, holder: Holder
    ) -> None:
        self._memory = memory
        self._room: Future[None] | None = None  # done when the wanted bytes are granted
        self.network = network
        self.client = client
        self.since = now
        self.holder = holder
        self.held = 0  # bytes
        self.wanted = 0  # bytes more, while it waits
        self.waited = 0.0  # seconds, in all waits that have ended; for the holder

    def grow(self, size: int, now: float) -> Future[None] | None:
        """Room for `size` bytes in all: None where it is there, or else a Future.

        `stop_waiting` has to follow where the Future is awaited, whether it is done or not. Raises
        ProtocolError (503) where too much waits already, RuntimeError where this lease does.
        """
        if self.wanted:
            raise RuntimeError("this body is being read already")
        if size <= self.held:
            return None
        room: Future[None] = Future()
        self.wanted, self._room = size - self.held, room
        self._memory.enqueue(self, now)
        return None if room.done else room

    def granted(self) -> None:
        """For BodyMemory: the wanted bytes are held now."""
        room, self._room = self._room, None
        self.held += self.wanted
        self.wanted = 0
        if room is not None:
            room.set_result(None)

    def stop_waiting(self) -> None:
        """Give up the place among those that wait, if it has one."""
        room, self._room = self._room, None
        if room is not None:
            self._memory.forget(self)
            self.wanted = 0
            room.set_exception(Cancelled())

    def close(self) -> None:
        """Release the room."""
        self.stop_waiting()
        self._memory.release(self)


def no_memory() -> ProtocolError:
    """The error of a body for which there is no room."""
    sentence = "There is no memory for the request's body: too many others are held."
    return ProtocolError(503, sentence, [("Retry-After", "1")])
