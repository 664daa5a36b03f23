r"""Escaped text: one line, no power, its bytes as they came, and never longer than its limit."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reactor.observe.escaping import CUT, escaper, json_quoter

escape = escaper(1024)
quote = json_quoter(1024)

ANY_BYTES = st.binary(max_size=100).map(lambda data: data.decode("latin-1"))
# Pieces of escapes and of characters, which come together in unlucky ways.
PIECES = st.lists(
    st.sampled_from(
        ["\\", "x", "\\x", "\\x4", "f", "\\xff", "\\udc80", "\\ue00a", "\xff", "\xc3", "\xa9", '"']
    ),
    max_size=12,
).map("".join)


def unescaped(shown: str) -> bytes:
    r"""The bytes that escaped text stands for, by the rule of the documentation."""
    return re.sub(
        rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), shown.encode()
    )


@pytest.mark.parametrize(
    ("sent", "text", "value"),
    [
        (b"/plain?x=1", "/plain?x=1", "/plain?x=1"),
        (b"/\xff\xfe", r"/\xff\xfe", r"/\xff\xfe"),
        ("/caf\xe9 \u2603".encode(), r"/caf\xc3\xa9 \xe2\x98\x83", "/caf\xe9 \u2603"),
        (b"/\xe9t\xc3\xa9", r"/\xe9t\xc3\xa9", "/\\xe9t\xe9"),
        (b'a"b\\c\n\x1b[0m', r"a\x22b\x5cc\x0a\x1b[0m", 'a"b\\c\n\x1b[0m'),
        (rb"\xff", r"\x5cxff", r"\x5cxff"),
        (b"\\x\xff", r"\x5cx\xff", "\\x\\xff"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80", r"\xed\xa0\x80"),  # a surrogate is no UTF-8
    ],
)
def test_bytes_are_shown_as_they_came(sent: bytes, text: str, value: str) -> None:
    assert escape(sent.decode("latin-1")) == text
    assert json.loads(quote(sent.decode("latin-1"))) == value


@given(ANY_BYTES | PIECES)
def test_bytes_can_be_read_back(text: str) -> None:
    sent = text.encode("latin-1")
    assert re.fullmatch(r"(?:[ !#-\[\]-~]|\\x[0-9a-f]{2})*", escape(text))
    assert unescaped(escape(text)) == sent
    assert unescaped(json.loads(quote(text))) == sent


@given(st.text(max_size=50))
def test_any_text_of_our_own_is_one_line(text: str) -> None:
    assert re.fullmatch(r"[ -~]*", escape(text))
    assert quote(text).isprintable()


@given(ANY_BYTES | PIECES | st.text(max_size=40), st.integers(1, 40))
@example("\x80000\u0100", 4)  # its beginning alone could be bytes
def test_long_text_is_cut_between_two_characters(text: str, most: int) -> None:
    """Also between two escapes: there is more of the text than before the cut."""
    shown = escaper(most)(text)
    assert len(shown.removesuffix(CUT)) <= most
    assert escaper(1000)(text).startswith(shown.removesuffix(CUT))
    assert shown.endswith(CUT) == (len(escaper(1000)(text)) > most)
    value = json.loads(json_quoter(most)(text))
    assert len(value.removesuffix(CUT).encode()) <= most
    assert re.sub(r"\\x..", "", value).isascii() or "\ufffd" not in value


def test_printable_characters_are_text_in_json() -> None:
    """Text that a terminal might obey is escaped, in any encoding."""
    assert quote("caf\xc3\xa9") == '"caf\xe9"'
    for dangerous in ("\x1b[2J", "\x9b2J", "\u009b", "\u202e", "\u2028", "\x7f", "\r\n"):
        shown = quote(dangerous.encode().decode("latin-1"))
        assert shown.isascii()
        assert shown.isprintable()
        assert json.loads(shown) == dangerous.encode().decode("utf-8", "replace")


@pytest.mark.parametrize("byte", ["\x80", "\xff", "\n", '"', "\\", "a", "\xc3\xa9"])
def test_a_field_has_a_kibibyte_at_most(byte: str) -> None:
    assert len(escape(byte * 32_000)) <= 1025
    assert len(json.loads(quote(byte * 32_000)).encode()) <= 1024 + len(CUT.encode())
    assert escape(byte * 32_000).endswith(CUT)
    assert json.loads(quote(byte * 32_000)).endswith(CUT)
