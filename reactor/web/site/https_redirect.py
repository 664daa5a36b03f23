"""The handler of a listener that redirects plain HTTP to HTTPS."""

import re
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.web.semantics.hosts import Hosts, normal_host

PORT: Final = 443  # the one that a URL of https need not name
_ORIGIN: Final = re.compile(r"[^:/?#]+://[^/?#]*")  # a target in absolute form begins with it


class HttpsRedirect:
    """Responds by 308 to the same path at the same host, one of `hosts`."""

    def __init__(self, hosts: Hosts, port: int) -> None:
        """`port` is the one at which HTTPS is spoken."""
        self._hosts = hosts
        self._port = "" if port == PORT else f":{port}"

    def __call__(self, request: BaseRequest) -> Response:
        """Redirect the request. Raises ProtocolError where its host is not served, or absent."""
        if not request.host:
            raise ProtocolError(400, "A request without a host cannot be redirected.")
        self._hosts.admit(request.host)
        location = f"https://{normal_host(request.host)}{self._port}{_path(request.target)}"
        return plain_response(308, f"It is at {location}", (("Location", location),))


def _path(target: str) -> str:
    """The path and the query of a target in any form, as they came."""
    path = target if target.startswith("/") else _ORIGIN.sub("", target)
    return path if path.startswith("/") else f"/{path.removeprefix('*')}"
