"""The site of the command line: mounts, an application, and their housekeeping.

A mount is a directory at a prefix, and its endpoints are routes. One mount may take uploads (see
upload_mount.py); all others are read only. A mount has no route for a method that it does not
support, so the router responds 405 before a byte of a body is read.

Directories may overlap: a file that one mount changes may be open in the cache of another, so every
mount forgets a path that has changed.

An application gets the requests that are below no mount, as they came. It is called as the server
would call it, with the body unread; it handles a path itself that the router could not decode. An
Application that `takes_mounts` has them as routes of its own.
"""

import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.server.server import Server, prepare_handler
from reactor.web.app.application import Application
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.limits import Limits
from reactor.web.operations.monitoring import Monitoring
from reactor.web.semantics.media_types import media_types
from reactor.web.semantics.upload_protocols import refuse_tus
from reactor.web.site.allowed_hosts import (
    HostCheck,
    hosts_of_share,
    is_loopback_address,
    own_hosts,
)
from reactor.web.site.cache_rules import cache_rules
from reactor.web.site.opening import (
    SiteError,
    check_file,
    find_users,
    has_file,
    names_file,
    open_root,
)
from reactor.web.site.options import SiteOptions
from reactor.web.site.single_file import add_file
from reactor.web.site.upload_mount import UploadMount
from reactor.web.site.users import UserCheck
from reactor.web.static.file_server import FileServer, Mount, redirect_to_directory
from reactor.web.static.mount import close_idle
from reactor.web.storage.safe_path import Place, Root
from reactor.web.storage.trust import Trust

log = logging.getLogger("reactor")


