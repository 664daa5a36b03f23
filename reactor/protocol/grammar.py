"""The few productions of RFC 9110 and 9112 that several modules check, as regular expressions.

All are possessive or atomic by construction: none of them can back-track. A repeated group that can
fail half-way is an atomic one, (?>(...)*), and not a possessive one: before CPython 3.11.5 the
latter goes on behind what the failed attempt has used (gh-106052), and so accepts wrong text.
"""

import re
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # one tchar (RFC 9110, section 5.6.2)
TOKEN_TEXT: Final = TOKEN.decode("ascii")  # the same for patterns of text
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"  # one byte of a field value (section 5.5)
FIELD: Final = rb"%b++:%b*+" % (TOKEN, VALUE)  # without its line end

# The methods of RFC 9110, section 9, and PATCH (RFC 5789).
METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
)

# RFC 9110, section 5.6.4
QUOTED_STRING: Final = rb'"(?>(?:[\t !#-\[\]-~\x80-\xff]++|\\[\t\x20-\x7e\x80-\xff])*)"'
QUOTED_TEXT: Final = QUOTED_STRING.decode("ascii")  # the same for patterns of text

# uri-host [ ":" port ] (RFC 3986, section 3.2.2; RFC 9110, section 7.2); the host may be empty.
# Whether `ipv6` is an address, and `port` a port, is for the caller to check.
AUTHORITY: Final = (
    rb"(?:\[(?:(?P<ipv6>[0-9A-Fa-f:.]++)|v[0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"
    rb"|(?>(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*))"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)

# Characters that stand in a segment of a path as they are (RFC 3986, section 3.3), beside letters,
# digits and others that urllib.parse.quote never encodes.
SEGMENT_SAFE: Final = ":@!$&'()*+,;=~"

_TOKEN: Final = re.compile(TOKEN_TEXT + "++")
# A member of a list; an unclosed quote goes to the end.
_MEMBER: Final = re.compile(r'(?>(?:[^",]++|"(?>(?:[^"\\]++|\\.?)*)(?:"|\Z))+)', re.DOTALL)


def is_token(text: str) -> bool:
    """Whether the text is a token (RFC 9110, section 5.6.2), as methods and names of fields are."""
    return _TOKEN.fullmatch(text) is not None


def list_members(value: str) -> list[str]:
    """The members of a comma-separated list (RFC 9110, section 5.6.1), without the empty ones.

    Commas in a quoted string separate nothing. White space around a member is left out.
    """
    members = [member.strip(" \t") for member in _MEMBER.findall(value)]
    return [member for member in members if member]
