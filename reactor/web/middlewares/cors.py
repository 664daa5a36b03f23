"""CORS: which pages of other origins may read the responses (Fetch Standard, section 3.3).

Before a browser sends a request that no form could send, it asks with OPTIONS (a preflight); and it
withholds a response from the page if the response does not allow the page's origin. Preflights are
handled here, for every path: as a middleware of the whole application this stands above 404, 405
and OPTIONS as well. It belongs outside everything that would refuse a preflight, which never has
credentials.

A refusal is a response without CORS fields; for a preflight it has the status 403, as the standard
suggests ("HTTP responses"). Any other request is handled as if this middleware were not there, and
the browser withholds the response: the protocol does not protect a server from requests.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from reactor.messages.response import Response, plain_response
from reactor.protocol.grammar import is_token
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.middlewares.fields import has_field, varying
from reactor.web.semantics.cross_site import is_origin, is_preflight

ANY: Final = "*"

Origins: TypeAlias = str | re.Pattern[str] | Callable[[str], bool] | Iterable[str | re.Pattern[str]]

# The fields that a page may send without a preflight. A preflight asks for them only when their
# values are unusual, as Content-Type is for JSON ("CORS-safelisted request-header").
_SAFELISTED: Final = ("Accept", "Accept-Language", "Content-Language", "Content-Type")


class CORS(Middleware):
    """Allows pages of other origins to read the responses, and handles preflights.

        api = app.group("/api", CORS(["https://app.example"], headers=["X-Token"]))

    A refused preflight is a 403; any other request is handled as usual.
    """

    def __init__(
        self,
        origins: Origins,
        methods: Iterable[str] | str = ("GET", "HEAD", "POST"),
        headers: Iterable[str] | str = (),
        expose: Iterable[str] | str = (),
        credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        """`origins` are the allowed ones: an origin like `https://example.com`, several of them,
        compiled patterns that match a whole origin, a function from an origin to bool, or `*`.

        `methods` and `headers` are those that a page may use in requests, or `*` for all; Accept,
        Accept-Language, Content-Language and Content-Type are always allowed. `expose` are the
        response fields that a page may read beside the few that are always readable. With
        `credentials` a page may send cookies; `origins` must not be `*` then. A browser may cache
        the result of a preflight for `max_age` seconds.

        Raises ValueError for a malformed origin, method or field name, for `*` with `credentials`,
        and for a negative `max_age`.
        """
        if credentials and origins == ANY:
            raise ValueError("origins must not be `*` with credentials: any page could use them")
        if max_age < 0:
            raise ValueError(f"max_age must be 0 seconds or more, not {max_age}")
        self._any = isinstance(origins, str) and origins == ANY
        self._allows = _predicate(origins)
        self._credentials = (("Access-Control-Allow-Credentials", "true"),) * credentials
        self._methods = _tokens("methods", methods)
        self._headers = _tokens("headers", headers)
        if ANY not in self._headers:
            self._headers = (*_SAFELISTED, *self._headers)
        self._folded = frozenset(name.lower() for name in self._headers)
        exposed = ", ".join(_tokens("expose", expose))
        self._expose = (("Access-Control-Expose-Headers", exposed),) if exposed else ()
        self._max_age = ("Access-Control-Max-Age", str(max_age))

    def before(self, request: Request) -> Response | None:
        return self._preflight(request) if is_preflight(request) else None

    def after(self, request: Request, response: Response) -> Response:
        # A response that depends on the origin varies by it also for requests without one, and any
        # other response is the same for all: otherwise a cache would send to one page the
        # response that it stored for another (Fetch Standard, "CORS protocol and HTTP caches").
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
        """A 204 with all that is allowed, or a 403 with the reason."""
        origin = request.headers.get("origin")
        method = request.headers.get("access-control-request-method")
        asked = request.headers.get("access-control-request-headers")
        names = [name.strip(" \t") for name in asked.split(",")] if asked else []
        if not self._allows(origin):
            return plain_response(403, "Pages of this origin are not allowed here.")
        if not _allowed(method, method, self._methods):
            return plain_response(403, "Pages of other origins may not use this method.")
        if not all(_allowed(name, name.lower(), self._folded) for name in names):
            return plain_response(403, "Pages of other origins may not send these fields.")
        # `*` would not include Authorization, and would mean nothing with credentials, so that the
        # fields list the names that the preflight asked for ("CORS-preflight fetch").
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


def _allowed(text: str, name: str, known: Iterable[str]) -> bool:
    return is_token(text) and (name in known or ANY in known)


def _tokens(option: str, given: Iterable[str] | str) -> tuple[str, ...]:
    """The names as a tuple. Raises ValueError for one that is no token."""
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not is_token(name):
            raise ValueError(f"{option} must be tokens (RFC 9110, section 5.6.2), not {name!r}")
    return names


def _predicate(origins: Origins) -> Callable[[str], bool]:
    """The function that decides on an origin. Raises ValueError for a malformed origin."""
    if callable(origins):
        return origins
    given = [origins] if isinstance(origins, str | re.Pattern) else list(origins)
    if not given:
        raise ValueError("origins must not be empty")
    if given == [ANY]:
        return lambda origin: True
    patterns = [one for one in given if isinstance(one, re.Pattern)]
    exact = frozenset(one for one in given if isinstance(one, str))
    for one in exact:
        _check_origin(one)
    return lambda origin: origin in exact or any(one.fullmatch(origin) for one in patterns)


def _check_origin(origin: str) -> None:
    if origin == ANY:
        raise ValueError("`*` must be the only origin")
    if origin == "null":
        raise ValueError("`null` must not be allowed: every sandboxed page has this origin")
    if not is_origin(origin):
        raise ValueError(
            "an origin must be scheme://host or scheme://host:port, in lower case and without the "
            f"default port, not {origin!r}"
        )
