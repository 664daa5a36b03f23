"""The names of callbacks in the log."""

from collections.abc import Generator
from functools import partial

import pytest

from reactor.loop.describe import describe, safe_repr

FILE = __file__


class Owner:
    def __init__(self, word: str) -> None:
        self.word = word

    def describe(self) -> str:
        return self.word

    def method(self) -> None: ...


class Plain:
    def method(self) -> None: ...

    def __repr__(self) -> str:
        return "<plain>"


def test_a_function_is_named_with_its_place() -> None:
    line = Plain.method.__code__.co_firstlineno
    named = f"Plain.method ({FILE}, line {line})"
    assert describe(Plain.method) == named
    assert describe(Plain().method) == named
    assert describe(partial(partial(Plain().method))) == named


def test_an_owner_with_a_description_is_named_by_it() -> None:
    owner = Owner("what I do")
    assert describe(owner) == "what I do"
    assert describe(owner.method) == "what I do"
    assert describe(partial(owner.method)) == "what I do"
    assert describe(Owner).startswith("<class "), "a class describes nobody"


def test_a_coroutine_is_named_with_the_line_where_it_waits() -> None:
    class Pause:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def work() -> None:
        await Pause()

    coroutine = work()
    first = work.__code__.co_firstlineno
    name = "test_a_coroutine_is_named_with_the_line_where_it_waits.<locals>.work"
    assert describe(coroutine) == f"{name} ({FILE}, line {first})"
    coroutine.send(None)
    assert describe(coroutine) == f"{name} ({FILE}, line {first + 1})"
    coroutine.close()
    assert describe(coroutine) == f"{name} ({FILE}, line {first})"


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_object_that_raises_is_named_all_the_same(error: type[BaseException]) -> None:
    class Odd:
        def describe(self, what: str) -> str:
            return what

        def method(self) -> None:
            pass

        def __repr__(self) -> str:
            raise error

    names = [describe(Odd().method), describe(Odd()), safe_repr(Odd())]
    assert "Odd.method" in names[0]
    assert ["Odd object at" in name for name in names] == [False, True, True]


def test_any_other_object_is_named_by_its_repr() -> None:
    assert describe(Plain()) == "<plain>"
    assert describe(len).startswith("<built-in function len")
