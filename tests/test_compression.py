"""gzip of short and long bodies, read back by the standard library."""

import gzip

import pytest

from handlers.compression import STORED_BYTES, gzip_bytes


@pytest.mark.parametrize("size", [*range(STORED_BYTES + 3), 1000, 70_000])
def test_it_is_gzip(size: int) -> None:
    data = bytes(number * 7 & 0xFF for number in range(size))
    assert gzip.decompress(gzip_bytes(data)) == data


def test_what_can_shrink_does() -> None:
    assert len(gzip_bytes(b"a" * 1000)) < 50


def test_the_same_data_gives_the_same_bytes() -> None:
    """No time stamp: two servers, or two moments, do not differ (RFC 1952, section 2.3.1)."""
    for data in (b"short", b"long" * 100):
        assert gzip_bytes(data)[4:8] == bytes(4)
