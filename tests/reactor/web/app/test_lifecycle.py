"""The functions that `on_start`, `on_stop` and `every` take, and their results."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from reactor import Application


def test_the_decorators_return_the_function() -> None:
    app = Application()

    def function() -> None: ...

    assert app.on_start(function) is function
    assert app.on_stop(function) is function
    assert app.every(0.5)(function) is function
    assert [step.kind.value for step in app.lifecycle()] == ["start", "stop", "every"]


def needs_one(app: Any) -> None: ...


def generator() -> Iterator[None]:
    yield


async def asynchronous_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("wrong", [needs_one, generator, asynchronous_generator])
@pytest.mark.parametrize("where", ["on_start", "on_stop", "every"])
def test_a_function_that_cannot_be_called_so(where: str, wrong: Any) -> None:
    app = Application()
    add = app.every(1) if where == "every" else getattr(app, where)
    with pytest.raises(TypeError, match=r"test_lifecycle\.py.*(must take no argument|generator)"):
        add(wrong)
    assert not list(app.lifecycle())


def test_arguments_with_values_are_fine() -> None:
    app = Application()
    app.on_start(partial(needs_one, app))
    app.on_start(lambda value=1: None)
    assert len(list(app.lifecycle())) == 2


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_an_interval_is_more_than_nothing(seconds: float) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Application().every(seconds)


def test_every_without_its_seconds() -> None:
    with pytest.raises(TypeError, match=r"every\(60\)"):
        Application().every(generator)  # type: ignore[arg-type]


def test_the_state_is_an_applications_own() -> None:
    one, two = Application(), Application()
    one.state["key"] = 1
    assert two.state == {}
