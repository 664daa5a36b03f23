"""The few productions of RFC 9110 and 9112 that several modules check, as regular expressions.

All are possessive or atomic by construction: none of them can back-track. Where a repeated group
can fail half-way it is an atomic one, (?>(...)*), not a possessive one: before CPython 3.11.5 the
latter goes on behind what the failed attempt has used (gh-106052), and so accepts what is wrong.
"""

from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # one tchar (RFC 9110, section 5.6.2)
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]"  # one byte of a field value (section 5.5)
FIELD: Final = rb"%b++:%b*+" % (TOKEN, VALUE)  # without its line end

# RFC 9110, section 5.6.4
QUOTED_STRING: Final = rb'"(?>(?:[\t !#-\[\]-~\x80-\xff]++|\\[\t\x20-\x7e\x80-\xff])*)"'

# uri-host [ ":" port ] (RFC 3986, section 3.2.2; RFC 9110, section 7.2); the host may be empty.
AUTHORITY: Final = (
    rb"(?:\[(?:[0-9A-Fa-f:.]++|v[0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+,;=:]++)\]"
    rb"|(?>(?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})*))"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)
