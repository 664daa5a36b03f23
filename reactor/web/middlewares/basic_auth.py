"""Basic authentication: a user and a password with each request (RFC 7617).

The password is readable to everybody who sees the request, so this is for https. The time that a
refusal takes reveals neither how much of a password was right nor which users exist: digests of one
length are compared in constant time, and the password of an unknown user is compared as well. Long
credentials are refused unread, since normalizing takes a time that is quadratic in their length.
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

CREDENTIALS_BYTES: Final = 1024  # the most for a user, a colon and a password

DIGEST_BYTES: Final = hashlib.sha256().digest_size

# The scheme, a space, and base64.
_FIELD_LENGTH: Final = len("Basic ") + -(-CREDENTIALS_BYTES // 3) * 4
# The decoder by itself would ignore characters behind the padding.
_CREDENTIALS: Final = re.compile(
    r"basic +((?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)", re.IGNORECASE
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_REALM: Final = re.compile(r"[ -~]+")


class BasicAuth(Middleware):
    """Refuses requests without a known user and password: 401 with a challenge.

        admin = Group("/admin", BasicAuth({"ann": "correct horse"}))

    The name of the user is in `request.state["user"]`.
    """

    def __init__(self, users: Mapping[str, str | bytes] | Check, realm: str = "restricted") -> None:
        """`users` is a mapping of passwords by user name, or a function `check(user, password)`.

        A password that is bytes is the SHA-256 digest of one. A check must not wait, and should
        take equally long for everything that it refuses. `realm` is the text that a browser shows
        when it asks for the password. Raises ValueError for a realm that is not printable ASCII,
        for a user name that is empty or has a colon or a control character, for a user whose name
        and password have more than 1,023 bytes, and for a digest that does not have 32.
        """
        if not _REALM.fullmatch(realm):
            raise ValueError(f"a realm must be printable ASCII, not {realm!r}")
        quoted = re.sub(r'(["\\])', r"\\\1", realm)
        # Section 2.1: the charset is advice, and UTF-8 the only one that there is.
        self._challenge = (("WWW-Authenticate", f'Basic realm="{quoted}", charset="UTF-8"'),)
        self._check = users if callable(users) else _KnownUsers(users)

    def before(self, request: Request) -> None:
        """Leave the user in `request.state`. Raises ProtocolError (401)."""
        user, password = credentials(request.headers.get("authorization"))
        if not user or not self._check(user, password):
            raise ProtocolError(401, "This needs a user name and a password.", self._challenge)
        request.state["user"] = user


class _KnownUsers:
    """The check of a mapping of users."""

    def __init__(self, users: Mapping[str, str | bytes]) -> None:
        for user, word in users.items():
            if not user or ":" in user or _CONTROL.search(user):
                raise ValueError(
                    "a user name must not be empty, nor have a colon or a control character: "
                    f"{user!r}"
                )
            if isinstance(word, bytes) and len(word) != DIGEST_BYTES:
                raise ValueError(
                    f"the digest of the user {user[:50]!r} must have {DIGEST_BYTES} bytes, not "
                    f"{len(word)}"
                )
            if isinstance(word, str) and len(f"{user}:{word}".encode()) > CREDENTIALS_BYTES:
                raise ValueError(
                    f"a user name and a password must have at most {CREDENTIALS_BYTES - 1} bytes: "
                    f"those of {user[:50]!r} have more"
                )
        # The keys are digests, so that the time of a look-up reveals no letters of a name.
        self._passwords = {
            _digest(user): word if isinstance(word, bytes) else _digest(word)
            for user, word in users.items()
        }
        self._unknown = os.urandom(DIGEST_BYTES)

    def __call__(self, user: str, password: str) -> bool:
        expected = self._passwords.get(_digest(user), self._unknown)
        return hmac.compare_digest(_digest(password), expected)


def _digest(text: str) -> bytes:
    # Section 2.1 asks for letters in NFC, and not all clients compose them so.
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    return hashlib.sha256(composed.encode()).digest()


def credentials(field: str) -> tuple[str, str]:
    """The user and the password of an Authorization field (section 2).

    Both are empty if it has none, or more than CREDENTIALS_BYTES of them.
    """
    if len(field) > _FIELD_LENGTH:
        return "", ""
    match = _CREDENTIALS.fullmatch(field)
    if match is None:
        return "", ""
    decoded = base64.b64decode(match[1])
    if len(decoded) > CREDENTIALS_BYTES:
        return "", ""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        return "", ""
    user, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):
        return "", ""
    return user, password
