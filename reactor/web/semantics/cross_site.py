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
"""

from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest

# The value "none" means the user: an address typed or dropped into the browser (section 2.3 there).
_OURS: Final = frozenset(("same-origin", "none"))
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def refuse_foreign(request: BaseRequest) -> None:
    """Raise ProtocolError(403) for a request that a page of another site made a browser send."""
    sites = request.headers.get_all("Sec-Fetch-Site")
    if sites:
        allowed = all(site.lower() in _OURS for site in sites)
    else:
        origins = request.headers.get_all("Origin")
        allowed = all(_is_of_host(origin, request.host) for origin in origins)
    if not allowed:
        raise ProtocolError(403, "Pages of other sites may not send this request.")


def _is_of_host(origin: str, host: str) -> bool:
    """Return whether the origin has this host and port; "null" has no host."""
    scheme, _, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None or not host:
        return False
    return authority.removesuffix(port) == host.lower().removesuffix(port)
