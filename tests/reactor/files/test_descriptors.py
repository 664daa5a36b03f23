"""Descriptors for short use, told from the others by their number."""

import errno
import resource

import pytest

from reactor.files import descriptors
from reactor.files.descriptors import (
    SPARE_MOST,
    check_lasting,
    is_scarce,
    most_descriptors,
    spare_descriptors,
)


def limit_to(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda which: (soft, soft))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("soft", "most", "spare", "first_scarce"),
    [
        (1024, 1024, 64, 1024 - 128 - 64),
        (65536, 65536, SPARE_MOST, 65536 - 8192 - 64),
        (60, 60, 3, 50),
        (10, 10, 1, 8),
        (resource.RLIM_INFINITY, 1 << 20, 64, (1 << 20) - (1 << 17) - 64),
    ],
)
def test_the_shares(
    soft: int, most: int, spare: int, first_scarce: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_to(monkeypatch, soft)
    assert most_descriptors() == most
    assert spare_descriptors() == spare
    assert is_scarce(first_scarce)
    assert not is_scarce(first_scarce - 1)
    check_lasting(first_scarce - 1)
    with pytest.raises(OSError) as caught:
        check_lasting(first_scarce)
    assert caught.value.errno == errno.EMFILE
