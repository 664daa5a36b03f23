"""The reserve of file descriptors."""

import errno
import os
import resource

import pytest

from reactor.net.spare_descriptors import SpareDescriptors

pytestmark = pytest.mark.system


def test_it_holds_descriptors_once_it_is_filled(no_leaks: None) -> None:
    spare = SpareDescriptors(3)
    assert len(spare) == 0
    assert not spare.release()
    spare.fill()
    assert len(spare) == 3
    assert spare.release()
    assert len(spare) == 2
    spare.fill()
    assert len(spare) == 3
    spare.close()
    spare.fill()
    assert len(spare) == 0


def test_a_descriptor_that_is_released_can_be_used(no_leaks: None) -> None:
    spare = SpareDescriptors(4)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first + 3, limits[1]))
    others: list[int] = []
    try:
        spare.fill()
        with pytest.raises(OSError) as caught:
            while True:
                others.append(os.dup(0))
        assert caught.value.errno == errno.EMFILE
        assert len(spare) <= 4
        spare.fill()  # there is nothing to be had, and that is no error
        assert spare.release()
        others.append(os.dup(0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in (first, *others):
            os.close(one)
        spare.close()
