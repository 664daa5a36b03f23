"""The users for whom a site is served: the options --auth and --auth-file, and their check.

A user is a name and the SHA-256 digest of a password: the password itself is neither kept nor
shown. An error sentence names the user or the line, and no more of it.

The check stands in front of everything: directories, uploads, the application, error pages and
metrics. Health checks stand before it, since probes have no passwords.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final, cast

from reactor.errors import reason_of
from reactor.messages.request import BaseRequest
from reactor.server.server import Server, prepare_handler
from reactor.web.app.requests import Request, adopt
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.middlewares.basic_auth import CREDENTIALS_BYTES, BasicAuth
from reactor.web.semantics.hosts import Hosts

FILE_BYTES: Final = 1024 * 1024  # the most that a file of users may have
OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
# How the hashes of htpasswd and crypt(3) begin. Taken as passwords they would lock everybody out.
_HASHES: Final = ("$2", "$1$", "$5$", "$6$", "$y$", "$apr1$", "$argon2", "{SHA}", "{SSHA}")


def user(text: str) -> tuple[str, bytes]:
    """Return the name and the digest of `USER:PASSWORD` or `USER:sha256:HEX`.

    Raises ValueError, with a sentence that does not have the password.
    """
    name, colon, password = text.partition(":")
    if not colon or not name or not password:
        raise ValueError("a user is USER:PASSWORD or USER:sha256:HEX, and neither part is empty")
    if _CONTROL.search(text):
        raise ValueError(f"the user {name!r} has a control character in the name or the password")
    if len(text.encode(errors="surrogateescape")) > CREDENTIALS_BYTES:
        raise ValueError(
            f"the user {name[:50]!r} has a name and a password of more than "
            f"{CREDENTIALS_BYTES - 1} bytes"
        )
    kind, colon, digest = password.partition(":")
    if colon and kind == "sha256":
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"the digest of the user {name!r} is not 64 hexadecimal digits")
        return name, bytes.fromhex(digest)
    if password.startswith(_HASHES):
        raise ValueError(
            f"the password of the user {name!r} looks like a hash of htpasswd or crypt; "
            "USER:sha256:HEX is accepted, with the SHA-256 digest of the password"
        )
    try:
        return name, hashlib.sha256(unicodedata.normalize("NFC", password).encode()).digest()
    except UnicodeEncodeError:
        raise ValueError(f"the password of the user {name!r} is not UTF-8") from None


def read_users(path: str) -> tuple[list[tuple[str, bytes]], str]:
    """Return the users of a file, and a warning about its mode, "" where all is well.

    Each line is as for `user`; empty lines and lines that begin with "#" are skipped. Raises
    ValueError with a sentence for a file that cannot be read and for a wrong line.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"Cannot read the users of {path!r}: {reason_of(error)}") from error
    if len(data) > FILE_BYTES:
        raise ValueError(f"The file of users {path!r} is larger than {FILE_BYTES} bytes")
    try:
        users = list(_users_of(data.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise ValueError(f"The file of users {path!r} is not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"The file of users {path!r}, {error}") from None
    if not users:
        raise ValueError(f"The file of users {path!r} names no user")
    if stat.S_ISREG(mode) and mode & OTHERS_READ:
        return users, f"Other users of this machine can read the passwords in {path!r}: chmod 600"
    return users, ""


def _users_of(text: str) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line.strip() and not line.startswith("#"):
            try:
                yield user(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def digests(users: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return the digests by the name of the user. Raises ValueError for one that comes twice."""
    found: dict[str, bytes] = {}
    for name, digest in users:
        if name in found:
            raise ValueError(f"The user {name!r} is named twice")
        found[name] = digest
    return found


class UserCheck:
    """A handler that calls another one for known users alone; all others get a 401."""

    def __init__(self, handler: Endpoint, users: dict[str, bytes]) -> None:
        self.hosts: Hosts | None = None  # that are served; all where it is None
        self.request_class = getattr(handler, "request_class", Request)
        self._handler = handler
        self._auth = BasicAuth(users, "reactor")

    def prepare(self, server: Server) -> None:
        """Prepare the handler, as if it were the server's own."""
        prepare_handler(self._handler, server)

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        if self.hosts is not None:
            self.hosts.admit(request.host)
        adopt(request)
        self._auth.before(cast(Request, request))
        return self._handler(request)
