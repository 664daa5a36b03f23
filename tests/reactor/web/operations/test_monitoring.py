"""Monitoring paths come first; all other requests reach the handler unchanged."""

from typing import Any

import pytest

from reactor import Response, Server
from reactor.messages.request import BaseRequest
from reactor.web.operations.monitoring import Monitoring
from tests.conftest import Serve

pytestmark = pytest.mark.system


class Application:
    """Responds with the path of the request, and knows its server."""

    server: Server | None = None

    def prepare(self, server: Server) -> None:
        self.server = server

    async def __call__(self, request: BaseRequest) -> Response:
        body = await request.body.read()
        return Response(200, f"{request.method} {request.target} ".encode() + body)


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"health": True, "metrics": True}, {"/healthz", "/readyz", "/metrics"}),
        ({"health": True, "metrics": False}, {"/healthz", "/readyz"}),
        ({"health": False, "metrics": True}, {"/metrics"}),
        ({"health": False, "metrics": False}, set()),
    ],
)
def test_only_enabled_paths_are_served(
    serve: Serve, options: dict[str, Any], taken: set[str]
) -> None:
    client = serve(Monitoring(Application(), **options)).connect()
    for path in (
        *("/healthz", "/readyz", "/metrics", "/", "/metricsx", "/metrics/", "/x/metrics"),
        *("//metrics", "/Metrics", "/%6detrics"),
    ):
        response = client.ask(path, method="POST", body=b"abc")
        if path.replace("%6d", "m") in taken:
            assert (response.status, response.get("allow")) == (405, "GET, HEAD")
            client.close()
            client = serve(Monitoring(Application(), **options)).connect()
            assert client.ask(path).status == 200
        else:
            assert response.body == f"POST {path} abc".encode()


def test_both_handlers_are_prepared(serve: Serve) -> None:
    application = Application()
    running = serve(Monitoring(application, health=True, metrics=False))
    assert application.server is running.server
    assert running.server._statistics is None, "who wants no metrics does not pay for them"


def test_a_handler_without_prepare(serve: Serve) -> None:
    client = serve(Monitoring(lambda request: Response(418), health=True, metrics=True)).connect()
    assert client.ask("/").status == 418
    assert client.ask("/healthz").status == 200
