"""Values of an application as JSON (RFC 8259).

Beside the types that JSON has, a value may contain these, at any depth and as a key of a dict:

    a dataclass                 an object with its fields
    date, datetime and time     text in ISO 8601, as `isoformat()` writes it
    UUID                        text with hyphens, in lower case
    Decimal                     text with all its digits: most readers of JSON have floats alone
    an enum                     its value

A set is refused: it has no order, so that two processes would write different bytes for one value.
Data of plain types costs nothing more: the encoder calls `_replaced` for other types alone. Only an
error, or a key that the encoder does not take, leads to a second look at the whole value.
"""

import json
import math
import reprlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import isawaitable
from typing import Any, Final, TypeAlias
from uuid import UUID

KEYS: Final = (str, int, float, type(None))  # the types of keys that the encoder takes

# A place in a value: the one around it, and the key, the index or the field that leads on.
Place: TypeAlias = tuple["Place | None", object]

# Advice by type; the first that fits counts.
_ADVICE: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    ((set, frozenset), "sorted(...) makes a list of it"),
    ((bytes, bytearray, memoryview), "decode it, or encode it as base64"),
    (Iterator, "list(...) makes a list of it"),
    (timedelta, "its total_seconds() are a number"),
    (type, "is `()` missing?"),
)


def encode_json(value: Any) -> bytes:
    """The value as JSON without spaces, in UTF-8.

    Raises TypeError for a value of another type, and ValueError for NaN, infinity, half of a
    surrogate pair and a value that contains itself; the error names the place in the value.
    """
    with suppress(TypeError, ValueError):
        return _encode(value).encode()
    with suppress(RecursionError):  # the encoder's own error names the reason
        value = _plain(value, None)
    return _encode(value).encode()


def is_record(value: object) -> bool:
    """Whether the value is an instance of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def _replaced(value: Any) -> Any:
    """A value that stands for one of a type that JSON does not have. Raises TypeError."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if is_record(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(_refusal(value, None))


def _refusal(value: object, place: Place | None) -> str:
    sentence = f"JSON cannot contain a value of the type {type(value).__name__}{_at(place)}"
    if isawaitable(value):
        close = getattr(value, "close", None)  # without a warning besides that it never ran
        if close is not None:
            close()
        return f"{sentence}: is an `await` missing?"
    for types, advice in _ADVICE:
        if isinstance(value, types):
            return f"{sentence}: {advice}"
    return f"{sentence}: a dict, a list, or a dataclass of its data can be in JSON"


_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_replaced
).encode


# --- the second look -----------------------------------------------------------------------------


def _plain(value: Any, place: Place | None) -> Any:
    """A copy of plain types alone. Raises TypeError and ValueError that name the place."""
    while isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        return {_key(key, place): _plain(one, (place, key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, (place, number)) for number, one in enumerate(value)]
    if isinstance(value, str):
        return _checked_text(value, place)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"JSON has no {value}{_at(place)}")
    if value is None or isinstance(value, int | float):
        return value
    if is_record(value):
        return {
            field.name: _plain(getattr(value, field.name), (place, field.name))
            for field in fields(value)
        }
    try:
        return _replaced(value)
    except TypeError:
        raise TypeError(_refusal(value, place)) from None


def _key(key: Any, place: Place | None) -> Any:
    while isinstance(key, Enum):
        key = key.value
    if isinstance(key, date | time | UUID | Decimal):
        return _replaced(key)
    if isinstance(key, float) and not math.isfinite(key):
        raise ValueError(f"JSON has no {key}, the name of a member{_at(place)}")
    if not isinstance(key, KEYS):
        raise TypeError(
            f"the name of a member in JSON is text, not {type(key).__name__}{_at(place)}: "
            f"{reprlib.repr(key)}"
        )
    return _checked_text(key, place) if isinstance(key, str) else key


def _checked_text(text: str, place: Place | None) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"JSON cannot contain half of a surrogate pair{_at(place)}: {text[:100]!a}"
        ) from None
    return text


def _at(place: Place | None) -> str:
    """The place for an error message, such as ` at ['items'][3]`."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{reprlib.repr(step)}]")
    return f" at {''.join(reversed(steps))}" if steps else ""
