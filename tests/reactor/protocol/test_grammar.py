"""Patterns that several modules share."""

import re
import string

import pytest

from reactor.protocol.grammar import SEGMENT_SAFE, TOKEN, TOKEN_TEXT, is_token, list_members

TCHARS = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"  # RFC 9110, section 5.6.2


def test_characters_of_a_token() -> None:
    for char in map(chr, range(0x180)):
        assert is_token(char) is (char in TCHARS), char
        assert is_token(f"a{char}") is (char in TCHARS), char
        assert is_token(f"{char}a") is (char in TCHARS), char
        assert bool(re.fullmatch(TOKEN_TEXT, char)) is (char in TCHARS)
    for byte in range(256):
        assert bool(re.fullmatch(TOKEN, bytes([byte]))) is (chr(byte) in TCHARS)


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n", "a b", "a:", "a,b", "(a)"])
def test_other_texts_are_no_tokens(text: str) -> None:
    assert not is_token(text)


def test_characters_of_a_segment() -> None:
    """RFC 3986, section 3.3: sub-delims, ":" and "@", and the one unreserved sign left."""
    assert set(SEGMENT_SAFE) == set("!$&'()*+,;=") | set(":@") | {"~"}


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("", []),
        (" , ,", []),
        ("a", ["a"]),
        (" a ,\tb;c=d,,", ["a", "b;c=d"]),
        ('a;b=", c, ", d', ['a;b=", c, "', "d"]),
        (r'a="\", b", c', [r'a="\", b"', "c"]),
        (r'a="\\", b', [r'a="\\"', "b"]),
        ('a, b="c, d', ["a", 'b="c, d']),
        ('"', ['"']),
        ('"\\', ['"\\']),
    ],
)
def test_members_of_a_list(value: str, members: list[str]) -> None:
    assert list_members(value) == members
