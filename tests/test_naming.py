"""What callbacks are called in the log."""

from collections.abc import Generator
from functools import partial

from reactor.naming import name_of

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


def test_a_function_has_its_place() -> None:
    line = Plain.method.__code__.co_firstlineno
    named = f"Plain.method ({FILE}, line {line})"
    assert name_of(Plain.method) == named
    assert name_of(Plain().method) == named
    assert name_of(partial(partial(Plain().method))) == named


def test_who_can_describe_itself_does() -> None:
    owner = Owner("what I do")
    assert name_of(owner) == "what I do"
    assert name_of(owner.method) == "what I do"
    assert name_of(partial(owner.method)) == "what I do"
    assert name_of(Owner).startswith("<class "), "a class describes nobody"


def test_a_coroutine_is_where_it_waits() -> None:
    class Pause:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def work() -> None:
        await Pause()

    coroutine = work()
    first = work.__code__.co_firstlineno
    name = "test_a_coroutine_is_where_it_waits.<locals>.work"
    assert name_of(coroutine) == f"{name} ({FILE}, line {first})"
    coroutine.send(None)
    assert name_of(coroutine) == f"{name} ({FILE}, line {first + 1})"
    coroutine.close()
    assert name_of(coroutine) == f"{name} ({FILE}, line {first})"


def test_what_is_none_of_these_is_shown() -> None:
    assert name_of(Plain()) == "<plain>"
    assert name_of(len).startswith("<built-in function len")
