"""What a parameter of a path may be: from a segment's text to a value, and back.

A converter is two pure functions and a rank. `read` raises ValueError for a text that is none of
its kind; then the route does not fit, as if the path were another. `write` is for building URLs.
Values are remembered with their path and shared between requests, so they are of types that do not
change.

Where several kinds stand at one place of a path, the lower rank is tried first: a number before a
text. Two of the same rank would be a matter of luck, and are refused (see app/router.py).
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

OWN_RANK: Final = 3  # of a converter that an application brings along

_INT: Final = re.compile("[0-9]{1,18}")  # what fits into 64 bits, as databases have it
_FLOAT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")
_UUID: Final = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # RFC 9562


class Converter(NamedTuple):
    """A kind of parameter. `takes_rest`: of all segments that are left, which `read` gets."""

    kind: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = str
    rank: int = OWN_RANK
    takes_rest: bool = False


def _reader(pattern: re.Pattern[str], make: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(f"{text!r} does not fit")
        return make(text)

    return read


def _write_number(value: Any) -> str:
    """As it is read: without a sign and an exponent."""
    text = format(value, "f").rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"{value!r} can be no number of a path")
    return text


def _write_int(value: Any) -> str:
    text = str(int(value))
    if int(value) != value or not _INT.fullmatch(text):
        raise ValueError(f"{value!r} can be no whole number of a path")
    return text


def _write_uuid(value: Any) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


def _write_text(value: Any) -> str:
    text = str(value)
    if not text:
        raise ValueError("a parameter of a path is not empty")
    return text


CONVERTERS: Final = {
    converter.kind: converter
    for converter in (
        Converter("uuid", _reader(_UUID, UUID), _write_uuid, 0),
        Converter("int", _reader(_INT, int), _write_int, 1),
        Converter("float", _reader(_FLOAT, float), _write_number, 2),
        Converter("str", str, _write_text, 4),
        # The rest of a path as it is written; what was an encoded slash is one more slash then.
        Converter("path", "/".join, lambda value: str(value).split("/"), 5, True),
        # The same taken apart, so that an encoded slash is part of a name.
        Converter("segments", tuple, list, 5, True),
    )
}
