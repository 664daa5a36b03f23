"""Whether a request was sent by a page of another site.

A browser sends a form or a simple fetch wherever a page tells it to, with no question asked first
(the CORS protocol only withholds the answer). So what changes something looks at what the browser
says about the page, in two fields that no script can set: Sec-Fetch-Site (Fetch Metadata Request
Headers, section 2.3) and Origin (RFC 6454, section 7). A client that sends neither is no browser,
and nobody's page can use it.

Sec-Fetch-Site is the browser's own verdict, over the address that it asked for. Where there is one
it counts alone: a proxy that rewrites Host makes any Origin look foreign, and a page may hide its
own ("null", by Referrer-Policy). Where there is none, as from a browser over plain HTTP, the origin
has to be that of the Host. Schemes are not compared: behind a proxy that ends TLS, the page is
https and the request is http.
"""

from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.request import Request

# "none" is the user: what is typed or dropped into the browser (section 2.3 there).
_OURS: Final = frozenset(("same-origin", "none"))
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def refuse_foreign(request: Request) -> None:
    """Raise ProtocolError(403) for a request that another site's page has a browser send."""
    sites = request.headers.get_all("Sec-Fetch-Site")
    if sites:
        allowed = all(site.lower() in _OURS for site in sites)
    else:
        origins = request.headers.get_all("Origin")
        allowed = all(_is_of_host(origin, request.host) for origin in origins)
    if not allowed:
        raise ProtocolError(403, "A page of another site may not do this.")


def _is_of_host(origin: str, host: str) -> bool:
    """Whether the origin ("null" is nobody's) has this host and port."""
    scheme, _, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None or not host:
        return False
    return authority.removesuffix(port) == host.lower().removesuffix(port)
