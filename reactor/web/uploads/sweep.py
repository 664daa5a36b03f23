"""Removes the unfinished files that a killed server has left."""

import logging
import os
import stat
from collections.abc import Iterator
from typing import Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.tasks.operations import in_pool, sleep
from reactor.web.semantics.file_names import is_plain
from reactor.web.storage.locks import try_lock
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.atomic_file import _FLAGS, _TEMPORARY

Segments: TypeAlias = tuple[str, ...]  # the names of a path below the root
log = logging.getLogger("reactor")
_LEFT_OVER: Final = _FLAGS | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO of that name is not waited for
_BATCH: Final = 500  # names that one job of a sweep looks at


async def sweep(root: Root) -> int:
    """Remove the unfinished files below the root that nobody holds; how many there were.

    Links are not followed, and directories that no upload can go to are not looked into. Whatever
    cannot be read or removed is told in the log, and left.
    """
    removed = 0
    directories: list[Segments] = [()]
    while directories:
        visit = _visit(root, directories.pop(), directories)
        while (count := await _step(visit)) is not None:
            removed += count
    return removed


async def _step(visit: Iterator[int]) -> int | None:
    """There is no hurry: a pool that is full goes first."""
    while True:
        try:
            return await in_pool(next, visit, None)
        except ProtocolError:
            await sleep(1)


def _visit(root: Root, segments: Segments, found: list[Segments]) -> Iterator[int]:
    """Tidy one directory up, a batch at a time; those in it are added to `found`."""
    try:
        directory = root.open_directory(segments)
        try:
            yield from _tidy(directory, segments, found)
        finally:
            os.close(directory)
    except FileNotFoundError:
        pass  # it has gone
    except OSError as error:
        log.warning("cannot look for left-over uploads in %r: %s", "/".join(segments), error)


def _tidy(directory: int, segments: Segments, found: list[Segments]) -> Iterator[int]:
    removed = 0
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries, 1):
            if _TEMPORARY.fullmatch(entry.name):
                removed += _remove_left_over(entry.name, directory, segments)
            elif entry.is_dir(follow_symlinks=False) and _is_name(entry.name):
                found.append((*segments, entry.name))
            if number % _BATCH == 0:
                yield removed
                removed = 0
    yield removed


def _is_name(name: str) -> bool:
    try:
        return is_plain((name,))
    except UnicodeEncodeError:  # its bytes are no UTF-8: no path means it
        return False


def _remove_left_over(name: str, directory: int, segments: Segments) -> bool:
    """Unlink it if nobody holds it. It is locked meanwhile: who makes one sees that (`hold`)."""
    path = "/".join((*segments, name))
    try:
        file = os.open(name, _LEFT_OVER, dir_fd=directory)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode) or not try_lock(file):
                return False
            os.unlink(name, dir_fd=directory)
        finally:
            os.close(file)
    except FileNotFoundError:
        return False  # it has its own name now
    except OSError as error:
        log.warning("cannot tell whether %s is left over: %s", path, error)
        return False
    log.info("removed %s, left over from an upload that broke off", path)
    return True
