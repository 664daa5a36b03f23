"""`/files/{name}`: what is below a directory, to be read and, unless it is read-only, written.

Every path is looked up when it is asked for; nothing is remembered between requests. Whatever waits
for a disk runs on the pool; the bytes of an answer are the connection's to send, those of an upload
are pulled a piece at a time and written before the next is pulled, so neither is ever held.

Which file a path means is safepath's business, how a file comes into being that of uploads. What is
here is their HTTP: which error of the operating system is which answer, in one table for each
direction.
"""

import os
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

from handlers.mediatypes import media_type
from handlers.origin import refuse_foreign
from handlers.safepath import Root, is_plain
from handlers.uploads import Upload
from reactor import Body, File, FileRegion, ProtocolError, Request, Response, in_pool

PIECE_BYTES: Final = 256 * 1024  # of an upload, pulled and written at a time
_READ_METHODS: Final = "GET, HEAD, OPTIONS"

_Answer: TypeAlias = tuple[int, str]
T = TypeVar("T")

_NOT_FOUND: Final = (404, "There is no such file.")
_FORBIDDEN: Final = (403, "The server is not allowed to do this.")
_BUSY: Final = (503, "The server has too many files open.")
_NO_FOLDER: Final = (409, "There is no such folder.")
_NO_FILE: Final = (409, "This name belongs to something that is not a file.")
_FULL: Final = (507, "There is no room for this file.")

_WHEN_READING: Final[Mapping[int | None, _Answer]] = {
    **dict.fromkeys((ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, ENXIO, ENODEV), _NOT_FOUND),
    **dict.fromkeys((EACCES, EPERM), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}
_WHEN_WRITING: Final[Mapping[int | None, _Answer]] = {
    **dict.fromkeys((ENOENT, ENOTDIR, ELOOP), _NO_FOLDER),
    **dict.fromkeys((EISDIR, EBUSY), _NO_FILE),
    ENAMETOOLONG: (414, "This name is too long."),
    EFBIG: (413, "This file would be larger than files can be here."),
    **dict.fromkeys((ENOSPC, EDQUOT), _FULL),
    **dict.fromkeys((EACCES, EPERM, EROFS), _FORBIDDEN),
    **dict.fromkeys((EMFILE, ENFILE), _BUSY),
}


class Files:
    """The endpoints. The router leaves the path's decoded segments in `params["name"]`."""

    def __init__(
        self, directory: str | os.PathLike[str] | None, *, read_only: bool = False
    ) -> None:
        """Without a directory there are no files. Raises OSError for one that is unusable."""
        self._root = None if directory is None else Root(directory)
        self._read_only = read_only

    async def get(self, request: Request) -> Response:
        """The file, streamed; the answer to HEAD too, whose body the connection lets go."""
        root, segments = self._locate(request)
        file = await _on_disk(_WHEN_READING, _open, root, segments)
        headers = (
            ("Content-Type", media_type(segments[-1])),
            ("X-Content-Type-Options", "nosniff"),
        )
        return Response(200, FileRegion(file, 0, file.size), headers)

    async def post(self, request: Request) -> Response:
        """The body becomes the file: 201 with its Location, 204 where it has replaced one."""
        root, segments = self._locate(request)
        if self._read_only:
            raise ProtocolError(405, "Files here can only be read.", [("Allow", _READ_METHODS)])
        refuse_foreign(request)
        upload = Upload(root, segments)
        try:
            replaced = await _receive(upload, request.body)
        except GeneratorExit:
            raise  # nothing can be awaited any more: Upload.__del__ does the same
        except BaseException:
            await _give_up(upload)
            raise
        if replaced:
            return Response(204)
        return Response(201, headers=[("Location", request.path)])

    def _locate(self, request: Request) -> tuple[Root, tuple[str, ...]]:
        segments: tuple[str, ...] = request.params["name"]
        if self._root is None or not segments or not is_plain(segments):
            raise ProtocolError(*_NOT_FOUND)
        return self._root, segments


def _open(root: Root, segments: tuple[str, ...]) -> File:
    # A File from the start: if nobody waits for this job's result any more, it closes itself.
    descriptor, status = root.open_file(segments)
    return File(descriptor, status.st_size)


async def _receive(upload: Upload, body: Body) -> bool:
    """The whole body to the disk; whether it has replaced a file."""
    await _on_disk(_WHEN_WRITING, upload.begin)
    while piece := await body.read(PIECE_BYTES):
        await _on_disk(_WHEN_WRITING, upload.write, piece)
    return await _on_disk(_WHEN_WRITING, upload.commit)


async def _give_up(upload: Upload) -> None:
    try:
        await in_pool(upload.discard)
    except ProtocolError:
        pass  # the pool is full: Upload.__del__ does it


async def _on_disk(
    answers: Mapping[int | None, _Answer], function: Callable[..., T], *arguments: Any
) -> T:
    """Run the function on the pool; its OSError is the answer that the table has for it."""
    try:
        return await in_pool(function, *arguments)
    except OSError as error:
        answer = answers.get(error.errno)
        if answer is None:
            raise
        raise ProtocolError(*answer) from error
