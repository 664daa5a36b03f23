"""Refuses requests that a page of another site made a browser send.

A browser sends a form or a simple fetch wherever a page points it, without asking the server first
(the CORS protocol only withholds the response from the page). So endpoints that change something
check what the browser says about the page, in two fields that no script can set: Sec-Fetch-Site
(Fetch Metadata Request Headers, section 2.3) and Origin (RFC 6454, section 7). A client that sends
neither is no browser, so no page can misuse it.

Sec-Fetch-Site is the browser's own verdict about the address that it requested. Where it is
present, it alone counts: a proxy that rewrites Host makes every Origin look foreign, and a page may
hide its origin ("null", by Referrer-Policy). Where it is missing, as from a browser over plain
HTTP, the origin must be that of the Host. Schemes are not compared: behind a proxy that terminates
TLS, the page is https and the request is http.

The operator may trust origins. That is needed behind a proxy on plain HTTP that rewrites Host, or
drops its port: the server's own page then has an origin that no request names.
"""

import re
from collections.abc import Set
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest

# The value "none" means the user: an address typed or dropped into the browser (section 2.3 there).
_OURS: Final = frozenset(("same-origin", "none"))
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
# An origin as a browser sends it: no path, slash or upper case (RFC 6454, section 6.2).
_ORIGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)
_SHOWN: Final = 100  # characters of an origin that a refusal repeats


def refuse_foreign(request: BaseRequest, trusted: Set[str] = frozenset()) -> None:
    """Raise ProtocolError(403) for a request that a page of another site made a browser send.

    Pages of the `trusted` origins, in the form that `origin_of` returns, may send it.
    """
    origins = request.headers.get_all("Origin")
    sites = request.headers.get_all("Sec-Fetch-Site")
    if sites:
        allowed = all(site.lower() in _OURS for site in sites) or (
            bool(origins) and all(_normal(origin) in trusted for origin in origins)
        )
    else:
        allowed = all(
            _is_of_host(origin, request.host) or _normal(origin) in trusted for origin in origins
        )
    if not allowed:
        raise ProtocolError(403, _refusal(origins))


def is_preflight(request: BaseRequest) -> bool:
    """Return whether a browser asks if a page may send a request (Fetch Standard, 3.3.2)."""
    headers = request.headers
    return (
        request.method == "OPTIONS"
        and "access-control-request-method" in headers
        and "origin" in headers
    )


def origin_of(text: str) -> str:
    """Return the origin that a URL without a path names, in lower case, without a default port.

    Raises ValueError for any other text.
    """
    origin = _normal(text.removesuffix("/"))
    port = origin.rpartition("]")[2].rpartition(":")[2]
    if not _ORIGIN.fullmatch(origin) or (port.isdigit() and int(port) > 65535):
        raise ValueError(
            f"{text[:_SHOWN]!r} is not the URL of an origin: scheme://host or scheme://host:port, "
            "as in http://files.lan:8080"
        )
    return origin


def is_origin(text: str) -> bool:
    """Return whether the text is an origin as browsers send it: without a path or default port."""
    return _ORIGIN.fullmatch(text) is not None and _normal(text) == text


def _normal(origin: str) -> str:
    """Return the origin in lower case and without the default port of its scheme."""
    origin = origin.lower()
    port = _DEFAULT_PORTS.get(origin.partition("://")[0])
    return origin.removesuffix(port) if port is not None else origin


def _is_of_host(origin: str, host: str) -> bool:
    """Return whether the origin has this host and port; "null" has no host."""
    scheme, _, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None or not host:
        return False
    return authority.removesuffix(port) == host.lower().removesuffix(port)


def _refusal(origins: list[str]) -> str:
    # The host is left out: behind a proxy it may be a name that is nobody's business.
    shown = ", ".join(ascii(origin[:_SHOWN]) for origin in origins[:2])
    return (
        "Pages of other sites may not send this request. It comes from a page of "
        f"{shown or 'an unnamed origin'}; the option --trusted-origins URL,… names origins whose "
        "pages may send it."
    )
