"""Health checks of a running and of a stopping server, which leave no log line."""

from collections.abc import Iterator

import pytest

from reactor import Response
from reactor.messages.request import BaseRequest
from reactor.web.operations.health import Readiness, healthz
from reactor.web.operations.monitoring import Monitoring
from tests.conftest import Running, Serve
from tests.support.coroutine_driver import make_request
from tests.support.pipe_log import PipeLog

pytestmark = pytest.mark.system


@pytest.fixture
def log(no_leaks: None) -> Iterator[PipeLog]:
    log = PipeLog()
    yield log
    log.close()


def other(request: BaseRequest) -> Response:
    return Response(404)


def monitored(serve: Serve, log: int | None = None) -> Running:
    return serve(Monitoring(other, health=True, metrics=False), access_log=log)


def test_alive_and_ready(serve: Serve) -> None:
    client = monitored(serve).connect()
    for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
        response = client.ask(path)
        assert (response.status, response.body) == (200, body)
        assert response.get("cache-control") == "no-store"
        assert client.ask(path, method="HEAD").status == 200
        assert client.ask(f"{path}?x=1").status == 200


def test_a_server_that_shuts_down_is_alive_and_not_ready(serve: Serve) -> None:
    """A request that began before the shutdown gets its response."""
    running = monitored(serve)
    clients = [running.connect() for _ in range(2)]
    for client, path in zip(clients, ("/healthz", "/readyz"), strict=True):
        client.send(f"GET {path} HTTP/1.1\r\n".encode())
    running.wait_until(
        lambda: (
            all(one.state.name == "HEAD" for one in running.server.open_connections)
            and running.server.connections == 2
        )
    )
    running.shut_down()
    running.wait_until(lambda: running.server.draining)
    for client, status in zip(clients, (200, 503), strict=True):
        client.send(b"Host: t\r\n\r\n")
        response = client.read_response()
        assert response.status == status
        assert response.get("connection") == "close"
    for client in clients:
        client.close()
    assert running.join()


def test_health_checks_have_no_access_log_line(serve: Serve, log: PipeLog) -> None:
    running = monitored(serve, log.writer)
    client = running.connect()
    for path in ("/healthz", "/readyz", "/else"):
        client.ask(path)
    (line,) = log.end(running)
    assert '"GET /else HTTP/1.1" 404 0' in line


def test_they_are_plain_endpoints(serve: Serve) -> None:
    running = monitored(serve)
    for endpoint in (healthz, Readiness(running.server)):
        made = make_request("GET", "/")
        assert endpoint(made).status == 200
        assert not made.logged
