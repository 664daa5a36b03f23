"""What is asked of the disk, and which of its errors is which answer.

A file system says why it refused in one of some hundred numbers. Those that have to do with what
was asked for have an answer here, in one table for each kind of question; all others are the
server's fault, and stay what they are (500).
"""

from collections.abc import Callable, Mapping
from errno import (
    EACCES,
    EBUSY,
    EDQUOT,
    EFBIG,
    EISDIR,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENXIO,
    EPERM,
    EROFS,
)
from typing import Any, Final, TypeAlias, TypeVar

from reactor.errors import ProtocolError
from reactor.web.storage.locks import retry_while_busy

Answers: TypeAlias = Mapping[int | None, tuple[int, str]]
T = TypeVar("T")

NOT_FOUND: Final = (404, "There is no such file.")
IS_DIRECTORY: Final = (409, "This name belongs to something that is not a file.")
_FORBIDDEN: Final = (403, "The server is not allowed to do this.")
_BUSY: Final = (503, "The server has too many files open.")
_NO_DIRECTORY: Final = (409, "There is no such directory.")
_FULL: Final = (507, "There is no room for this file.")

WHEN_READING: Final[Answers] = {
    **dict.fromkeys((ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, ENXIO, ENODEV), NOT_FOUND),
    **dict.fromkeys((EACCES, EPERM), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}
WHEN_WRITING: Final[Answers] = {
    **dict.fromkeys((ENOENT, ENOTDIR, ELOOP), _NO_DIRECTORY),
    **dict.fromkeys((EISDIR, EBUSY), IS_DIRECTORY),
    ENAMETOOLONG: (414, "This name is too long."),
    EFBIG: (413, "This file would be larger than files can be here."),
    **dict.fromkeys((ENOSPC, EDQUOT), _FULL),
    **dict.fromkeys((EACCES, EPERM, EROFS), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}
WHEN_REMOVING: Final[Answers] = {
    **WHEN_WRITING,
    **dict.fromkeys((ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG), NOT_FOUND),
}


async def on_disk(answers: Answers, function: Callable[..., T], *arguments: Any) -> T:
    """Run the function on the pool; its OSError is the ProtocolError that the table has for it.

    A directory that is busy is waited for (see locks).
    """
    try:
        return await retry_while_busy(function, *arguments)
    except OSError as error:
        answer = answers.get(error.errno)
        if answer is None:
            raise
        raise ProtocolError(*answer) from error
