"""The error of an author's function whose result is no response: its name, and the likely cause."""

import linecache
import traceback
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from reactor.http.wrong_results import likely_cause, shown
from reactor.web.app.functions import describe

RESULTS: Final = (
    "a Response, str, bytes, dict, list, dataclass, (status, body), (status, body, fields) or a "
    "generator"
)

_ADVICE: Final[tuple[tuple[Any, str], ...]] = (
    ((set, frozenset), " A set has no order: sorted(...) makes a list of it."),
    ((bytearray, memoryview), " bytes(...) makes bytes of it."),
    ((bool, float, date, time, Decimal, UUID, Enum), " json(...) makes a response of it."),
    (PurePath, " `await file(request, path)` makes a response of it."),
)

# The results of an application's functions, by their roles.
_ACCEPTED: Final = {"endpoint": RESULTS, "error handler": RESULTS}


class WrongResult(TypeError):
    """A function has returned a value of which no response can be made."""


def wrong_result(function: object, role: str, value: Any) -> WrongResult:
    """The error of a function in this role that has returned this value.

    The roles are `endpoint`, `error handler`, `middleware` and `hook`.
    """
    accepted = _ACCEPTED.get(role, "a Response")
    cause = _cause(value, accepted is RESULTS)
    returned = shown(value)  # before the cause, which closes a coroutine
    return WrongResult(
        f"{named(function, role)} returned {returned}.{cause} It has to return {accepted}."
    )


def add_hint(error: BaseException) -> None:
    """Add a note to an error of Python that means a misunderstanding of a Response."""
    if not isinstance(error, TypeError | AttributeError) or error.__traceback__ is None:
        return
    if "tuple" not in (text := str(error)) and "FieldBlock" not in text:
        return
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    code = linecache.getline(frame.f_code.co_filename, line, frame.f_globals)
    if "headers" in code:
        error.add_note(
            "The header fields of a Response are a tuple of pairs, which never changes: "
            "response.with_headers((name, value)) returns a new Response"
        )


def named(function: object, role: str) -> str:
    """The function for the beginning of an error message."""
    return f"the {role} {describe(function)}" if function is not None else f"the {role}"


def _cause(value: Any, converted: bool) -> str:
    """The likely mistake; `converted`: responses are made of other values than a Response, too."""
    if not converted:
        made = isinstance(value, str | bytes | dict | list | tuple)
        return " text(...) or json(...) makes a Response." if made else likely_cause(value)
    if value is None:
        return " Is a `return` missing? A response without a body is (204, None)."
    if isinstance(value, tuple):
        return _cause_of_a_tuple(value)
    if isinstance(value, int) and type(value) is not bool:
        return f" A status alone is ({int(value)}, b'')."
    for types, advice in _ADVICE:
        if isinstance(value, types):
            return advice
    return likely_cause(value)


def _cause_of_a_tuple(value: tuple[Any, ...]) -> str:
    if not 1 <= len(value) <= 3:
        return f" It has {len(value)} members."
    first, rest = value[0], value[1:]
    if isinstance(first, str) and len(first) == 3 and first.isascii() and first.isdigit():
        return f" The status is an int, not text: ({first}, body)."
    if not isinstance(first, int) or isinstance(first, bool):
        statuses = [one for one in rest if isinstance(one, int) and not isinstance(one, bool)]
        return (
            f" The status comes first: ({statuses[0]}, body)."
            if statuses
            else (f" The status comes first, as in (200, {type(first).__name__}).")
        )
    body = rest[0] if rest else b""
    if body is None:
        return " The body None goes with 204, 205 and 304 alone; an empty one is b''."
    if isinstance(body, tuple):
        return " A tuple is no body; list(...) makes one of it."
    if first == 204:
        return " A 204 has no body: (204, None)."
    return _cause(body, True)
