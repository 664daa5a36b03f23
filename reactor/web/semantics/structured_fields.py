"""Items of Structured Fields (RFC 9651, section 3.3): booleans and integers, with parameters.

Parameters are checked and then ignored: their strings may contain semicolons and commas. A value
that does not follow the grammar is malformed as a whole, and stands for an absent field (section
4.2). All patterns are possessive or atomic: parsing takes time linear in the length of the value.
"""

import re
from typing import Final
from urllib.parse import unquote

from reactor.protocol.grammar import TOKEN_TEXT

_DISPLAY: Final = r'%"(?>(?:[ !#$&-~]++|%[0-9a-f]{2})*)"'  # section 3.3.8; its escapes are UTF-8
_BARE_ITEM: Final = "|".join(
    (
        r"-?+(?:[0-9]{1,12}+\.[0-9]{1,3}+|[0-9]{1,15}+)",
        r'"(?>(?:[ !#-\[\]-~]++|\\["\\])*)"',
        rf"[A-Za-z*](?:{TOKEN_TEXT}|[:/])*+",
        r":[A-Za-z0-9+/]*+={0,2}+:",
        r"\?[01]",
        r"@-?+[0-9]{1,15}+",
        _DISPLAY,
    )
)
_PARAMETERS: Final = rf"((?>(?:; *+[a-z*][a-z0-9_.*-]*+(?>(?:=(?:{_BARE_ITEM}))?))*))"
_BOOLEAN: Final = re.compile(r" *+\?([01])" + _PARAMETERS + r" *+")
_INTEGER: Final = re.compile(r" *+(-?+[0-9]{1,15}+)" + _PARAMETERS + r" *+")
_DISPLAYS: Final = re.compile(rf'({_DISPLAY})|"(?>(?:[^"\\]++|\\.)*)"')


def boolean_item(value: str) -> bool | None:
    """Return the Boolean of this field value; None where it is malformed or of another type."""
    match = _item(_BOOLEAN, value)
    return None if match is None else match == "1"


def integer_item(value: str) -> int | None:
    """Return the Integer of this field value; None where it is malformed or of another type."""
    match = _item(_INTEGER, value)
    return None if match is None else int(match)


def _item(pattern: re.Pattern[str], value: str) -> str | None:
    match = pattern.fullmatch(value)
    if match is None or not _is_utf8(match[2]):
        return None
    return match[1]


def _is_utf8(parameters: str) -> bool:
    """Return whether the escapes of all display strings are UTF-8."""
    try:
        for text in _DISPLAYS.findall(parameters):
            unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
