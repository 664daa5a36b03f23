"""What is kept of a client from one request to the next, in a cookie that only the server can make.

A session is a dict of what JSON can say. It travels with the client, readable to it and to whoever
has its browser, and signed: HMAC-SHA256 over the cookie's name, the time and the content, compared
in constant time. What was changed, was made for another cookie or with another key, or is older
than `max_age` is no session. Nothing is kept here, so a session cannot be called back before it is
over: whoever needs that keeps an id in it, and the rest elsewhere.

The cookie is looked at when a handler asks for it, and written when what it says has changed.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final, Literal

from reactor.messages.response import Response
from reactor.web.app.cookies import delete_cookie, set_cookie
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import varying

KEY_BYTES: Final = 32  # no shorter than the digest (RFC 2104, section 3)
COOKIE_BYTES: Final = 4093  # with its attributes: what all browsers keep (RFC 6265, section 6.1)
FORTNIGHT: Final = 14 * 24 * 60 * 60

_VALUE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Session(MutableMapping[str, Any]):
    """A dict that is read from its cookie when it is first used."""

    __slots__ = ("_read", "_values", "stored")

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._values: dict[str, Any] | None = None
        self.stored = b""  # what the cookie says, once it was read

    @property
    def used(self) -> bool:
        """Whether anybody has asked what is in it."""
        return self._values is not None

    def encoded(self) -> bytes:
        """Its content; nothing where it is empty. Raises TypeError or ValueError."""
        values = self._dict()
        return _encode(values).encode() if values else b""

    def _dict(self) -> dict[str, Any]:
        if self._values is None:
            self.stored = self._read()
            self._values = json.loads(self.stored) if self.stored else {}
        return self._values

    def __getitem__(self, key: str) -> Any:
        return self._dict()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"what is kept in a session has a name in text, not {key!r}")
        self._dict()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._dict()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict())

    def __len__(self) -> int:
        return len(self._dict())

    def __repr__(self) -> str:
        return f"Session({self._dict()!r})"


class Sessions(Middleware):
    """Keeps `request.state["session"]`, a Session, in a cookie.

    A stream's changes count as far as its head: when that has left, no cookie can be set.
    """

    def __init__(
        self,
        secret: str | bytes | Sequence[str | bytes],
        *,
        cookie: str = "session",
        max_age: int = FORTNIGHT,
        secure: bool | None = None,
        same_site: Literal["Strict", "Lax", "None"] = "Lax",
        path: str = "/",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secret`: at least 32 bytes by chance (`secrets.token_hex`); of several the first signs,
        and what any has signed is taken, so that they can be changed one by one.

        A session is over `max_age` seconds after it was last changed. `secure`: the cookie is for
        https only; None: where the request came by it. `clock` gives the time of day in seconds.
        Raises ValueError for a secret that is too short and for what a cookie cannot be.
        """
        secrets = [secret] if isinstance(secret, str | bytes) else list(secret)
        self._keys = [_checked_key(one) for one in secrets]
        if not self._keys:
            raise ValueError("a session needs a secret")
        if max_age < 1:
            raise ValueError(f"a session lasts at least 1 second, not {max_age!r}")
        self._cookie = cookie
        self._max_age = max_age
        self._secure = secure
        self._same_site: Literal["Strict", "Lax", "None"] = same_site
        self._path = path
        self._clock = clock
        self._write(Response(), b"{}", secure is None or secure)  # raises ValueError now

    def before(self, request: Request) -> None:
        request.state["session"] = Session(lambda: self._read(request))

    def after(self, request: Request, response: Response) -> Response:
        """Raises ValueError or TypeError for what no cookie can hold."""
        session = self._session_of(request)
        if not session.used:
            return response
        response = varying(response, "Cookie")
        content = session.encoded()
        if content == session.stored:
            return response
        secure = request.scheme == "https" if self._secure is None else self._secure
        if content:
            return self._write(response, content, secure)
        return delete_cookie(response, self._cookie, path=self._path, secure=secure)

    def _session_of(self, request: Request) -> Session:
        """The session; or what a handler has put in its place, which replaces all of it."""
        found = request.state.get("session")
        if isinstance(found, Session):
            return found
        session = Session(lambda: self._read(request))
        session.clear()
        session.update(found or {})
        return session

    def _write(self, response: Response, content: bytes, secure: bool) -> Response:
        response = set_cookie(
            response,
            self._cookie,
            self.sign(content),
            max_age=self._max_age,
            path=self._path,
            secure=secure,
            same_site=self._same_site,
        )
        size = len(response.headers[-1][1])
        if size > COOKIE_BYTES:
            raise ValueError(
                f"the session would be a cookie of {size} bytes; browsers keep {COOKIE_BYTES}"
            )
        return response

    def _read(self, request: Request) -> bytes:
        return self.verified(request.cookies.get(self._cookie, ""))

    # --- the cookie's value: content.seconds.signature -------------------------------------------

    def sign(self, content: bytes) -> str:
        """A value for the cookie, as of now."""
        signed = b"%b.%d" % (_base64(content), self._clock())
        return (b"%b.%b" % (signed, self._signature(self._keys[0], signed))).decode()

    def verified(self, value: str) -> bytes:
        """What a value says, or nothing where it was not signed here, or is too old."""
        match = _VALUE.fullmatch(value.encode("latin-1", "replace"))
        if match is None:
            return b""
        content, seconds, signature = match.groups()
        signed = b"%b.%b" % (content, seconds)
        # All keys, whichever fits: the time that it takes tells nothing.
        fits = [hmac.compare_digest(self._signature(key, signed), signature) for key in self._keys]
        if not any(fits) or self._clock() - int(seconds) >= self._max_age:
            return b""
        return base64.urlsafe_b64decode(content + b"=" * (-len(content) % 4))

    def _signature(self, key: bytes, signed: bytes) -> bytes:
        message = b"%b=%b" % (self._cookie.encode(), signed)
        return _base64(hmac.digest(key, message, hashlib.sha256))


def _checked_key(secret: str | bytes) -> bytes:
    key = secret.encode() if isinstance(secret, str) else secret
    if len(key) < KEY_BYTES:
        raise ValueError(f"a session's secret has at least {KEY_BYTES} bytes, not {len(key)}")
    return key


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
