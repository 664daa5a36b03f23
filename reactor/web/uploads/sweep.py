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
from reactor.web.uploads.publish import TEMPORARY

Segments: TypeAlias = tuple[str, ...]  # the names of a path below the root
log = logging.getLogger("reactor")
# A FIFO of that name is not waited for.
_LEFT_OVER: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_BATCH: Final = 500  # names that one job examines


async def sweep(root: Root) -> int:
    """Remove the unfinished files below the root that no process has locked; return their number.

    Links are not followed, and directories into which no upload can go are skipped. Files and
    directories that cannot be read or removed are logged, and left.
    """
    removed = 0
    directories: list[Segments] = [()]
    while directories:
        visit = _visit(root, directories.pop(), directories)
        while (count := await _step(visit)) is not None:
            removed += count
    return removed


async def _step(visit: Iterator[int]) -> int | None:
    """Run one step on the pool. There is no hurry: while the pool is full, wait."""
    while True:
        try:
            return await in_pool(next, visit, None)
        except ProtocolError:
            await sleep(1)


def _visit(root: Root, segments: Segments, found: list[Segments]) -> Iterator[int]:
    """Tidy one directory up, a batch at a time; the directories in it are added to `found`."""
    try:
        directory = root.open_directory(segments)
        try:
            yield from _tidy(directory, segments, found)
        finally:
            os.close(directory)
    except FileNotFoundError:
        pass  # it has gone
    except OSError as error:
        log.warning("Cannot search %r for left-over uploads: %s", "/".join(segments), error)


def _tidy(directory: int, segments: Segments, found: list[Segments]) -> Iterator[int]:
    removed = 0
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries, 1):
            if TEMPORARY.fullmatch(entry.name):
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
    except UnicodeEncodeError:  # its bytes are not UTF-8: no path means it
        return False


def _remove_left_over(name: str, directory: int, segments: Segments) -> bool:
    """Unlink a file if no process has locked it.

    It is locked meanwhile, and its maker finds that out (`lock_while_open`).
    """
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
        return False  # it is published, or removed
    except OSError as error:
        log.warning("Cannot check whether %s is left over: %s", path, error)
        return False
    log.info("Removed %s, left over from an interrupted upload", path)
    return True
