"""Fixtures of several packages of the application layer."""

from collections.abc import Iterator

import pytest

from reactor.web.compression import encoders
from tests.support import zstd_double


@pytest.fixture(scope="module")
def zstd_or_double() -> Iterator[None]:
    """Have zstd on every Python: a double replaces the module that comes with 3.14."""
    patch = pytest.MonkeyPatch()
    if encoders._zstd is None:
        patch.setattr(encoders, "_zstd", zstd_double)
    yield
    patch.undo()
