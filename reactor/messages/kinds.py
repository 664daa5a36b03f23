"""Texts of a request as values of a kind: a number, a date, a member of an Enum.

A text that is not of its kind is a mistake of the client: an ArgumentError, so a 400 that names the
argument, what was given and what is accepted. Kinds are stricter than the functions of Python with
the same names: `int` would take "1_000", " 1" and digits of other scripts. Reading takes linear
time, and a number has at most so many digits as `int` takes.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import EnumMeta
from math import isfinite
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from reactor.errors import ProtocolError

K = TypeVar("K")

Kind: TypeAlias = type[K] | Callable[[str], K]

MOST_DIGITS: Final = 4300  # Python's own limit for `int`, whose time is not linear
SHOWN_CHARACTERS: Final = 100  # an error shows so many of a text

_INT: Final = re.compile(f"-?[0-9]{{1,{MOST_DIGITS}}}")
_DECIMAL: Final = re.compile(rf"(?=.{{1,{MOST_DIGITS}}}\Z)-?(?:[0-9]++(?:\.[0-9]++)?|\.[0-9]++)")
_FLOAT: Final = re.compile(_DECIMAL.pattern + "(?:[eE][+-]?[0-9]{1,4})?")
UUID_TEXT: Final = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # RFC 9562
_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Those of RFC 3339, and of HTML's input fields, which have no seconds and no time zone.
_DATETIME: Final = re.compile(
    _DATE.pattern
    + r"[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_BOOLS: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class ArgumentError(ProtocolError):
    """400: a value of the request is missing, or is not of the kind that is needed.

    `details` are members of the problem details that are the response (RFC 9457, section 3.2):
    `name`, `given`, and `accepted`, those that are known.
    """

    def __init__(self, sentence: str, **details: str) -> None:
        super().__init__(400, sentence)
        self.details: Mapping[str, Any] = details


class _Reader(NamedTuple):
    accepted: str
    read: Callable[[str], Any]


def convert(text: str, kind: Kind[K], place: str, name: str) -> K:
    """The text as a value of this kind. Raises ArgumentError.

    `place` and `name` are for the error: "argument", "page". Any callable is a kind that raises
    ValueError for texts that it does not accept; its message then says what is accepted.
    """
    reader = _reader_of(kind)
    try:
        value: K = kind(text) if reader is None else reader.read(text)  # type: ignore[call-arg]
    except ValueError as error:
        given = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
        begin = f"The {place} {name!a} is {given!a}"
        if reader is not None:
            sentence, accepted = f"{begin}; it must be {reader.accepted}.", reader.accepted
        else:
            accepted = str(error) or f"a value of the kind {getattr(kind, '__name__', '')!r}"
            sentence = f"{begin}: {accepted.rstrip('.')}."
        raise ArgumentError(sentence, name=name, given=given, accepted=accepted) from None
    return value


def missing(place: str, name: str, kind: Any = str) -> ArgumentError:
    """The error of a required value that the request does not have."""
    sentence = f"The request has no {place} {name!a}"
    reader = _reader_of(kind)
    if reader is None or kind is str:
        return ArgumentError(f"{sentence}.", name=name)
    sentence = f"{sentence}; it must be {reader.accepted}."
    return ArgumentError(sentence, name=name, accepted=reader.accepted)


def _reader_of(kind: Any) -> _Reader | None:
    if isinstance(kind, EnumMeta):
        return _enum_reader(kind)
    try:
        return _READERS.get(kind)
    except TypeError:  # a callable that has no hash
        return None


def _enum_reader(kind: EnumMeta) -> _Reader:
    """A reader of the values of an Enum's members."""
    members: dict[str, Any] = {}
    for member in list[Any](kind.__members__.values()):
        members.setdefault(str(member.value), member)

    def read(text: str) -> Any:
        if text not in members:
            raise ValueError(text)
        return members[text]

    return _Reader(f"one of: {', '.join(members)}", read)


def _matching(pattern: re.Pattern[str], make: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return make(text)

    return read


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


def _bool(text: str) -> bool:
    value = _BOOLS.get(text.lower()) if text.isascii() else None
    if value is None:
        raise ValueError(text)
    return value


def _datetime(text: str) -> datetime:
    return datetime.fromisoformat(text.upper())


_READERS: Final[dict[Any, _Reader]] = {
    str: _Reader("a text", str),
    int: _Reader("an integer, in decimal digits", _matching(_INT, int)),
    float: _Reader("a finite number, such as 0.5 or 1e3", _matching(_FLOAT, _finite)),
    Decimal: _Reader("a decimal number, such as 12.50", _matching(_DECIMAL, Decimal)),
    bool: _Reader("true, false, yes, no, on, off, 1 or 0", _bool),
    UUID: _Reader("a UUID, 8-4-4-4-12 hexadecimal digits", _matching(UUID_TEXT, UUID)),
    date: _Reader("a date, such as 2024-02-29", _matching(_DATE, date.fromisoformat)),
    datetime: _Reader(
        "a date and time, such as 2024-02-29T23:59:00Z", _matching(_DATETIME, _datetime)
    ),
}
