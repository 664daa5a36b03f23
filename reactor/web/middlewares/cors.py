"""Which pages of other sites may read the answers: the CORS protocol (Fetch Standard, section 3.3).

A browser asks first, by OPTIONS, before it sends what no form could (a preflight), and withholds an
answer that does not say that the page may have it. A preflight is answered here, whatever routes
there are: as a middleware of the whole application this stands above 404, 405 and OPTIONS as well,
and it belongs outside anything that would refuse a preflight, which never has credentials.

A refusal is an answer without CORS fields; that of a preflight has status 403, as the standard
suggests ("HTTP responses"). Any other request is answered as if this were not here, and it is the
browser that withholds the answer: this protocol protects no server from being asked.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from reactor.messages.response import Response, plain_response
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field, varying

ANY: Final = "*"

Origins: TypeAlias = str | re.Pattern[str] | Callable[[str], bool] | Iterable[str | re.Pattern[str]]

# Without a path, a slash or upper case (RFC 6454, section 6.2): as a browser sends it.
_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_DEFAULT_PORT: Final = re.compile(r"http://.*:80|https://.*:443")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a page may send without a preflight; one has to ask for them only when their values are
# unusual, as Content-Type is for JSON ("CORS-safelisted request-header").
_SAFELISTED: Final = ("Accept", "Accept-Language", "Content-Language", "Content-Type")


class CORS(Middleware):
    """Answers preflights, and tells browsers which pages may read an answer."""

    def __init__(
        self,
        origins: Origins,
        methods: Iterable[str] | str = ("GET", "HEAD", "POST"),
        headers: Iterable[str] | str = (),
        expose: Iterable[str] | str = (),
        credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        """`origins`: `https://example.com`, several, patterns that fit the whole of one, a
        predicate, or `*`.

        `methods` and `headers` are what such a page may use, `*` for all; Accept, Accept-Language,
        Content-Language and Content-Type it may always. `expose` are the fields of an answer that
        it may read beside the few that it always may. With `credentials` it may send cookies, and
        `origins` cannot be `*`. What a preflight has said holds for `max_age` seconds.

        Raises ValueError.
        """
        if credentials and origins == ANY:
            raise ValueError("with credentials, origins are named: any page could use them")
        if max_age < 0:
            raise ValueError(f"max_age is no less than 0 seconds: {max_age}")
        self._any = isinstance(origins, str) and origins == ANY
        self._allows = _predicate(origins)
        self._credentials = (("Access-Control-Allow-Credentials", "true"),) * credentials
        self._methods = _tokens("method", methods)
        self._headers = _tokens("field", headers)
        if ANY not in self._headers:
            self._headers = (*_SAFELISTED, *self._headers)
        self._folded = frozenset(name.lower() for name in self._headers)
        exposed = ", ".join(_tokens("field", expose))
        self._expose = (("Access-Control-Expose-Headers", exposed),) if exposed else ()
        self._max_age = ("Access-Control-Max-Age", str(max_age))

    def before(self, request: Request) -> Response | None:
        return self._preflight(request) if is_preflight(request) else None

    def after(self, request: Request, response: Response) -> Response:
        # An answer that depends on the page does so without one as well, and one that does not says
        # the same to all: otherwise a cache would give to one what it has of another (Fetch
        # Standard, "CORS protocol and HTTP caches").
        origin = request.headers.get("origin")
        if not self._any:
            response = varying(response, "Origin")
            if not origin or not self._allows(origin):
                return response
        if is_preflight(request) or has_field(response, "access-control-allow-origin"):
            return response
        return response.with_headers(self._allow(origin), *self._credentials, *self._expose)

    def _allow(self, origin: str) -> tuple[str, str]:
        return "Access-Control-Allow-Origin", ANY if self._any else origin

    def _preflight(self, request: Request) -> Response:
        """204 with what is allowed, or 403 and the reason."""
        origin = request.headers.get("origin")
        method = request.headers.get("access-control-request-method")
        asked = request.headers.get("access-control-request-headers")
        names = [name.strip(" \t") for name in asked.split(",")] if asked else []
        if not self._allows(origin):
            return plain_response(403, "Pages of this origin may not do this.")
        if not _allowed(method, method, self._methods):
            return plain_response(403, "Pages of other origins may not use this method.")
        if not all(_allowed(name, name.lower(), self._folded) for name in names):
            return plain_response(403, "Pages of other origins may not send these fields.")
        # `*` would not stand for Authorization, nor for anything at all with credentials, so what
        # is said is what was asked for ("CORS-preflight fetch").
        allowed_methods = (method,) if ANY in self._methods else self._methods
        allowed_headers = names if ANY in self._headers else self._headers
        fields = [
            self._allow(origin),
            *self._credentials,
            ("Access-Control-Allow-Methods", ", ".join(allowed_methods)),
            ("Access-Control-Allow-Headers", ", ".join(allowed_headers)),
            self._max_age,
        ]
        return Response(204, b"", [field for field in fields if field[1]])


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what a page may do."""
    headers = request.headers
    return (
        request.method == "OPTIONS"
        and "access-control-request-method" in headers
        and "origin" in headers
    )


def _allowed(text: str, name: str, known: Iterable[str]) -> bool:
    return bool(_TOKEN.fullmatch(text)) and (name in known or ANY in known)


def _tokens(kind: str, given: Iterable[str] | str) -> tuple[str, ...]:
    """Raises ValueError for what is no name of a method or a field."""
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"no name of a {kind}: {name!r}")
    return names


def _predicate(origins: Origins) -> Callable[[str], bool]:
    """Raises ValueError for what is no origin."""
    if callable(origins):
        return origins
    given = [origins] if isinstance(origins, str | re.Pattern) else list(origins)
    if not given:
        raise ValueError("there is no origin that is allowed")
    if given == [ANY]:
        return lambda origin: True
    patterns = [one for one in given if isinstance(one, re.Pattern)]
    exact = frozenset(one for one in given if isinstance(one, str))
    for one in exact:
        _check_origin(one)
    return lambda origin: origin in exact or any(one.fullmatch(origin) for one in patterns)


def _check_origin(origin: str) -> None:
    if origin == ANY:
        raise ValueError("`*` stands alone, or not at all")
    if origin == "null":
        raise ValueError("`null` is the origin of anybody's sandboxed page")
    if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.fullmatch(origin):
        raise ValueError(f"an origin is scheme://host or scheme://host:port, not {origin!r}")
