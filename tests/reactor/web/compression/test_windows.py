"""gzip in windows: joined in any way, they are the bytes that they were made of."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from reactor.web.compression.windows import (
    GZIP_HEAD,
    encode_window,
    gzip_end,
    joined_checksum,
)


def joined(pieces: list[bytes]) -> bytes:
    checksum = size = 0
    encoded = [GZIP_HEAD]
    for piece in pieces:
        window = encode_window(piece)
        encoded.append(window.encoded)
        checksum = joined_checksum(checksum, window.checksum, window.size)
        size += window.size
    return b"".join([*encoded, gzip_end(checksum, size)])


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_windows_are_one_member_of_gzip(pieces: list[bytes]) -> None:
    encoded = joined(pieces)
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(encoded) + decoder.flush() == b"".join(pieces)
    assert decoder.eof
    assert not decoder.unused_data, "a second member, which browsers ignore"
    assert gzip.decompress(encoded) == b"".join(pieces)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_checksums_are_joined(first: bytes, second: bytes) -> None:
    checksum = joined_checksum(zlib.crc32(first), zlib.crc32(second), len(second))
    assert checksum == zlib.crc32(first + second)


def test_a_window_can_be_decoded_when_it_has_come() -> None:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(GZIP_HEAD) == b""
    for text in (b"first" * 1000, b"second", b"third" * 50_000):
        assert decoder.decompress(encode_window(text).encoded) == text


def test_equal_windows_are_equal_bytes() -> None:
    assert joined([b"one" * 100, b"two"]) == joined([b"one" * 100, b"two"])


def test_4_gib_and_more_count_modulo_their_size() -> None:
    assert gzip_end(7, (1 << 32) + 5) == gzip_end(7, 5)
    zeros = bytes(1 << 20)
    expected = checksum = zlib.crc32(zeros)
    for _ in range(63):
        checksum = joined_checksum(checksum, zlib.crc32(zeros), len(zeros))
        expected = zlib.crc32(zeros, expected)
    assert checksum == expected
