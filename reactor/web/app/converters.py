"""The kinds of path parameters: from the text of a segment to a value, and back.

A converter is two pure functions and a rank. `read` raises ValueError for a text that is not of its
kind; the route does not fit then, as if the path were another. `write` is for building URLs. Values
are cached with their path and shared between requests, so their types are immutable.

Where several kinds stand at one place of a path, the lower rank is tried first: a number before a
text. Two of the same rank would be ambiguous, and are refused (see app/router.py).
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from reactor.messages.kinds import UUID_TEXT

OWN_RANK: Final = 3  # the rank of the converters that an application adds


class Names(tuple[str, ...]):
    """The segments below a mount of files; bytes that are not UTF-8 are surrogate escapes."""

    __slots__ = ()


_INT: Final = re.compile("[0-9]{1,18}")  # any of these fits into 64 bits, as databases need it
_FLOAT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")


class Converter(NamedTuple):
    """A kind of parameter.

    With `takes_rest` the parameter takes all remaining segments: `read` gets a list of them, and
    `write` returns one. Otherwise both are about the text of one segment.
    """

    kind: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = str
    rank: int = OWN_RANK
    takes_rest: bool = False


def _reader(pattern: re.Pattern[str], make: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} is not of this kind")
        return make(text)

    return read


def _write_number(value: Any) -> str:
    """A number in the form that is read: without a sign and an exponent."""
    text = format(value, "f").rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    if not _FLOAT.fullmatch(text):
        raise ValueError(
            "a number in a path has no sign and 1 to 18 digits before and after the point, "
            f"not {value!r}"
        )
    return text


def _write_int(value: Any) -> str:
    text = str(int(value))
    if int(value) != value or not _INT.fullmatch(text):
        raise ValueError(f"an integer in a path has no sign and 1 to 18 digits, not {value!r}")
    return text


def _write_uuid(value: Any) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


def _write_text(value: Any) -> str:
    text = str(value)
    if not text:
        raise ValueError("a path parameter must not be empty")
    return text


CONVERTERS: Final = {
    converter.kind: converter
    for converter in (
        Converter("uuid", _reader(UUID_TEXT, UUID), _write_uuid, 0),
        Converter("int", _reader(_INT, int), _write_int, 1),
        Converter("float", _reader(_FLOAT, float), _write_number, 2),
        Converter("str", str, _write_text, 4),
        # The rest of the path as names of files, without empty and dot segments: see app/router.py.
        Converter("names", Names, list, 5, True),
        # The rest of the path as text; an encoded slash becomes one more slash.
        Converter("path", "/".join, lambda value: str(value).split("/"), 6, True),
        # The same as a tuple, so that an encoded slash remains part of its segment.
        Converter("segments", tuple, list, 6, True),
    )
}
