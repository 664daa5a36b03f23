"""Pages of listings: made once for all readers, and kept small while slow readers take them.

A page is the text of at most some thousand entries, without what stands around it. It is made in
short steps, one page at a time, in turns that go round the clients, and kept deflated, piece by
piece: a client that accepts gzip gets these pieces, any other one gets each piece inflated when it
has read the one before. So a slow reader holds one piece of its own, and the page is shared.

Pages are named by what they show, the digest of a snapshot included, so equal readings of a
directory share them. The store is bounded in bytes and evicts the least recently used that nobody
reads. Pages that somebody reads cannot be evicted: all readers of one client together hold a
quarter of the store at most, and a page beyond that, or beyond the store, is refused (503). Small
pages do not count, as they are no more than what a connection may hold anyway.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final, NamedTuple, TypeAlias
from weakref import ref

from reactor.errors import ProtocolError
from reactor.tasks.fair_turns import FairTurns, QueuedJob
from reactor.tasks.guard import Shared, exclusive
from reactor.tasks.operations import sleep
from reactor.web.compression.splice import Deflated, splice
from reactor.web.static.directory_reader import Abandoned
from reactor.web.static.snapshot import ListedEntry, Order, Snapshot
from reactor.web.streams import BodyStream

ROWS: Final = 32  # entries made in one step: 2 ms where all names are long and strange
PIECE_CHARACTERS: Final = 32 * 1024  # collected before a piece of a page is deflated
SEND_BYTES: Final = 16 * 1024  # collected before a piece is sent
FREE_BYTES: Final = 64 * 1024  # a page up to this size does not count as held
CLIENT_SHARE: Final = 4  # one in so many bytes of the store may be held by one client
PAGE_BYTES: Final = 1024  # memory of a page besides its pieces, at most
IDLE: Final = 60.0  # seconds until a page is dropped that nobody has asked for
DROPPED: Final = 1000  # idle pages at a time
MAKING: Final = 1  # pages at a time


class PageForm(NamedTuple):
    """How entries become text: of each one, and between two."""

    name: str
    render: Callable[[ListedEntry, Order], str]
    between: str


class PageKey(NamedTuple):
    """The name of a page: the entries from `start` to before `end` of a snapshot in an order."""

    digest: bytes
    form: str
    order: Order
    start: int
    end: int


class Page(Deflated):
    """The text of some entries of a directory."""

    __slots__ = ("key", "readers", "wanted")

    def __init__(self, key: PageKey) -> None:
        super().__init__()
        self.key = key
        self.readers: Counter[Hashable] = Counter()  # by client
        self.wanted = 0.0  # when it was last asked for

    @property
    def bytes(self) -> int:
        """Memory of the page."""
        return self.size + PAGE_BYTES


class PageStore(Shared):
    """The pages of the listings of one mount."""

    def __init__(self, most_bytes: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.bytes = 0  # memory of all pages
        self.held_bytes = 0  # memory of the pages that count and that somebody reads
        self.turns = FairTurns(MAKING)
        self._most_bytes = most_bytes
        self._clock = clock
        self._pages: OrderedDict[PageKey, Page] = OrderedDict()  # the most recently used is last
        self._making: dict[PageKey, PageJob] = {}
        self._held: Counter[Hashable] = Counter()  # bytes of each client

    def __len__(self) -> int:
        """The number of pages."""
        return len(self._pages)

    def begin(
        self, snapshot: Snapshot, form: PageForm, order: Order, span: range
    ) -> "Page | PageJob":
        """Return the page with these entries of the snapshot, or the job that makes it.

        The job does not keep the snapshot alive while it waits for its turn: the cache of
        directories bounds their memory, not the number of those who wait. So nor must the caller.
        """
        key = PageKey(snapshot.digest, form.name, order, span.start, span.stop)
        page = self._pages.get(key)
        if page is not None:
            page.wanted = self._clock()
            self._pages.move_to_end(key)
            return page
        job = self._making.get(key)
        if job is None:
            job = PageJob(self.turns, ref(snapshot), form, key, partial(self._ended, key))
            self._making[key] = job
        return job

    async def wait(self, client: Hashable, job: "PageJob") -> Page | None:
        """Return the page; None where the snapshot was evicted meanwhile."""
        return await job.wait(client)

    def hold(self, client: Hashable, page: Page) -> "PageLease | None":
        """Count the client as a reader of the page until the lease is dropped.

        Returns None for a page that does not count. Raises ProtocolError(503) where there is no
        room for the page, among those of the client or of all.
        """
        if page.size <= FREE_BYTES:
            return None
        if not page.readers[client]:
            new = 0 if page.readers.total() else page.bytes
            share = self._most_bytes // CLIENT_SHARE
            if self._held[client] + page.bytes > share or self.held_bytes + new > self._most_bytes:
                raise ProtocolError(503, _TOO_MANY, [("Retry-After", "5")])
            self._held[client] += page.bytes
            self.held_bytes += new
        page.readers[client] += 1
        if page.key not in self._pages:  # evicted since it was made
            self._keep(page)
        return PageLease(self, client, page)

    @exclusive
    def give_back(self, client: Hashable, page: Page) -> None:
        """End a lease. Leases are dropped outside of the calls for a request."""
        page.readers[client] -= 1
        if page.readers[client]:
            return
        del page.readers[client]
        self._held[client] -= page.bytes
        if not self._held[client]:
            del self._held[client]
        if not page.readers:
            self.held_bytes -= page.bytes

    def drop_idle(self) -> None:
        """Drop some pages that nobody has asked for and nobody reads; to be called now and then."""
        now = self._clock()
        for page in tuple(islice(self._pages.values(), DROPPED)):
            if now - page.wanted >= IDLE and not page.readers:
                self._drop(page)

    def _ended(self, key: PageKey, page: Page | None) -> None:
        del self._making[key]
        if page is not None:
            page.wanted = self._clock()
            self._keep(page)

    def _keep(self, page: Page) -> None:
        if page.key in self._pages:  # it was evicted and made again, and a reader had kept it
            self._drop(self._pages[page.key])
        self._pages[page.key] = page
        self.bytes += page.bytes
        self._make_room()

    def _make_room(self) -> None:
        """Evict the pages that were not used for the longest time, except those that are read."""
        excess = self.bytes - self._most_bytes
        evicted = []
        for page in self._pages.values():
            if excess <= 0:
                break
            if not page.readers:
                evicted.append(page)
                excess -= page.bytes
        for page in evicted:
            self._drop(page)

    def _drop(self, page: Page) -> None:
        del self._pages[page.key]
        self.bytes -= page.bytes


_TOO_MANY: Final = "You are reading too many long listings at the same time."


class PageLease:
    """A client reads a page, until this is dropped.

    Not until a `finally` of the sender: a response may be dropped before its body has begun.
    """

    __slots__ = ("_client", "_page", "_store")

    def __init__(self, store: PageStore, client: Hashable, page: Page) -> None:
        self._store = store
        self._client = client
        self._page = page

    def __del__(self) -> None:
        self._store.give_back(self._client, self._page)


class PageJob(QueuedJob[Page | None]):
    """Makes one page, for all that wait for it."""

    def __init__(
        self,
        turns: FairTurns,
        snapshot: "ref[Snapshot]",
        form: PageForm,
        key: PageKey,
        ended: Callable[[Page | None], object],
    ) -> None:
        self._turns = turns
        self._snapshot = snapshot
        self._form = form
        self._key = key
        self._ended = ended
        super().__init__()

    async def run(self) -> Page | None:
        page = None
        try:
            async with self.turn(self._turns, self._key.end - self._key.start):
                snapshot = self._snapshot()
                if snapshot is not None:
                    await snapshot.prepare(self._key.order.by)
                    page = await self._make(snapshot)
            return page
        finally:
            self._ended(page)

    async def _make(self, snapshot: Snapshot) -> Page:
        _, _, order, start, end = self._key
        form, page = self._form, Page(self._key)
        text = joint = ""
        for at in range(start, end, ROWS):
            if not self.wanted:
                raise Abandoned
            entries = snapshot.entries(order, at, min(at + ROWS, end))
            text += joint + form.between.join([form.render(one, order) for one in entries])
            joint = form.between
            if len(text) >= PIECE_CHARACTERS:
                page.add(text.encode())
                text = ""
            await sleep(0)  # let other connections have their turn
        page.add(text.encode())
        return page


# --- a page on its way ---------------------------------------------------------------------------

PagePart: TypeAlias = bytes | Deflated


class _LeasedStream(BodyStream):
    """Pieces, and the lease of a page, which ends with them."""

    def __init__(self, pieces: Iterator[bytes], lease: PageLease | None) -> None:
        self._pieces = pieces
        self._lease = lease

    async def next_piece(self) -> bytes:
        collected: list[bytes] = []
        size = 0
        while size < SEND_BYTES and (piece := next(self._pieces, None)) is not None:
            collected.append(piece)
            size += len(piece)
        if not collected:
            raise StopAsyncIteration
        return b"".join(collected)

    async def aclose(self) -> None:
        self._pieces = iter(())
        self._lease = None


class PageBody(_LeasedStream):
    """A page between other `parts`, plain; `encoded` in gzip it costs nearly nothing."""

    def __init__(self, parts: Sequence[PagePart], lease: PageLease | None) -> None:
        super().__init__(chain.from_iterable(map(_plain, parts)), lease)
        self.length = sum(len(one) if isinstance(one, bytes) else one.length for one in parts)
        self._parts = parts

    def encoded(self, coding: str) -> BodyStream | None:
        """Return the body in gzip; None for any other coding. This one must not be used then."""
        if coding != "gzip":
            return None
        return _LeasedStream(splice([*map(_deflated, self._parts)]), self._lease)

    async def aclose(self) -> None:
        await super().aclose()
        self._parts = ()


def _plain(part: PagePart) -> Iterator[bytes]:
    return iter((part,)) if isinstance(part, bytes) else part.plain()


def _deflated(part: PagePart) -> Deflated:
    if not isinstance(part, bytes):
        return part
    deflated = Deflated()
    deflated.add(part)
    return deflated
