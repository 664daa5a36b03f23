"""One publisher and many readers, each at its own pace.

`publish` never waits: it appends an item to the queue of each subscription, where the item stays
until the reader takes it. A reader that falls behind by more than `backlog` items loses its queue
and gets TooSlow at its next step: neither the others nor the memory wait for it. So a broadcast
holds at most its backlog times its subscriptions, of references to items that they share.

All of it belongs to the loop's thread. Another thread calls
`reactor.call_soon_threadsafe(broadcast.publish, item)`.
"""

from collections import deque
from typing import Any, Final, Generic, TypeVar

from reactor.errors import TooSlow
from reactor.tasks.futures import Future

T = TypeVar("T")

BACKLOG_ITEMS: Final = 100  # that a subscription holds for its reader


class Broadcast(Generic[T]):
    """Passes each published item to all subscriptions of that moment."""

    __slots__ = ("_backlog", "_closed", "_subscriptions")

    def __init__(self, backlog: int = BACKLOG_ITEMS) -> None:
        """`backlog` is how many items a reader may be behind. Raises ValueError below 1."""
        if backlog < 1:
            raise ValueError(f"the backlog is {backlog}, but it must be 1 item at least")
        self._backlog = backlog
        self._closed = False
        self._subscriptions: dict[Subscription[T], None] = {}  # in the order of subscribing

    def __len__(self) -> int:
        """The number of subscriptions."""
        return len(self._subscriptions)

    def __bool__(self) -> bool:
        """Always true, also without any subscription."""
        return True

    def subscribe(self) -> "Subscription[T]":
        """A subscription to all items that are published from now on.

        It must be closed: by `close`, or at the end of its `with` block.
        """
        subscription = Subscription(self, self._backlog)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions[subscription] = None
        return subscription

    def publish(self, item: T) -> None:
        """Append the item to all subscriptions, without waiting.

        Raises RuntimeError if the broadcast is closed.
        """
        if self._closed:
            raise RuntimeError("cannot publish: this broadcast is closed")
        for subscription in tuple(self._subscriptions):
            subscription.append(item)

    def close(self) -> None:
        """End all subscriptions. A reader first gets the items that are left for it."""
        self._closed = True
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions:
            subscription.end()

    def remove(self, subscription: "Subscription[T]") -> None:
        """For Subscription: it is closed."""
        self._subscriptions.pop(subscription, None)


class Subscription(Generic[T]):
    """An asynchronous iterator over the published items, for one reader.

    A step raises TooSlow, once, when the reader has fallen behind; the items left for it are lost.
    """

    __slots__ = ("_backlog", "_broadcast", "_items", "_too_slow", "_waiting")

    def __init__(self, broadcast: Broadcast[T], backlog: int) -> None:
        self._broadcast: Broadcast[T] | None = broadcast  # until it has ended
        self._backlog = backlog
        self._items: deque[T] = deque()
        self._too_slow = False  # and the reader has not got its TooSlow yet
        self._waiting: Future[None] | None = None

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> T:
        # An item stays until it is taken, so none is lost with a reader that is cancelled.
        while not self._items:
            if self._too_slow:
                self._too_slow = False
                raise TooSlow(f"the reader was more than {self._backlog} items behind")
            if self._broadcast is None:
                raise StopAsyncIteration
            if self._waiting is None:
                self._waiting = Future()
            await self._waiting
        return self._items.popleft()

    def __enter__(self) -> "Subscription[T]":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Unsubscribe and drop the items that are left. A reader that waits gets the end."""
        self._items.clear()
        broadcast = self._broadcast
        if broadcast is not None:
            broadcast.remove(self)
        self.end()

    def append(self, item: T) -> None:
        """For Broadcast: queue an item for the reader, or drop a reader that is too slow."""
        if len(self._items) < self._backlog:
            self._items.append(item)
            self._wake()
        else:
            self._too_slow = True
            self.close()

    def end(self) -> None:
        """For Broadcast: there are no more items."""
        self._broadcast = None
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)
