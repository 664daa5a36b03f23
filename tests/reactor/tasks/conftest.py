"""The world of tasks: a loop whose time is a number."""

import sys
from collections.abc import Iterator

import pytest

from tests.support.worlds import RuntimeWorld


@pytest.fixture
def world() -> Iterator[RuntimeWorld]:
    hooks = sys.get_asyncgen_hooks()
    world = RuntimeWorld()
    yield world
    sys.set_asyncgen_hooks(*hooks)
    world.pool.close()
    world.reactor.close()
