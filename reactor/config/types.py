"""Parsers of option values: pure functions of text, one for each kind.

Each returns the value in its normal form, or raises ValueError with a sentence that names the value
and what is accepted. Values that name files or URLs are checked in web/site/values.py.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{1,2})?")
_TEXT: Final = re.compile(r"[\t\x20-\x7e]*+")


def whole_number(text: str) -> int:
    """Decimal digits, with or without a sign."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is not a whole number, as in 100")
    return int(text)


def number(text: str) -> float:
    """Decimal digits with or without a sign, a fraction and an exponent."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is not a number, as in 2.5")
    return float(text)


def port(text: str) -> int:
    """A port to listen on; 0 is any free one."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
        raise ValueError(f"{text[:50]!r} is not a port: a number from 0 to 65535")
    return int(text)


def one_of(values: Sequence[str]) -> Callable[[str], str]:
    """A parser that accepts one of these words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"{text!r} is not one of {', '.join(values)}")
        return text

    return parse


def server_header(text: str) -> str:
    """The value of the Server field, without the white space around it; "" leaves it out."""
    if not _TEXT.fullmatch(text):
        raise ValueError(f"{text!r} is not a value of a field: it must be printable ASCII")
    return text.strip(" \t")


def names_application(text: str) -> bool:
    """Whether it has the form `package.module:name`, where the name may be a path of attributes."""
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (module + "." + name).split("."))
