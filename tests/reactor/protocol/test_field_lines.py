"""Field lines: which of them are remembered, and that remembering changes nothing."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.errors import ProtocolError
from reactor.protocol import field_lines
from reactor.protocol.field_lines import (
    BLOCK_BYTES,
    BLOCKS,
    LINE_CHARACTERS,
    LINES,
    FieldReader,
    MalformedHeadError,
)

BROWSER = b"\r\nHost: a.test\r\nConnection: keep-alive\r\nUser-Agent: x\r\nAccept: */*"
COOKIE = b"\r\nCookie: id=secret"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    field_lines._lines.clear()
    yield
    field_lines._lines.clear()


def outcome(reader: FieldReader, fields: bytes) -> object:
    """All that the parser learns of the fields."""
    try:
        headers, values, host, is_framing = reader.blocks.get(fields) or reader.read(fields)
    except MalformedHeadError:
        return "malformed"
    except ProtocolError as error:
        return error.status, error.reason
    assert dict(headers) == {name: values[name.lower()] for name in headers}
    return list(headers.fields()), values, host, is_framing


LINE = st.sampled_from(
    [
        *(b"Host: a", b"host: b", b"Host: [", b"Connection: close", b"connection: x"),
        *(b"Cookie: a=1", b"Cookie:b=2 ", b"cookie: c=3", b"COOKIE:", b"Cookie: \x00", b"Cookie"),
        *(b"Cookie : a", b"X: Cookie: a", b"Accept: */*", b"Accept: \xff\t", b"Accept: \x7f"),
        *(b"Accept: a\r", b"\rAccept: a", b"X: a\n", b"", b" folded", b"X-Cookie: a", b"a:b"),
        *(b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Authorization: me"),
    ]
)


@given(st.lists(st.lists(LINE, max_size=6), min_size=1, max_size=6), st.integers(1, 6))
def test_earlier_blocks_change_nothing(blocks: list[list[bytes]], most: int) -> None:
    """Each block alone, behind others, and again."""
    whole = [b"".join(b"\r\n" + line for line in lines) for lines in blocks]
    used = FieldReader(most, 0)
    for fields in [*whole, *whole]:
        after_others = outcome(used, fields)
        field_lines._lines.clear()
        assert outcome(FieldReader(most, 0), fields) == after_others


def test_a_known_block_with_another_cookie() -> None:
    reader = FieldReader(100, 0)
    for value in (b"a", b"b", b" c\t", b""):
        block = reader.read(BROWSER + b"\r\nCookie:" + value)
        assert block[0]["cookie"] == block[1]["cookie"] == value.strip().decode()
        assert list(block[0]) == ["Host", "Connection", "User-Agent", "Accept", "Cookie"]
        assert (block[2], block[3]) == ("a.test", True)
    assert list(reader.blocks) == [BROWSER]
    assert "cookie" not in reader.blocks[BROWSER][1]


@pytest.mark.parametrize("value", [b"\x00", b"a\rb", b"a\nb", b"\x7f", b"a\r"])
def test_a_malformed_cookie_beside_a_known_block(value: bytes) -> None:
    reader = FieldReader(100, 0)
    reader.read(BROWSER + COOKIE)
    for fields in (BROWSER + b"\r\nCookie: " + value, b"\r\nCookie: " + value + BROWSER):
        with pytest.raises(MalformedHeadError):
            reader.read(fields)


def test_a_cookie_counts_as_a_line() -> None:
    reader = FieldReader(4, 0)
    reader.read(BROWSER)
    with pytest.raises(MalformedHeadError):
        reader.read(BROWSER + COOKIE)
    with pytest.raises(MalformedHeadError):
        FieldReader(4, 0).read(COOKIE + BROWSER)
    FieldReader(5, 0).read(COOKIE + BROWSER)


def test_several_cookies_are_joined_in_their_order() -> None:
    reader = FieldReader(100, 0)
    for _ in range(2):
        headers, *_ = reader.read(b"\r\nCookie: a" + BROWSER + b"\r\ncookie: b\r\nCookie: c")
        assert headers["cookie"] == "a, b, c"


@pytest.mark.parametrize("name", ["Cookie", "cookie", "Authorization", "X-Api-Key", "Set-Cookie"])
def test_no_secret_is_remembered(name: str) -> None:
    reader = FieldReader(100, 0)
    for number in range(3):
        reader.read(BROWSER + f"\r\n{name}: secret{number}\r\nTE: trailers".encode())
    assert "secret" not in repr((list(reader.blocks), reader.blocks, field_lines._lines))


def test_memory_is_bounded() -> None:
    reader = FieldReader(100, 0)
    for number in range(3 * LINES):
        reader.read(b"\r\nUser-Agent: %d" % number)
        assert len(field_lines._lines) <= LINES
        assert len(reader.blocks) <= BLOCKS
    field_lines._lines.clear()
    reader.blocks.clear()
    reader.read(b"\r\nUser-Agent: " + b"x" * BLOCK_BYTES)
    assert not reader.blocks
    assert not field_lines._lines
    reader.read(b"\r\nUser-Agent: " + b"x" * LINE_CHARACTERS)
    assert reader.blocks
    assert not field_lines._lines


def test_a_malformed_block_is_refused_again_and_again() -> None:
    reader = FieldReader(100, 0)
    for _ in range(3):
        with pytest.raises(MalformedHeadError):
            reader.read(BROWSER + b"\r\nAccept: \x01")
        with pytest.raises(ProtocolError, match="not a host name"):
            reader.read(b"\r\nHost: a b")
        with pytest.raises(ProtocolError, match="two Host fields"):
            reader.read(b"\r\nHost: a\r\nHost: a")
    assert not reader.blocks
