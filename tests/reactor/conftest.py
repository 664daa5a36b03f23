"""The fixture that tests of the loop share."""

from collections.abc import Iterator

import pytest

from tests.support.fake_loop import LoopWorld


@pytest.fixture
def world() -> Iterator[LoopWorld]:
    """A loop whose time and ready sockets the test decides; many modules have another world."""
    world = LoopWorld()
    yield world
    world.reactor.close()
