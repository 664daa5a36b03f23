"""Health, readiness and metrics, in front of another handler.

Each has one path and hides that path of the other handler, so each has to be switched on. For all
other paths the other handler is called as the server would call it.
"""

from typing import Final

from reactor.messages.request import BaseRequest
from reactor.server.server import Server, prepare_handler
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable
from reactor.web.operations.health import Readiness, healthz
from reactor.web.operations.metrics import Metrics
from reactor.web.semantics.hosts import Hosts
from reactor.web.semantics.methods import method_not_allowed

HEALTH_PATH: Final = "/healthz"
READINESS_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"
_METHODS: Final = ("GET", "HEAD")


class Monitoring:
    """A handler that serves these paths, and calls another one for all others."""

    def __init__(self, handler: Endpoint, *, health: bool, metrics: bool) -> None:
        self._handler = handler
        self.request_class = getattr(handler, "request_class", BaseRequest)
        self._health = health
        self._metrics = metrics
        self._endpoints: dict[str, Endpoint] = {}  # filled by `prepare`
        # The hosts for which metrics are served, all where it is None. Health is for probes, which
        # use names and addresses of their own, and has no secrets.
        self.hosts: Hosts | None = None

    def prepare(self, server: Server) -> None:
        """Serve health and metrics of this server, and prepare the other handler too."""
        if self._health:
            self._endpoints[HEALTH_PATH] = healthz
            self._endpoints[READINESS_PATH] = Readiness(server)
        if self._metrics:
            self._endpoints[METRICS_PATH] = Metrics(server.statistics)
        prepare_handler(self._handler, server)

    def __call__(self, request: BaseRequest) -> ResponseOrAwaitable:
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return self._handler(request)
        if request.method not in _METHODS:
            raise method_not_allowed(request.method, _METHODS)
        if self.hosts is not None and request.path == METRICS_PATH:
            self.hosts.admit(request.host)
        return endpoint(request)
