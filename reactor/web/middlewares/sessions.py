"""Sessions: data of a client that lasts from one request to the next, in a signed cookie.

A session is a dict of JSON values. The client stores it and can read it, as can everybody with its
browser, but only the server can make one: it is signed with HMAC-SHA256 over the cookie's name, the
time and the content, which is compared in constant time. A cookie that was changed, was made for
another name or with another key, or is older than `max_age` is ignored. The server stores nothing,
so that it cannot revoke a session: for that, keep an id in the session and its data elsewhere.

The cookie is decoded when a handler first uses the session, and set when the content has changed.
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

KEY_BYTES: Final = 32  # at least; the length of the digest (RFC 2104, section 3)
COOKIE_BYTES: Final = 4093  # with attributes; all browsers keep so many (RFC 6265, section 6.1)
FORTNIGHT: Final = 14 * 24 * 60 * 60

_VALUE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Session(MutableMapping[str, Any]):
    """A dict of JSON values with text keys, decoded from its cookie when it is first used.

    It is `request.state["session"]`. Values that are changed in place are saved as well.
    """

    __slots__ = ("_read", "_values", "stored")

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._values: dict[str, Any] | None = None
        self.stored = b""  # the content of the cookie, once it was read

    @property
    def used(self) -> bool:
        """Whether its content has been used."""
        return self._values is not None

    def encoded(self) -> bytes:
        """The content as JSON, or nothing if it is empty. Raises TypeError or ValueError."""
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
            raise TypeError(f"a key of a session must be text, not {key!r}")
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
    """Keeps `request.state["session"]`, a Session, in a signed cookie.

        app = Application(Sessions(os.environ["SESSION_SECRET"]))

        @app.get("/visits")
        def visits(request):
            session = request.state["session"]
            session["visits"] = session.get("visits", 0) + 1
            return str(session["visits"])

    Changes that are made while a stream is being sent are lost: the cookie is in the head.
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
        """`secret` is at least 32 random bytes, for instance of `secrets.token_hex()`.

        With several secrets the first one signs and all are accepted, so that they can be replaced
        one by one. `cookie`, `path` and `same_site` are those of `set_cookie`. A session ends
        `max_age` seconds after it was last changed. With `secure` the cookie is sent over https
        only; None means: if the request came over https. `clock` returns the time of day in
        seconds. Raises ValueError for a secret that is too short, a `max_age` below 1, and options
        that a cookie cannot have.
        """
        secrets = [secret] if isinstance(secret, str | bytes) else list(secret)
        self._keys = [_checked_key(one) for one in secrets]
        if not self._keys:
            raise ValueError("secret must not be empty")
        if max_age < 1:
            raise ValueError(f"max_age must be 1 second or more, not {max_age!r}")
        self._cookie = cookie
        self._max_age = max_age
        self._secure = secure
        self._same_site: Literal["Strict", "Lax", "None"] = same_site
        self._path = path
        self._clock = clock
        self._write(Response(), b"{}", secure is None or secure)  # to raise ValueError now

    def before(self, request: Request) -> None:
        request.state["session"] = Session(lambda: self._read(request))

    def after(self, request: Request, response: Response) -> Response:
        """Set the cookie if the content has changed.

        Raises TypeError or ValueError for content that JSON or a cookie cannot hold.
        """
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
        """The session, or one with the content of the dict that a handler has put in its place."""
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
                f"the session is a cookie of {size} bytes; browsers keep at most {COOKIE_BYTES}"
            )
        return response

    def _read(self, request: Request) -> bytes:
        return self.verified(request.cookies.get(self._cookie, ""))

    # --- the value of the cookie: content.seconds.signature --------------------------------------

    def sign(self, content: bytes) -> str:
        """A value for the cookie, with the time of day."""
        signed = b"%b.%d" % (_base64(content), self._clock())
        return (b"%b.%b" % (signed, self._signature(self._keys[0], signed))).decode()

    def verified(self, value: str) -> bytes:
        """The content of a value, or nothing if its signature is wrong or it is too old."""
        match = _VALUE.fullmatch(value.encode("latin-1", "replace"))
        if match is None:
            return b""
        content, seconds, signature = match.groups()
        signed = b"%b.%b" % (content, seconds)
        # All keys are tried, even after one that fits: the time that it takes reveals nothing.
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
        raise ValueError(f"a secret must have {KEY_BYTES} bytes or more, not {len(key)}")
    return key


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
