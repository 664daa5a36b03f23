"""Parsers of option values: pure functions of text, one for each kind.

Each returns the value in its normal form, or raises ValueError with a sentence that names the value
and what is accepted. Values that name files or URLs are checked in web/site/values.py.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE][+-]?[0-9]{1,2})?")
_TEXT: Final = re.compile(r"[\t\x20-\x7e]*+")
_HOST: Final = re.compile(r"[^\x00-\x20\x7f/?#@\[\]:]*+")  # a name or an IPv4 address


class ListenPlace(NamedTuple):
    """A place to listen at, as an option names it."""

    host: str  # a name or an address; "" for every address of the machine
    port: int | None  # the one of --port, where None


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


def host(text: str) -> str:
    """A name or an address, of IPv6 with or without brackets; "" for every address."""
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if _is_ipv6(bare):
        return bare
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text[:50]!r} is not a name or an address, as in localhost or ::1")
    return "" if text == "*" else text


def place(text: str) -> ListenPlace:
    """ADDRESS[:PORT], where IPv6 addresses have brackets if a port follows."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if bracket and _is_ipv6(address) and rest[:1] in ("", ":"):
            return ListenPlace(address, port(rest[1:]) if rest else None)
    elif _is_ipv6(text):
        head, _, tail = text.rpartition(":")
        if _is_ipv6(head) and tail.isdigit():
            raise ValueError(f"{text!r} is ambiguous: write [{text}] or [{head}]:{tail}")
        return ListenPlace(text, None)
    else:
        name, colon, digits = text.partition(":")
        if _HOST.fullmatch(name) and ":" not in digits:
            return ListenPlace(host(name), port(digits) if colon else None)
    raise ValueError(
        f"{text[:50]!r} is not an address to listen on, as in 127.0.0.1:8080, [::1]:8080, "
        "localhost or :8080"
    )


def _is_ipv6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


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
