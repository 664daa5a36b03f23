"""A directory in an application: the file server (static/file_server.py) as a route's endpoint.

The file server needs the limits of the server, which are there when the application is prepared;
one that is used without a server has the default limits.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.tasks.operations import sleep
from reactor.web.endpoint import ResponseOrAwaitable
from reactor.web.semantics.media_types import media_types
from reactor.web.static.file_server import FileServer, Mount
from reactor.web.static.limits import FileLimits
from reactor.web.storage.safe_path import Root
from reactor.web.storage.trust import Trust

IDLE_SECONDS: Final = 10.0  # between two searches for idle files


class StaticFiles:
    """The endpoint for GET of the files below a directory; the router leaves the path in `name`."""

    may_wait = True

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        listing: bool = False,
        spa: str = "",
        headers: Fields = (),
        cache_control: str = "",
        types: Mapping[str, str] | None = None,
        trusted: bool = True,
    ) -> None:
        """Raises OSError for an unusable directory.

        `types` are additions to the tables, see `media_types`, which raises ValueError.
        `cache_control` is on every response, "" for none. `spa` is the file that is served for
        unknown paths, "" for none. Unless `trusted`, clients may have uploaded the files.
        """
        Root(directory)  # each server opens its own; errors are raised now
        self._mount = Mount(
            directory=os.path.abspath(directory),
            media_type=media_types(types or {}),
            headers=tuple(headers),
            cache_control=lambda path: cache_control,
            listing=listing,
            spa=spa,
            trust=Trust(own=trusted),
        )
        self._files: FileServer | None = None

    def prepare(self, server: Any, mounts: int = 1) -> None:
        """Make the file server, and close idle files while the server runs; nothing is opened yet.

        `mounts` mounts of the server share its limits on open files and on memory.
        """
        limits = FileLimits.of(server.limits) if server is not None else FileLimits()
        self._files = FileServer(self._mount, limits, mounts=mounts)
        if server is not None:
            server.spawn(close_idle([self._files]))

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        """Return the response, as FileServer.get does."""
        if self._files is None:
            self.prepare(None)
        assert self._files is not None
        return self._files.get(request)


async def close_idle(mounted: list[FileServer]) -> None:
    """Close the idle files of these mounts now and then, for ever."""
    while True:
        await sleep(IDLE_SECONDS)
        for files in mounted:
            files.close_idle()
