"""Why a function has returned something else than a response: the mistakes that are made most.

The server cannot know what an author meant; but a forgotten `return`, a coroutine that was not
awaited, and the like can be seen in the value. A sentence on it stands in the error.
"""

import inspect
import reprlib
from typing import Final

from reactor.errors import all_but_interrupts
from reactor.loop.describe import describe

REPR_CHARACTERS: Final = 100  # the most that an error message shows of a value


_BOUNDED: Final = reprlib.Repr()
_BOUNDED.maxstring = _BOUNDED.maxother = REPR_CHARACTERS


def shown(value: object) -> str:
    """The value as it stands in an error message: its repr, of bounded length."""
    try:
        text = _BOUNDED.repr(value)
    except all_but_interrupts():
        text = object.__repr__(value)
    return text if len(text) <= REPR_CHARACTERS else f"{text[:REPR_CHARACTERS]}…"


def likely_cause(value: object) -> str:
    """A sentence on the likely mistake behind this result, behind a space; "" without any.

    A coroutine is closed, since the error says better than Python's warning that it never ran.
    """
    if value is None:
        return " Is a `return` missing?"
    if inspect.isawaitable(value):
        if not inspect.iscoroutine(value):
            return " It has to be awaited, in an `async def`."
        name = describe(value)
        value.close()
        return f" The coroutine of {name} was not awaited: is an `await` missing?"
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return " A function with a `yield` returns a generator: its own `return` makes no response."
    if isinstance(value, type) or inspect.isroutine(value):
        return " Are the parentheses of a call missing?"
    if isinstance(value, BaseException):
        return " Is `raise` meant in place of `return`?"
    return ""
