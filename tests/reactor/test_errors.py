"""The errors that all packages share: classes for `except` clauses, and words of sentences."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reactor.errors import (
    Cancelled,
    FatalError,
    all_but_cancelling,
    all_but_interrupts,
    counted,
)


class Outcome(BaseException):
    """As those of test frameworks."""


def caught(error: BaseException, classes: Callable[[], Any] = all_but_interrupts) -> bool:
    try:
        try:
            raise error
        except classes():
            return True
    except BaseException:
        return False


ANY = [ValueError(), SystemExit(3), Outcome(), MemoryError(), RecursionError(), StopIteration()]


@pytest.mark.parametrize("error", ANY, ids=repr)
def test_any_error_is_caught(error: BaseException) -> None:
    assert caught(error)
    assert caught(error, all_but_cancelling)


@pytest.mark.parametrize("error", [Cancelled(), GeneratorExit()], ids=repr)
def test_cancelling_passes_where_a_coroutine_catches(error: BaseException) -> None:
    assert caught(error)
    assert not caught(error, all_but_cancelling)


def test_an_interrupt_passes_under_pythons_own_handler_only() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not caught(KeyboardInterrupt())
    assert not caught(KeyboardInterrupt(), all_but_cancelling)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        assert caught(KeyboardInterrupt())
        assert caught(KeyboardInterrupt(), all_but_cancelling)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_an_error_on_any_other_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(caught(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert found == [True]


def test_a_fatal_error_passes() -> None:
    assert not caught(FatalError())
    assert not caught(FatalError(), all_but_cancelling)


def test_one_of_a_kind_is_singular() -> None:
    assert [counted(count, "line") for count in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert counted(1, "file was", "files were") == "1 file was"
    assert counted(3, "file was", "files were") == "3 files were"
