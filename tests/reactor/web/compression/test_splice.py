"""gzip that is made of parts: any parts, in any pieces, are one member with the right checksum."""

import gzip
import time
import zlib

from hypothesis import given
from hypothesis import strategies as st

from reactor.web.compression.encoders import GZIP_HEADER
from reactor.web.compression.splice import (
    Constant,
    Deflated,
    combine,
    encode_window,
    gzip_end,
    inflate,
    splice,
)

PARTS = st.lists(st.lists(st.binary(max_size=300), max_size=4), max_size=4)


def deflated(pieces: list[bytes]) -> Deflated:
    part = Deflated()
    for piece in pieces:
        part.add(piece)
    return part


@given(PARTS)
def test_a_member_has_the_content_of_all_parts(parts: list[list[bytes]]) -> None:
    made = [deflated(pieces) for pieces in parts]
    member = b"".join(splice(made))
    content = b"".join(piece for pieces in parts for piece in pieces)
    assert gzip.decompress(member) == content
    decoder = zlib.decompressobj(31)  # one member: nothing is left behind it
    assert decoder.decompress(member) == content
    assert (decoder.eof, decoder.unused_data) == (True, b"")
    assert b"".join(plain for part in made for plain in part.plain()) == content


@given(st.binary(max_size=2000))
def test_a_piece_can_be_inflated_alone(data: bytes) -> None:
    part = deflated([b"before", data, b"behind"])
    assert inflate(part.pieces[1]) == data
    assert part.length == len(data) + 12
    assert part.size == sum(map(len, part.pieces))


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_a_constant_is_a_part_of_any_member(data: bytes, other: bytes) -> None:
    constant, part = Constant(data), deflated([other])
    for parts in ([constant], [part, constant], [constant, part, constant]):
        plain = b"".join(piece for one in parts for piece in one.plain())
        assert gzip.decompress(b"".join(splice(parts))) == plain
    assert (constant.data, constant.length) == (data, len(data))


@given(st.binary(max_size=200), st.binary(max_size=3000))
def test_checksums_combine(first: bytes, second: bytes) -> None:
    both = combine(zlib.crc32(first), zlib.crc32(second), len(second))
    assert both == zlib.crc32(first + second)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**45), st.integers(0, 2**45))
def test_checksums_of_long_parts_combine_in_any_order(one: int, length: int, other: int) -> None:
    left = combine(combine(one, 2, length), 3, other)
    assert left == combine(one, combine(2, 3, other), length + other)


def test_the_checksum_of_a_long_part() -> None:
    zeros = bytes(2**24 + 3)
    both = combine(zlib.crc32(b"first"), zlib.crc32(zeros), len(zeros))
    assert both == zlib.crc32(zeros, zlib.crc32(b"first"))


def test_the_same_part_serves_many_members() -> None:
    middle = deflated([b"m" * 10_000, b"n" * 10_000])
    for head in (b"", b"one", b"another"):
        member = b"".join(splice([deflated([head]), middle]))
        assert gzip.decompress(member) == head + b"m" * 10_000 + b"n" * 10_000


def test_combining_takes_no_time_that_grows_with_the_length() -> None:
    began = time.thread_time()
    for length in range(2**50, 2**50 + 20):
        combine(1, 2, length)
    assert time.thread_time() - began < 1


# --- windows --------------------------------------------------------------------------------------


def joined(pieces: list[bytes]) -> bytes:
    checksum = size = 0
    encoded = [GZIP_HEADER]
    for piece in pieces:
        window = encode_window(piece)
        encoded.append(window.encoded)
        checksum = combine(checksum, window.checksum, window.size)
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


def test_a_window_can_be_decoded_when_it_has_come() -> None:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(GZIP_HEADER) == b""
    for text in (b"first" * 1000, b"second", b"third" * 50_000):
        assert decoder.decompress(encode_window(text).encoded) == text


def test_equal_windows_are_equal_bytes() -> None:
    assert joined([b"one" * 100, b"two"]) == joined([b"one" * 100, b"two"])


def test_4_gib_and_more_count_modulo_their_size() -> None:
    assert gzip_end(7, (1 << 32) + 5) == gzip_end(7, 5)
    zeros = bytes(1 << 20)
    expected = checksum = zlib.crc32(zeros)
    for _ in range(63):
        checksum = combine(checksum, zlib.crc32(zeros), len(zeros))
        expected = zlib.crc32(zeros, expected)
    assert checksum == expected