class Site:
    """Makes a handler for the whole site, and the coroutines that run beside the requests."""

    def __init__(
        self, options: SiteOptions, limits: Limits, application: Endpoint | None = None
    ) -> None:
        """`application` is the one that the options name, loaded. Raises SiteError."""
        self._options = options
        self._application = application
        self._limits = limits
        self._mounted: list[FileServer] = []
        self._forget = _forget_in(self._mounted)
        self._uploads = self._find_uploads()
        self._upload_mount: UploadMount | None = None
        self._router = _router_for(application)
        for prefix, directory in options.static:
            if prefix == "/" and names_file(directory):
                self._mount_file(directory)
            else:
                self._mount(prefix, directory, spa=options.spa)
        if options.spa and not any(has_file(one.root, options.spa) for one in self._mounted):
            raise SiteError(f"No static directory has the file {options.spa!r} of --spa")
        if options.directory is not None:
            self._upload_mount = self._mount_uploads(options.directory)
        # All that is served for some hosts alone, where that is so.
        self._checked: list[Application | Monitoring | HostCheck | UserCheck] = []
        self.handler = self._make_handler()
        if options.debug:
            self._debug(application)
        self._users = find_users(options)
        self._add_around()
        self.admit_hosts()

    def error_response(self, request: BaseRequest, error: BaseException) -> Response:
        """Respond to an error that the server finds: as the application does, if it can."""
        application = self._application
        respond = application if isinstance(application, Application) else self._router
        return respond.error_response(request, error)

    def admit_hosts(
        self, own: Iterable[str] = (), bound: Sequence[str] = (), plain: Sequence[str] | None = None
    ) -> None:
        """Serve the site for its hosts alone; to be called when the server listens.

        `own` are the names and addresses by which it is reached, `bound` the addresses that it
        listens on, and `plain` those of them where clients speak no TLS (all, unless given).
        """
        plain = bound if plain is None else plain
        if self._users and not all(map(is_loopback_address, plain)):
            log.warning("Passwords travel unencrypted: others on the network can read them")
        names, given = own_hosts(own), self._options.allowed_hosts
        hosts = hosts_of_share(given, names, bound)
        for one in self._checked:
            one.hosts = hosts
        for application in (self._router, self._application):
            if isinstance(application, Application):
                application.show_debug_to(*given, *names)

    def _add_around(self) -> None:
        """Add metrics, around them the check of users, and around that health checks."""
        options, handler = self._options, self.handler
        checked = bool(self._checked)
        around: list[Monitoring | UserCheck] = []
        if options.metrics:
            around.append(handler := Monitoring(handler, health=False, metrics=True))
        if self._users:
            around.append(handler := UserCheck(handler, self._users))
        if options.health:
            around.append(handler := Monitoring(handler, health=True, metrics=False))
        if checked:
            self._checked += around
        self.handler = handler

    def _debug(self, application: Endpoint | None) -> None:
        self._router.debug = True
        if isinstance(application, Application):
            application.debug = True
        elif application is not None:
            raise SiteError("--debug needs an application that is a reactor.Application")

    def housekeeping(self) -> list[Coroutine[Any, Any, None]]:
        """The coroutines to spawn beside the connections, for as long as the server runs."""
        works = [close_idle(self._mounted)] if self._mounted else []
        if self._upload_mount is not None:
            works += self._upload_mount.housekeeping()
        return works

    def _make_handler(self) -> Endpoint:
        if self._application is None or self._application is self._router:
            self._checked.append(self._router)
            return self._router
        handler = self._application
        if self._options.allowed_hosts:  # otherwise the application decides on hosts
            if not isinstance(handler, Application):
                handler = HostCheck(handler)
            self._checked.append(handler)
        prefixes = [prefix for prefix, _ in self._options.static]
        if self._options.directory is not None:
            prefixes.append(self._options.prefix)
        if not prefixes:
            return handler
        self._checked.append(self._router)
        return _Beside(self._router, tuple(prefixes), handler)

    def _mount(
        self,
        prefix: str,
        directory: str,
        *,
        spa: str = "",
        uploads: bool = False,
        deletes: bool = False,
    ) -> FileServer:
        """Open the directory, and add the routes that read it."""
        mount = self._mount_of(prefix, directory, spa, uploads, deletes)
        files = self._open(mount)
        self._router.mounts.append((prefix, mount))
        for method in ("GET", "HEAD"):
            self._router.add(method, prefix + "{name:names}", files.get)
            if prefix != "/":
                self._router.add(method, prefix[:-1], _to_mount(mount))
        return files

    def _mount_file(self, path: str) -> None:
        directory, name = os.path.split(path)
        files = self._open(self._mount_of("/", directory or ".", "", False, False))
        check_file(files.root, path)
        add_file(self._router, name, files.get)

    def _mount_of(
        self, prefix: str, directory: str, spa: str, uploads: bool, deletes: bool
    ) -> Mount:
        options = self._options
        return Mount(
            directory=directory,
            media_type=media_types(dict(options.types)),
            headers=tuple(options.headers),
            cache_control=cache_rules(options.cache_control),
            listing=options.listing,
            spa=spa,
            uploads=uploads,
            deletes=deletes,
            trust=self._trust_in(prefix, directory),
        )

    def _find_uploads(self) -> tuple[Root, ...]:
        """The directory whose files clients upload, unless the operator trusts them."""
        options = self._options
        if options.directory is None or not options.uploads:
            return ()
        if options.trust_uploads:
            log.warning("--trust-uploads: what clients upload runs script in this server's name")
            return ()
        return (open_root(options.directory),)

    def _trust_in(self, prefix: str, directory: str) -> Trust:
        """The owners of files in a directory, which may be, contain or lie in that of uploads."""
        root = open_root(directory)
        inside = any(root.may_be_within(one) for one in self._uploads)
        if inside and prefix != self._options.prefix:
            log.warning(
                "Clients can upload files to the directory at %s: without --trust-uploads its "
                "pages run no script, and it has no index.html",
                prefix,
            )
        return Trust(not inside, self._uploads)

    def _open(self, mount: Mount) -> FileServer:
        mounts = len(self._options.static) + (self._options.directory is not None)
        files = FileServer(mount, self._limits, mounts=mounts)
        self._mounted.append(files)
        return files

    def _mount_uploads(self, directory: str) -> UploadMount:
        """Add the directory that takes uploads, with the routes for what the options allow."""
        options = self._options
        self._mount(options.prefix, directory, uploads=options.uploads, deletes=options.deletes)
        mount = UploadMount(open_root(directory), options, self._limits, self._forget)
        mount.add_routes(self._router, [prefix for prefix, _ in options.static])
        return mount


def _router_for(application: Endpoint | None) -> Application:
    """The application where it takes the mounts; otherwise a router that stands before it."""
    if isinstance(application, Application) and application.takes_mounts:
        return application
    return Application()


def _forget_in(mounted: Sequence[FileServer]) -> Callable[[Place], None]:
    """A function that has every mount forget a path that has changed; the list may still grow."""

    def forget(place: Place) -> None:
        for files in mounted:
            files.forget(place)

    return forget


class _Beside:
    """Mounts, and an application for all paths that are not below one of their prefixes."""

    request_class: Final = Application.request_class

    def __init__(
        self, router: Application, prefixes: tuple[str, ...], application: Endpoint
    ) -> None:
        self._router = router
        self._prefixes = prefixes
        self._application = application

    def prepare(self, server: Server) -> None:
        """Prepare both; the application as if it were the handler of the server."""
        self._router.prepare(server)
        prepare_handler(self._application, server)

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        # A prefix without its slash is redirected to it.
        if f"{request.path}/".startswith(self._prefixes):
            return self._router(request)
        return self._application(request)


def _to_mount(mount: Mount) -> Endpoint:
    """An endpoint that redirects from the prefix without its last slash to the mount."""

    def redirect(request: BaseRequest) -> Response:
        if mount.uploads:
            refuse_tus(request.headers)
        return redirect_to_directory(request, mount.headers)

    return redirect
