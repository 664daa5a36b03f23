"""The path of a target, percent-decoded so that two different paths never look the same.

Three kinds of escapes stay: an encoded slash (`%2F`), since it is part of a name and separates
nothing (RFC 3986, section 2.2); an encoded percent sign (`%25`), since a decoded one would look
like the beginning of an escape; and bytes that are not UTF-8, as `%FF`. Their digits are upper
case. So the decoded path is text without surrogates, it can be split at "/", and each of its
segments can be decoded once more.

A path with a "%" that begins no escape is malformed and stays as it came. The router refuses it.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

MALFORMED: Final = re.compile("%(?![0-9A-Fa-f]{2})")

_BYTES: Final = {0xDC00 + byte: f"%{byte:02X}" for byte in range(0x80, 0x100)}  # PEP 383


def decode_path(path: str) -> str:
    """The decoded form of an ASCII path; a malformed one is returned as it is."""
    if MALFORMED.search(path):
        return path
    kept = path.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F")
    data = unquote_to_bytes(kept)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return write_bytes(data.decode("utf-8", "surrogateescape"))


def write_bytes(text: str) -> str:
    """The text with percent-encoded bytes in the place of surrogate escapes (PEP 383)."""
    return text.translate(_BYTES)
