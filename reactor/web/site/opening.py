"""Opens what the options name: directories, one file, a file of users. A failure is a sentence."""

import errno
import logging
import os

from reactor.errors import reason_of
from reactor.web.semantics.file_names import is_plain
from reactor.web.semantics.paths import is_text
from reactor.web.site.options import SiteOptions
from reactor.web.site.users import digests, read_users
from reactor.web.storage.safe_path import Root

log = logging.getLogger("reactor")


class SiteError(Exception):
    """The site cannot be served; `str` is a sentence for the operator."""


def open_root(directory: str) -> Root:
    """Open a directory. Raises SiteError for one that cannot be used."""
    try:
        return Root(directory)
    except OSError as error:
        sentence = f"Cannot use the directory {str(directory)!r}: {reason_of(error)}"
        raise SiteError(sentence) from error


def has_file(root: Root, path: str) -> bool:
    """Return whether the directory has a file of this path that it would serve."""
    try:
        os.close(root.open_file(path.split("/"))[0])
    except OSError:
        return False
    return True


def names_file(path: str) -> bool:
    """Return whether the path is that of a regular file.

    Raises SiteError for a FIFO, a device or a socket: reading one may wait for ever, or never end.
    """
    if os.path.exists(path) and not os.path.isdir(path) and not os.path.isfile(path):
        raise SiteError(f"Cannot serve {path!r}: it is neither a directory nor a regular file")
    return os.path.isfile(path)


def check_file(root: Root, path: str) -> None:
    """Check that the directory serves this file of its own. Raises SiteError with the reason."""
    name = os.path.basename(path)
    if not is_text(name):
        reason = "its name is not UTF-8"
    elif not is_plain([name]):
        reason = "no URL leads to a name that begins with a dot or has a backslash"
    else:
        try:
            os.close(root.open_file([name])[0])
            return
        except OSError as error:
            reason = reason_of(error)
            if error.errno == errno.ENOENT:  # it is there: see names_file
                reason = "it is a link that leads out of its directory; name the file itself"
    raise SiteError(f"Cannot serve the file {path!r}: {reason}")


def find_users(options: SiteOptions) -> dict[str, bytes]:
    """Return the digests of passwords by user; none where there is no check. Raises SiteError."""
    try:
        of_file: list[tuple[str, bytes]] = []
        if options.auth_file is not None:
            of_file, warning = read_users(options.auth_file)
            if warning:
                log.warning(warning)
        return digests([*options.auth, *of_file])
    except ValueError as error:
        raise SiteError(str(error)) from error
