"""Directories in an application: the file server (see static/file_server.py) as an endpoint of a
route.

What the file server needs of the server, its limits, is there when the application is prepared; one
that is used without a server has the default limits.
"""

import os
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, Final

from reactor.limits import Limits
from reactor.messages.headers import Fields
from reactor.messages.request import Request
from reactor.tasks.operations import sleep
from reactor.web.endpoint import ResponseOrAwaitable
from reactor.web.semantics.media_types import media_types
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.storage.safe_path import Root

IDLE_SECONDS: Final = 10.0  # between two looks for files that nobody asks for any more


class StaticFiles:
    """GET of what is below a directory; the path below it is the parameter `name`."""

    may_wait = True

    def __init__(
        self,
        prefix: str,
        directory: str | os.PathLike[str],
        *,
        listing: bool = False,
        spa: str = "",
        headers: Fields = (),
        cache_control: str = "",
        types: Mapping[str, str] | None = None,
    ) -> None:
        """`prefix` begins and ends with a slash. Raises OSError for a directory that is none."""
        Root(directory)  # each server opens its own; one that cannot be opened is told now
        self._mount = Mount(
            directory=os.path.abspath(directory),
            prefix=prefix,
            media_type=media_types(types or {}),
            headers=tuple(headers),
            cache_control=lambda path: cache_control,
            listing=listing,
            spa=spa,
        )
        self._files: FileServer | None = None

    def at(self, prefix: str) -> "StaticFiles":
        """The same directory at another prefix, as in an application that is mounted."""
        placed = copy(self)
        placed._mount = replace(self._mount, prefix=prefix)
        placed._files = None
        return placed

    def prepare(self, server: Any, mounts: int = 1) -> None:
        """Open nothing yet; files that nobody asks for any more are closed while it serves.

        So many `mounts` of the server share its limits on what is kept open and in memory.
        """
        limits = server.limits if server is not None else Limits()
        self._files = FileServer(self._mount, limits, mounts=mounts)
        if server is not None:
            server.spawn(close_idle([self._files]))

    def __call__(self, request: Request) -> ResponseOrAwaitable:
        if self._files is None:
            self.prepare(None)
        assert self._files is not None
        return self._files.get(request)


async def close_idle(mounted: list[FileServer]) -> None:
    """For as long as a server serves, now and then."""
    while True:
        await sleep(IDLE_SECONDS)
        for files in mounted:
            files.close_idle()
