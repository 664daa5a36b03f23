"""Publishing: an unfinished file, complete on the disk, takes its name; and a name is removed.

rename(2) puts the file in its place: readers see the old file or the new one, and of two uploads
the one that ends last wins, whole. The status behind the name is checked, with any precondition on
it, under the same lock of the directory as the rename (see storage/locks.py): no program that keeps
to these locks changes the name in between.

An unfinished file that has a name at all has one that begins with a dot, which is never served, and
by which the sweep knows it. All of this waits for the disk and runs on the pool.
"""

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from reactor.errors import ProtocolError
from reactor.web.semantics.file_names import name_of
from reactor.web.storage.locks import DirectoryBusy, directory_lock
from reactor.web.storage.safe_path import Place, Root, place_in

log = logging.getLogger("reactor")
TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.part")  # the names of `temporary_name`
# The errors of file systems that have no hard links, or none for this file.
NO_LINKS: Final = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))

Precondition: TypeAlias = Callable[[os.stat_result | None], None]


class Published(NamedTuple):
    """The result of publishing: whether a file was replaced, and the place of the new one."""

    replaced: bool
    place: Place


def temporary_name() -> str:
    """Return a new name for an unfinished file."""
    return f".{os.urandom(8).hex()}.part"


def add_temporary_name(name: str, directory: int, target: int) -> str | None:
    """Give a file a second, temporary name in another open directory; return it.

    The sweep there removes it if the server is killed. Returns None where the directories are on
    different file systems, or have no hard links. Raises OSError.
    """
    temporary = temporary_name()
    try:
        os.link(name, temporary, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV or error.errno in NO_LINKS:
            return None
        raise
    return temporary


def publish_file(
    root: Root,
    segments: Sequence[str],
    directory: int,
    temporary: str,
    precondition: Precondition | None,
) -> Published:
    """Give the file its name as `take_name` does, on the disk. Raises what `take_name` raises."""
    published = take_name(root, segments, directory, temporary, precondition)
    sync_directory(directory)
    return published


def take_name(
    root: Root,
    segments: Sequence[str],
    directory: int,
    temporary: str,
    precondition: Precondition | None,
) -> Published:
    """Give the file `temporary` in the open directory, which is on the disk already, its name.

    The name is on the disk after `sync_directory`. Raises, with nothing changed, DirectoryBusy;
    what the precondition raises; ProtocolError for a name that is not a file's; OSError.
    """
    with directory_lock(directory):
        status = status_behind(root, segments, directory)
        if precondition is not None:
            precondition(status)
        if status is not None or precondition is None:
            _rename(temporary, segments, directory)
        else:
            _take_free_name(temporary, segments, directory)
    return Published(status is not None, place_in(directory, name_of(segments[-1])))


def remove_name(
    root: Root,
    segments: Sequence[str],
    precondition: Precondition | None,
    of_directory: Callable[[], None] = lambda: None,
) -> Place:
    """Remove the file of this name, or the empty directory; of a link the link, not its target.

    The last segment is empty for a directory alone; `of_directory` checks its preconditions. A link
    to a directory is neither. Raises FileNotFoundError, OSError for a directory that is not empty,
    DirectoryBusy, and what `publish_file` raises.
    """
    names = segments if segments[-1] else segments[:-1]
    name = name_of(names[-1])
    directory = root.open_directory(names[:-1])
    try:
        with directory_lock(directory):
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                of_directory()
                os.rmdir(name, dir_fd=directory)
            else:
                _remove_file(root, segments, precondition, directory)
        sync_directory(directory)
        return place_in(directory, name)
    finally:
        os.close(directory)


def _remove_file(
    root: Root, segments: Sequence[str], precondition: Precondition | None, directory: int
) -> None:
    if not segments[-1]:  # with its slash, a link to a directory names one
        os.close(root.find_directory(segments[:-1]))
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    status = status_behind(root, segments, directory)
    if status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if precondition is not None:
        precondition(status)
    os.unlink(name_of(segments[-1]), dir_fd=directory)


def status_behind(root: Root, segments: Sequence[str], directory: int) -> os.stat_result | None:
    """Return the status of the file that has this name; None if the name is free.

    A link to a file below the root counts as that file; it is the link that is replaced or removed,
    and its target stays. Raises ProtocolError: 404 for a link that leads nowhere, 409 for a name of
    anything else; OSError.
    """
    try:
        status = os.stat(name_of(segments[-1]), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return _status_of_target(root, segments)
    if not stat.S_ISREG(status.st_mode):
        raise ProtocolError(409, "This name belongs to something other than a file.")
    return status


def _status_of_target(root: Root, segments: Sequence[str]) -> os.stat_result:
    try:
        target, status = root.open_file(segments)
    except FileNotFoundError:
        raise ProtocolError(404, "There is no such file.") from None
    os.close(target)
    return status


def _rename(temporary: str, segments: Sequence[str], directory: int) -> None:
    os.replace(temporary, name_of(segments[-1]), src_dir_fd=directory, dst_dir_fd=directory)


def _take_free_name(temporary: str, segments: Sequence[str], directory: int) -> None:
    """Publish under the precondition that the name is free: rename(2) would not check that."""
    name = name_of(segments[-1])
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise DirectoryBusy from None  # taken by a program without locks: check it again
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _rename(temporary, segments, directory)
    else:
        remove_temporary(temporary, directory)


def remove_temporary(name: str, directory: int | None) -> None:
    """Remove the name of an unfinished file.

    An error is logged: it must not replace the error that has ended the upload.
    """
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass  # another program has removed it
    except OSError:
        log.exception("Cannot remove %s, which an interrupted upload has left behind", name)


def sync_directory(directory: int) -> None:
    """Bring the names in a directory to the disk: a file's name is not there before (fsync(2))."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system syncs no directories (CIFS, some FUSE)
            raise
