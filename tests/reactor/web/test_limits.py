"""The limits of all packages in one object, and what a server without some of them has."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from reactor import Limits
from reactor.config.options import rows
from reactor.limits import ServerLimits
from reactor.web.semantics.limits import FormLimits
from reactor.web.static.limits import FileLimits
from reactor.web.uploads.limits import UploadLimits

TABLES = (ServerLimits, FormLimits, FileLimits, UploadLimits)


def test_it_has_the_fields_of_every_table_once() -> None:
    names = [one.name for one in fields(Limits)]
    assert len(names) == len(set(names))
    assert set(names) == {one.name for table in TABLES for one in fields(table)}
    for table in TABLES:
        for one in fields(table):
            assert getattr(Limits(), one.name) == getattr(table(), one.name)


def test_every_field_is_a_row() -> None:
    assert [row.name for row in rows(Limits)] == [one.name for one in fields(Limits)]


def test_fields_are_arguments_by_name() -> None:
    limits = Limits(ranges=8, idle_timeout=3)
    assert (limits.ranges, limits.idle_timeout, limits.backlog) == (8, 3, 4096)
    assert replace(limits, ranges=9).idle_timeout == 3
    with pytest.raises(TypeError):
        Limits(rangs=8)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Limits(8)  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        limits.ranges = 9  # type: ignore[misc]


def test_a_table_keeps_what_the_server_has_and_adds_its_defaults() -> None:
    limits = Limits(ranges=8)
    assert FileLimits.of(limits) is limits
    assert Limits.of(limits) is limits
    found = Limits.of(ServerLimits(upload_bytes=7))
    assert (type(found), found.upload_bytes, found.ranges) == (Limits, 7, 32)
    other = FileLimits.of(UploadLimits(upload_bytes=7, resumable_bytes=9))
    assert (type(other), other.upload_bytes, other.ranges) == (FileLimits, 7, 32)
