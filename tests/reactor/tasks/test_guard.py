"""Marked methods: plain on the loop, and wrapped where a guard is set."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor.tasks.guard import Shared, exclusive, exclusive_methods
from reactor.web.middlewares.rate_limit import RateLimit
from reactor.web.static.file_server import FileServer
from reactor.web.static.listing_pages import PageStore
from reactor.web.uploads.resumable import ResumableUploads


class Counter(Shared):
    """An object that many connections count with."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @exclusive
    def add(self, number: int) -> int:
        self.count += number
        return self.count

    @exclusive
    async def add_later(self, number: int) -> int:
        return self.add(number)

    def look(self) -> int:
        return self.count


class Middle(Counter):
    """A subclass keeps the marks of its base."""


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """The names of the methods that a guard was asked to call."""
    names: list[str] = []

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            names.append(method.__name__)
            return method(*arguments)

        return call

    Shared.guard = guard
    yield names
    Shared.guard = None


def test_without_a_guard_a_marked_method_is_the_plain_method() -> None:
    counter = Counter()
    assert not {"add", "add_later"} & set(vars(counter))
    assert counter.add.__func__ is Counter.__dict__["add"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [Counter, Middle])
def test_a_guard_wraps_the_marked_methods(calls: list[str], kind: type[Counter]) -> None:
    counter = kind()
    assert counter.add(2) == 2
    assert counter.look() == 2
    coroutine = counter.add_later(3)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == 5
    assert calls == ["add", "add_later", "add"]


def test_objects_that_are_made_before_stay_as_they_are() -> None:
    before = Counter()
    Shared.guard = lambda method: lambda *_: None
    try:
        after = Counter()
    finally:
        Shared.guard = None
    assert before.add(1) == 1
    assert after.add(1) is None


def test_the_methods_that_connections_share_are_marked() -> None:
    marked = {
        kind: exclusive_methods(kind)
        for kind in (FileServer, ResumableUploads, RateLimit, PageStore)
    }
    assert marked == {
        FileServer: ["close_idle", "forget", "get"],
        ResumableUploads: ["append", "cancel", "create", "expire", "head"],
        RateLimit: ["_take"],
        PageStore: ["give_back"],
    }
