"""Basic authentication: a user and a password with each request (RFC 7617).

The password is readable to whoever sees the request, so it is for https. How long a refusal takes
says nothing of how much was right, or of which users there are: what is compared are digests, of
one length, in constant time, and an unknown user's password is compared as well.
"""

import base64
import hashlib
import hmac
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware

Check: TypeAlias = Callable[[str, str], bool]

# The decoder by itself would pass over what is beyond the padding.
_CREDENTIALS: Final = re.compile(
    r"basic +((?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)", re.IGNORECASE
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_REALM: Final = re.compile(r"[ -~]+")


class BasicAuth(Middleware):
    """401 for who is not known; the user's name is left in `request.state["user"]`."""

    def __init__(self, users: Mapping[str, str] | Check, realm: str = "restricted") -> None:
        """`users`: passwords by name, or `check(user, password)`.

        A check does not wait, and is to take equally long for all that it refuses. `realm` is what
        a browser shows when it asks. Raises ValueError for a realm that is not printable ASCII, and
        for a user who cannot be named: one with a colon or a control character.
        """
        if not _REALM.fullmatch(realm):
            raise ValueError(f"a realm is printable ASCII, not {realm!r}")
        quoted = re.sub(r'(["\\])', r"\\\1", realm)
        # Section 2.1: the charset is advice, and UTF-8 the only one that there is.
        self._challenge = (("WWW-Authenticate", f'Basic realm="{quoted}", charset="UTF-8"'),)
        self._check = users if callable(users) else _Known(users)

    def before(self, request: Request) -> None:
        """Raises ProtocolError(401)."""
        user, password = credentials(request.headers.get("authorization"))
        if not user or not self._check(user, password):
            raise ProtocolError(401, "A user and a password are needed here.", self._challenge)
        request.state["user"] = user


class _Known:
    """A check of passwords that are there."""

    def __init__(self, users: Mapping[str, str]) -> None:
        for user in users:
            if not user or ":" in user or _CONTROL.search(user):
                raise ValueError(f"no name of a user: {user!r}")
        # By the name's digest: how long a dict looks for it tells nothing of its letters.
        self._passwords = {_digest(user): _digest(word) for user, word in users.items()}
        self._nobodys = os.urandom(hashlib.sha256().digest_size)

    def __call__(self, user: str, password: str) -> bool:
        expected = self._passwords.get(_digest(user), self._nobodys)
        return hmac.compare_digest(_digest(password), expected)


def _digest(text: str) -> bytes:
    # Clients differ in how they compose letters (section 2.1 asks for NFC, and not all do it).
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).digest()


def credentials(field: str) -> tuple[str, str]:
    """The user and the password of an Authorization field; empty where it has none (section 2)."""
    match = _CREDENTIALS.fullmatch(field)
    if match is None:
        return "", ""
    try:
        text = base64.b64decode(match[1]).decode()
    except UnicodeDecodeError:
        return "", ""
    user, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):
        return "", ""
    return user, password
