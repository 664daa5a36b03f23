r"""Shows text that a client has chosen, in one line, without its power and in bounded space.

Such text is bytes: parsers decode them as Latin-1, so that each character is a byte. Text of our
own may have other characters; then it is taken as its UTF-8.

A line of text shows printable ASCII as it is, and every other byte, the quote and the backslash as
\xNN. JSON shows UTF-8 as text; \xNN stands for a byte that is not part of it, and for the backslash
before text that looks so (\x5c): replacing each \xNN by its byte yields the bytes that came.

Text that is longer than its limit is cut there, and ends with CUT. Both kinds are made by a few
passes in C, whose time is nanoseconds for each byte.
"""

import re
from codecs import charmap_decode, utf_8_decode
from collections.abc import Callable
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Final

CUT: Final = "\u2026"  # an ellipsis

_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_LIKE_AN_ESCAPE: Final = re.compile(rb"\\(?=x[0-9a-f]{2}|udc)")
_ESCAPE_LENGTH: Final = len(r"\xNN")

# One character for each byte: itself, or one of a private area, which `backslashreplace` shows as
# \ue0NN.
_SHOWN: Final = "".join(
    chr(0xE000 + byte) if _UNSAFE.match(chr(byte)) else chr(byte) for byte in range(256)
)


def escaper(most: int) -> Callable[[str], str]:
    """A function that returns text as printable ASCII of `most` bytes at most, and CUT."""
    unsafe = _UNSAFE.search

    def escape(text: str) -> str:
        if len(text) <= most and unsafe(text) is None:
            return text
        data = _bytes(text)
        private, _ = charmap_decode(data[:most], "strict", _SHOWN)
        shown = private.encode("ascii", "backslashreplace").replace(rb"\ue0", rb"\x")
        if len(data) <= most and len(shown) <= most:
            return shown.decode("ascii")
        return _cut(shown, most)

    return escape


def json_quoter(most: int) -> Callable[[str], str]:
    """A function that returns text as a JSON string, of `most` bytes at most, and CUT."""

    def quote(text: str) -> str:
        data = _bytes(text)
        whole = len(data) <= most
        data = _LIKE_AN_ESCAPE.sub(rb"\\x5c", data[:most])
        # Each byte that is not UTF-8 becomes a surrogate, which `backslashreplace` shows as \udcNN.
        # Where the text was cut, so may be its last character: it is left out.
        decoded, _ = utf_8_decode(data, "surrogateescape", whole)
        shown = decoded.encode("utf-8", "backslashreplace").replace(rb"\udc", rb"\x")
        text = shown.decode() if whole and len(shown) <= most else _cut(shown, most)
        return encode_basestring(text) if text.isprintable() else encode_basestring_ascii(text)

    return quote


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _cut(shown: bytes, most: int) -> str:
    """The first bytes of escaped text, without a piece of an escape or a character, and CUT."""
    end = shown.rfind(b"\\", max(0, most - _ESCAPE_LENGTH + 1), most)
    return shown[: most if end < 0 else end].decode("utf-8", "ignore") + CUT
