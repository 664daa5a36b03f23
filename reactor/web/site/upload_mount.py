"""The directory that takes uploads: the routes that change it, and its housekeeping.

The routes that read it are those of any mount (see site.py). A path has no route for a method that
the options do not allow, so the router responds 405 before a byte of a body is read. A mount that
is below the directory of uploads is read only: no write falls through to the directory under it.
"""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.tasks.operations import sleep
from reactor.web.app.application import Application
from reactor.web.app.router import ANY
from reactor.web.endpoint import Endpoint
from reactor.web.limits import Limits
from reactor.web.semantics.methods import method_not_allowed
from reactor.web.semantics.upload_protocols import refuse_tus
from reactor.web.site.options import SiteOptions
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.partial_store import UPLOADS_DIRECTORY
from reactor.web.uploads.receiver import Receiver
from reactor.web.uploads.resumable import ResumableUploads
from reactor.web.uploads.sweep import sweep

EXPIRY_SECONDS: Final = 600.0  # between two searches for abandoned uploads
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class UploadMount:
    """The writing side of one directory at one prefix."""

    def __init__(
        self, root: Root, options: SiteOptions, limits: Limits, forget: Callable[[Place], None]
    ) -> None:
        """`forget` is called with each name that means another file now."""
        trusted = frozenset(options.trusted_origins)
        self._root = root
        self._prefix = options.prefix
        self._resumable: ResumableUploads | None = None
        if options.uploads:
            self._resumable = ResumableUploads(
                root, self._prefix, limits, forget, trusted_origins=trusted
            )
        receiver = Receiver(
            root,
            limits,
            forget,
            uploads=options.uploads,
            deletes=options.deletes,
            resumable=self._resumable,
            trusted_origins=trusted,
        )
        self._endpoints: dict[str, Endpoint] = {}
        if options.uploads:
            self._endpoints |= {"PUT": receiver.put, "POST": receiver.post}
        if options.deletes:
            self._endpoints["DELETE"] = receiver.delete

    def add_routes(self, router: Application, mounted: Iterable[str]) -> None:
        """Add the routes that write; those of the prefixes `mounted` below ours refuse to."""
        endpoints = dict(self._endpoints)
        if self._resumable is not None:
            endpoints |= refusals({*READING, *endpoints}, self._resumable.offers)
            self._add_resumable(router, self._resumable)
        for method, endpoint in endpoints.items():
            router.add(method, self._prefix + "{name:names}", endpoint)
        if self._endpoints:
            for prefix in mounted:
                if prefix != self._prefix and prefix.startswith(self._prefix):
                    _refuse_writes(router, prefix)

    def housekeeping(self) -> list[Coroutine[Any, Any, None]]:
        """The coroutines to spawn beside the connections, for as long as the server runs."""
        if self._resumable is None:
            return []
        return [_sweep(self._root), _expire(self._resumable)]

    def _add_resumable(self, router: Application, resumable: ResumableUploads) -> None:
        """Add upload resources, and the refusal of tus at the path of the mount itself."""
        endpoints: dict[str, Endpoint] = {
            "HEAD": resumable.head,
            "PATCH": resumable.append,
            "DELETE": resumable.cancel,
            "OPTIONS": resumable.options,
        }
        for method, endpoint in endpoints.items():
            router.add(method, f"{self._prefix}{UPLOADS_DIRECTORY}/{{id}}", endpoint)
        if self._prefix != "/":
            for method, endpoint in refusals(READING).items():
                router.add(method, self._prefix[:-1], endpoint)


def refusals(methods: Iterable[str], offers: Fields = ()) -> dict[str, Endpoint]:
    """The endpoints of OPTIONS and of all methods that a path of uploads has not; none for tus."""
    fields = (("Allow", ", ".join(sorted(methods))), *offers)

    def options(request: BaseRequest) -> Response:
        refuse_tus(request.headers)
        return Response(204, headers=fields)

    def refuse(request: BaseRequest) -> Response:
        refuse_tus(request.headers)
        raise method_not_allowed(request.method, methods)

    return {"OPTIONS": options, ANY: refuse}


def _refuse_writes(router: Application, prefix: str) -> None:
    for method, endpoint in refusals(READING).items():
        router.add(method, prefix + "{name:names}", endpoint)
        router.add(method, prefix[:-1], endpoint)


async def _sweep(root: Root) -> None:
    """Remove the unfinished files that a killed server has left."""
    await sweep(root)


async def _expire(resumable: ResumableUploads) -> None:
    """Remove abandoned uploads, now and again and again."""
    while True:
        await resumable.expire()
        await sleep(EXPIRY_SECONDS)
