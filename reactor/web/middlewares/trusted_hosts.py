"""Requests for the hosts of this server alone.

An application that uses the Host field (for links in mails, redirects, cache keys) uses text that a
client may choose. A request for a host that is not in the list is refused: with 400, as is usual;
421 (RFC 9110, section 15.5.20) would have browsers try again on another connection.
"""

from collections.abc import Iterable

from reactor.errors import ProtocolError
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware
from reactor.web.semantics.hosts import Hosts


class TrustedHosts(Middleware):
    """Refuses requests for other hosts, or without a host: 400.

        app = Application(TrustedHosts(["example.com", "*.example.com"]))

    The host is that of the Host field, or of an absolute target.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        """`hosts` are names, addresses, `*.example.com` for all names below it, or `*` for all.

        Upper and lower case, a dot at the end and ports make no difference. An IPv6 address is
        written with or without brackets. Raises ValueError for a malformed host, and for an empty
        list.
        """
        given = [hosts] if isinstance(hosts, str) else list(hosts)
        if not given:
            raise ValueError("hosts must not be empty")
        self._hosts = Hosts(given)

    def before(self, request: Request) -> None:
        """Raises ProtocolError (400)."""
        given = request.host
        if given not in self._hosts.exact and given not in self._hosts:
            raise ProtocolError(400, "The request is for a host that is not served here.")
