"""One who speaks and many who listen, each at its own pace.

`publish` never waits: it gives an item to each subscription, where it stays until its reader takes
it. A reader that falls behind by more than `backlog` items is dropped, and told so (TooSlow) at its
next step: neither the others nor the memory wait for it. So what a channel may hold is its backlog
times its subscriptions, of references to items that they share.

All of it belongs to the loop's thread; another one says
`reactor.call_soon_threadsafe(channel.publish, item)`.
"""

from collections import deque
from typing import Any, Final, Generic, TypeVar

from reactor.errors import TooSlow
from reactor.tasks.futures import Future

T = TypeVar("T")

BACKLOG_ITEMS: Final = 100  # that a subscription holds for its reader


class Broadcast(Generic[T]):
    """What is published goes to all who are subscribed at that moment."""

    __slots__ = ("_backlog", "_closed", "_subscriptions")

    def __init__(self, backlog: int = BACKLOG_ITEMS) -> None:
        """`backlog`: how many items a reader may be behind. Raises ValueError for less than 1."""
        if backlog < 1:
            raise ValueError(f"a backlog has room for one item at least, not {backlog}")
        self._backlog = backlog
        self._closed = False
        self._subscriptions: dict[Subscription[T], None] = {}  # in the order of subscribing

    def __len__(self) -> int:
        """How many are subscribed."""
        return len(self._subscriptions)

    def __bool__(self) -> bool:
        """A channel is one, also while nobody listens."""
        return True

    def subscribe(self) -> "Subscription[T]":
        """All that is published from now on. To be closed, or left by its `with`."""
        subscription = Subscription(self, self._backlog)
        if self._closed:
            subscription.end()
        else:
            self._subscriptions[subscription] = None
        return subscription

    def publish(self, item: T) -> None:
        """Give it to all, without waiting. Raises RuntimeError when the channel is closed."""
        if self._closed:
            raise RuntimeError("this channel is closed")
        for subscription in tuple(self._subscriptions):
            subscription.give(item)

    def close(self) -> None:
        """Nothing more comes: who listens gets what is left for it, and then the end."""
        self._closed = True
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions:
            subscription.end()

    def forget(self, subscription: "Subscription[T]") -> None:
        """For Subscription: it is closed."""
        self._subscriptions.pop(subscription, None)


class Subscription(Generic[T]):
    """An asynchronous iterator of what is published, for one reader.

    A step raises TooSlow, once, when the reader has fallen behind; what was left for it is gone.
    """

    __slots__ = ("_backlog", "_behind", "_channel", "_items", "_waiting")

    def __init__(self, channel: Broadcast[T], backlog: int) -> None:
        self._channel: Broadcast[T] | None = channel  # None: nothing more comes
        self._backlog = backlog
        self._items: deque[T] = deque()
        self._behind = False  # too far, and the reader has not been told
        self._waiting: Future[None] | None = None

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> T:
        # An item stays until it is taken, so none is lost with a reader that is cancelled.
        while not self._items:
            if self._behind:
                self._behind = False
                raise TooSlow(f"more than {self._backlog} items behind")
            if self._channel is None:
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
        """Listen no more; what was left is gone, and who waits for more is at the end."""
        self._items.clear()
        channel = self._channel
        if channel is not None:
            channel.forget(self)
        self.end()

    def give(self, item: T) -> None:
        """For Channel."""
        if len(self._items) < self._backlog:
            self._items.append(item)
            self._wake()
        else:
            self._behind = True
            self.close()

    def end(self) -> None:
        """For Channel: nothing more comes."""
        self._channel = None
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(None)
