"""Futures: one result or exception, and callbacks."""

import pytest

from reactor.tasks.futures import Future
from tests.support.coroutine_driver import Stage


def test_a_future_without_its_result() -> None:
    future: Future[int] = Future()
    with pytest.raises(RuntimeError):
        future.result()
    future.set_result(1)
    future.set_result(2)
    future.set_exception(ValueError())
    assert future.result() == 1
    seen: list[Future[int]] = []
    future.add_callback(seen.append)
    assert seen == [future]


def test_callbacks_are_called_once_in_their_order() -> None:
    future: Future[int] = Future()
    seen: list[str] = []

    def removed(_: Future[int]) -> None:
        raise AssertionError

    future.add_callback(lambda _: seen.append("first"))
    future.add_callback(removed)
    future.add_callback(lambda _: seen.append("second"))
    future.remove_callback(removed)
    future.remove_callback(removed)
    future.set_result(1)
    assert seen == ["first", "second"]


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_a_callback_that_raises_keeps_no_other_from_being_called(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    future: Future[int] = Future()
    seen: list[str] = []

    def fail(name: str) -> None:
        seen.append(name)
        raise error(name)

    for name in ("first", "second"):
        future.add_callback(lambda _, name=name: fail(name))  # type: ignore[misc]
    future.add_callback(lambda _: seen.append("third"))
    with pytest.raises(error, match="first"):
        future.set_result(1)
    assert seen == ["first", "second", "third"]
    assert future.result() == 1
    assert caplog.text.count("A callback failed") == 1


def test_a_callback_that_raises_costs_the_owner_of_the_method() -> None:
    class Owner:
        aborted = 0

        def fail(self, future: Future[int]) -> None:
            raise ValueError("as the test wants it")

        def abort(self) -> None:
            self.aborted += 1

    future: Future[int] = Future()
    owners = [Owner(), Owner()]
    for owner in owners:
        future.add_callback(owner.fail)
    with pytest.raises(ValueError, match="as the test wants it"):
        future.set_result(1)
    assert [owner.aborted for owner in owners] == [1, 1]


def test_an_exception_is_raised_each_time() -> None:
    future: Future[int] = Future()
    future.set_exception(ValueError("no"))
    future.set_result(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            future.result()
    assert isinstance(future.exception(), ValueError)
    assert future.start(Stage()) is future
