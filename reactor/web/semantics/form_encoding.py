"""Decodes one name or value of application/x-www-form-urlencoded (URL Standard, section 5.1).

A "+" is a space and "%XX" a byte. Any other "%" stands for itself. The result must be UTF-8.

A form may have a million percent signs, so that each byte may cost nanoseconds only: the work is
done by passes over the whole text that are made in C. `a2b_qp` decodes the escapes of Quoted-
Printable, "=XX", and copies any other "=". So "%" becomes "=" for it. Bytes that mean something to
it are replaced by bytes that occur in no UTF-8, and put back at the end.
"""

import re
from binascii import a2b_qp
from typing import Final

# Stand for an equals sign, for a line feed, for a carriage return, and for a percent sign before
# another one.
_EQUALS, _LF, _CR, _PERCENT = b"\xff", b"\xfe", b"\xfd", b"\xfc"
_TAKEN: Final = re.compile(b"%f[c-f]")

_BEFORE: Final = bytes.maketrans(b"=\n\r%+", _EQUALS + _LF + _CR + b"= ")
_AFTER: Final = bytes.maketrans(_EQUALS + _LF + _CR + _PERCENT + b"=", b"=\n\r%%")


def decode_component(text: str) -> str:
    """Return the decoded text. Raises UnicodeDecodeError for bytes that are not UTF-8."""
    if "%" not in text:
        return text.replace("+", " ")
    data = text.encode()
    folded = data.lower()
    if b"%f" in folded and (taken := _TAKEN.search(folded)) is not None:
        raise UnicodeDecodeError("utf-8", data, *taken.span(), "invalid start byte")
    if b"%3d" in folded:
        data = data.replace(b"%3D", _EQUALS).replace(b"%3d", _EQUALS)
    # The first pass leaves at most two percent signs at the end of a row of them.
    data = data.replace(b"%%", _PERCENT + b"%").replace(b"%%", _PERCENT + b"%")
    if data.endswith(b"%"):  # a2b_qp drops a "=" there
        data = data[:-1] + _PERCENT
    return a2b_qp(data.translate(_BEFORE)).translate(_AFTER).decode()
