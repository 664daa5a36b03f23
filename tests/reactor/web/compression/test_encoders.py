"""Content codings: which types shrink, and that encoded data can be decoded, whole and by pieces.

gzip is decoded by the standard library. zstd is the standard library's own from Python 3.14 on;
before that it is a double (tests/support/zstd_double.py), which shows that it is called as
documented, not that its bytes are zstd.
"""

import gzip
import sys
import zlib
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor.web.compression import encoders
from reactor.web.compression.encoders import (
    INLINE_BYTES,
    LEAST_BYTES,
    MADE,
    STORED_BYTES,
    encode,
    gzip_bytes,
    new_encoder,
    shrinks,
)
from tests.support import zstd_double
from tests.support.zstd_double import Reader, decode

BOTH = ["gzip", "zstd"]
TEXTS = st.one_of(
    st.binary(max_size=STORED_BYTES + 5),
    st.binary(max_size=3000),
    st.builds(lambda piece, count: piece * count, st.binary(min_size=1), st.integers(0, 5000)),
)


pytestmark = pytest.mark.usefixtures("zstd_or_double")


# --- whole bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*range(STORED_BYTES + 3), 1000, 70_000])
def test_it_is_gzip(size: int) -> None:
    data = bytes(number * 7 & 0xFF for number in range(size))
    assert gzip.decompress(gzip_bytes(data)) == data


@pytest.mark.parametrize("coding", BOTH)
@given(data=TEXTS)
def test_encoded_data_can_be_decoded(coding: str, data: bytes) -> None:
    encoded = encode(data, coding)
    assert type(encoded) is bytes
    assert decode(encoded, coding) == data
    assert encode(memoryview(data), coding) == encoded


def test_repetitive_data_shrinks() -> None:
    for coding in BOTH:
        assert len(encode(b"a" * 1000, coding)) < 50


def test_the_same_data_gives_the_same_bytes() -> None:
    """No time stamp: two servers, or two moments, do not differ (RFC 1952, section 2.3.1)."""
    for data in (b"short", b"long" * 100):
        assert gzip_bytes(data)[4:8] == bytes(4)
        assert new_encoder("gzip").encode(data)[4:8] == bytes(4)


def test_a_stored_body_grows_by_a_constant() -> None:
    """The frame of a member is 18 bytes, that of a stored block 5."""
    assert [len(gzip_bytes(bytes(size))) - size for size in range(STORED_BYTES + 1)] == [23] * 33


@pytest.mark.parametrize("coding", ["", "identity", "br", "deflate", "GZIP", "x-gzip"])
def test_an_unknown_coding_is_an_error(coding: str) -> None:
    with pytest.raises(ValueError):
        encode(b"", coding)
    with pytest.raises(ValueError):
        new_encoder(coding)


# --- pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", BOTH)
@settings(max_examples=60)
@given(pieces=st.lists(TEXTS.filter(bool), max_size=6))
def test_every_piece_can_be_decoded_at_once(coding: str, pieces: list[bytes]) -> None:
    encoder, reader = new_encoder(coding), Reader(coding)
    for piece in pieces:
        assert reader.read(encoder.encode(piece)) == piece
        assert not reader.ended
    assert reader.read(encoder.end()) == b""
    assert reader.ended


def test_a_piece_profits_from_those_before_it() -> None:
    """One stream, not a member per piece: a repeated event costs next to nothing."""
    event = bytes(range(200))
    for coding in BOTH:
        encoder = new_encoder(coding)
        assert len(encoder.encode(event)) > 200
        assert len(encoder.encode(event)) < 30


def test_an_encoder_of_a_stream_looks_back_8_kib() -> None:
    """So it takes little memory; the second half repeats the first, but too far away."""
    noise = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "big") for n in range(2500))
    encoder = new_encoder("gzip")
    assert len(encoder.encode(noise)) > 10_000
    assert len(encoder.encode(noise)) > 10_000
    assert len(gzip_bytes(noise + noise)) < 11_000


# --- which types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "TEXT/HTML",
        "text/event-stream",
        "text/javascript;charset=utf-8",
        " text/css ; charset=utf-8",
        "application/json",
        "application/json;charset=utf-8",
        "Application/LD+JSON",
        "application/problem+json; profile=x",
        "application/manifest+json",
        "application/geo+json-seq",
        "application/xml",
        "application/xhtml+xml",
        "application/atom+xml",
        "application/openapi+yaml",
        "application/javascript",
        "application/wasm",
        "image/svg+xml",
        "image/bmp",
        "image/vnd.microsoft.icon",
        "font/ttf",
        "font/otf",
    ],
)
def test_types_that_shrink(media_type: str) -> None:
    assert shrinks(media_type)


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text",
        "textual/plain",
        "application/octet-stream",
        "application/octet-stream; as=text/plain",
        "application/gzip",
        "application/zip",
        "application/epub+zip",
        "application/json+zip",
        "application/pdf",
        "application/jsonx",
        "image/png",
        "image/jpeg",
        "image/png;name=x+xml",
        "font/woff",
        "font/woff2",
        "video/mp4",
        "audio/ogg",
        "multipart/form-data; boundary=text/plain",
    ],
)
def test_types_that_do_not_shrink(media_type: str) -> None:
    assert not shrinks(media_type)


# --- which codings there are ---------------------------------------------------------------------


def test_zstd_comes_first_where_python_has_it() -> None:
    expected = ("zstd", "gzip") if encoders._module("compression.zstd") else ("gzip",)
    assert expected == MADE


def test_a_module_that_is_there_and_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoders._module("zlib") is zlib
    assert encoders._module("no_such_package.zstd") is None
    assert encoders._module("zlib.zstd") is None
    # A package as 3.14 has it, and one whose C library was missing when Python was built.
    package = ModuleType("compression_double")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "compression_double", package)
    assert encoders._module("compression_double.zstd") is None
    monkeypatch.setitem(sys.modules, "compression_double.zstd", zstd_double)
    assert encoders._module("compression_double.zstd") is zstd_double


def test_without_the_module_zstd_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_zstd", None)
    with pytest.raises(ValueError):
        encode(b"", "zstd")
    with pytest.raises(ValueError):
        new_encoder("zstd")


def test_the_sizes() -> None:
    """A body that goes to a thread is always worth compressing."""
    assert STORED_BYTES < LEAST_BYTES < INLINE_BYTES
    assert (LEAST_BYTES, INLINE_BYTES) == (1024, 4096)
