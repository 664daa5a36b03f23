"""Directories that uploads need and that are not there: made from the top down, removed on failure.

A missing directory is made when an upload begins and again when it is published, below the last
directory of its path that is there. It is opened by the descriptor of the one above it, and not
through a link, so nothing is made outside of the mount. Its name is on the disk before anything is
published in it.

An upload that fails removes what it has made, if that is empty still. Two uploads may need one
directory, and a client may delete it while the file for it has no name yet: then DirectoryBusy has
the step repeated, which makes the directory again. All of this waits for the disk and runs on the
pool.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EEXIST, ENOENT, ENOTDIR, ENOTEMPTY
from typing import Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError
from reactor.web.semantics.file_names import is_plain, name_of
from reactor.web.storage.locks import DirectoryBusy
from reactor.web.storage.safe_path import Root
from reactor.web.uploads.publish import sync_directory

log = logging.getLogger("reactor")
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_USED_OR_GONE: Final = frozenset((ENOTEMPTY, EEXIST, ENOENT, ENOTDIR))


class MadeDirectory(NamedTuple):
    """A directory that an upload has made, and the device and inode by which it is known again."""

    segments: tuple[str, ...]
    identity: tuple[int, int]


Made: TypeAlias = list[MadeDirectory]


def open_or_make(root: Root, segments: Sequence[str], depth: int) -> tuple[int, Made]:
    """Open a directory as Root.open_directory does, and make what is missing, with the umask.

    Returns its descriptor and the directories made, the highest first. Raises OSError, with nothing
    left behind; DirectoryBusy where a directory vanishes meanwhile; ProtocolError(409) where a
    directory would be made below more than `depth` - 1 others of the mount.
    """
    there = len(segments)
    while True:
        try:
            directory = root.open_directory(segments[:there])
            break
        except FileNotFoundError:
            if not there or not is_plain(segments):
                raise
            there -= 1
    if there == len(segments):
        return directory, []
    made: Made = []
    try:
        if len(segments) > depth:
            raise ProtocolError(409, f"No directory is made more than {depth} levels deep.")
        for level in range(there, len(segments)):
            below = _enter(directory, tuple(segments[: level + 1]), made)
            os.close(directory)
            directory = below
    except BaseException:
        os.close(directory)
        remove_made(root, made)
        raise
    return directory, made


def _enter(parent: int, segments: tuple[str, ...], made: Made) -> int:
    """Open a directory, and make it if it is missing."""
    name = name_of(segments[-1])
    try:
        try:
            os.mkdir(name, dir_fd=parent)
        except (
            FileExistsError
        ):  # another upload has made it, or it is a link, which is not followed
            return os.open(name, _OPEN, dir_fd=parent)
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        made.append(MadeDirectory(segments, (status.st_dev, status.st_ino)))
        sync_directory(parent)
        return os.open(name, _OPEN, dir_fd=parent)
    except FileNotFoundError:
        raise DirectoryBusy from None  # it, or the one above it, was removed meanwhile


def remove_made(root: Root, made: Made) -> None:
    """Remove the directories of this list that are empty, the lowest first, and clear the list.

    Errors are logged: they must not replace the error that has ended the upload.
    """
    while made:
        segments, identity = made.pop()
        try:
            parent = root.find_directory(segments[:-1])
            try:
                status = os.stat(name_of(segments[-1]), dir_fd=parent, follow_symlinks=False)
                if (status.st_dev, status.st_ino) == identity:
                    os.rmdir(name_of(segments[-1]), dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as error:
            if error.errno not in _USED_OR_GONE:
                log.warning("Cannot remove a directory that an upload has made: %s", error)


def is_gone(directory: int) -> bool:
    """Return whether the open directory was removed."""
    return os.fstat(directory).st_nlink == 0


@contextmanager
def writable_directory(
    root: Root, segments: Sequence[str], depth: int
) -> Iterator[tuple[int, Made]]:
    """Open a directory, or make it, for the length of a `with`; raises as `open_or_make`.

    Directories that are left in the list are removed at the end, if they are empty.
    """
    directory, made = open_or_make(root, segments, depth)
    try:
        yield directory, made
    except FileNotFoundError:
        if is_gone(directory):
            raise DirectoryBusy from None
        raise
    finally:
        os.close(directory)
        remove_made(root, made)
