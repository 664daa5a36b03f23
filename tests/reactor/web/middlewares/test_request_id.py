"""RequestId: an id for each request, in the state, the response and the logs."""

import re

import pytest

from reactor import Response
from reactor.messages.request import BaseRequest
from reactor.observe.error_log import RecordFormatter
from reactor.testing import Client
from reactor.web.middlewares import RequestId
from tests.support.middleware_app import PATHS, SHARED, STATUSES, application, served

MADE = re.compile("[0-9a-f]{16}")


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_an_id(path: str) -> None:
    with served(RequestId()) as client:
        seen = set()
        for _ in range(3):
            response = client.get(path)
            assert response.status == STATUSES[path]
            (given,) = response.headers.get_all("x-request-id")
            assert MADE.fullmatch(given)
            seen.add(given)
        assert len(seen) == 3


def test_the_state_has_the_same_id() -> None:
    with served(RequestId()) as client:
        response = client.get("/state")
        assert response.json() == {"request_id": repr(response.headers["x-request-id"])}


def test_a_shared_response_is_not_changed() -> None:
    before = SHARED.headers
    with served(RequestId(), RequestId("X-Other")) as client:
        for _ in range(3):
            response = client.get("/shared")
            assert len(response.headers.get_all("x-request-id")) == 1
            assert len(response.headers.get_all("x-other")) == 1
    assert SHARED.headers == before


@pytest.mark.parametrize(
    "given", ["a", "a" * 128, "0b5c-77", "Root=1-67891233-abcdef012345678912345678", "a_b.c:d+e/~@"]
)
def test_the_id_of_a_trusted_request_is_used(given: str) -> None:
    for trust in (True, False):
        with served(RequestId(trust=trust)) as client:
            response = client.get("/state", headers={"x-request-ID": given})
            assert (response.headers["x-request-id"] == given) is trust
            assert (response.json()["request_id"] == repr(given)) is trust


@pytest.mark.parametrize(
    "given", ["", "a" * 129, "a b", 'a"', "a,b", "<b>", "a\\n", "é", "a;b", "\u0661"]
)
def test_unsafe_ids_are_replaced(given: str) -> None:
    with served(RequestId(trust=True)) as client:
        headers = [("X-Request-Id", given.encode().decode("latin-1"))]
        assert MADE.fullmatch(client.get("/plain", headers=headers).headers["x-request-id"])


def test_two_ids_are_replaced() -> None:
    with served(RequestId(trust=True)) as client:
        headers = [("X-Request-Id", "a"), ("X-Request-Id", "b")]
        assert MADE.fullmatch(client.get("/plain", headers=headers).headers["x-request-id"])


def test_a_response_keeps_its_own_id() -> None:
    app = application(RequestId())
    app.add("GET", "/own", lambda request: Response(200, b"", [("x-request-ID", "mine")]))
    with Client(app) as client:
        assert client.get("/own").headers.get_all("x-request-id") == ["mine"]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é"])
def test_malformed_field_names(name: str) -> None:
    with pytest.raises(ValueError, match="header must be a token"):
        RequestId(name)


def test_the_logs_contain_the_id(caplog: pytest.LogCaptureFixture) -> None:
    """The server's own request has the id, so its log lines and log records contain it."""

    def fail(request: BaseRequest) -> Response:
        raise ValueError

    app = application(RequestId())
    app.add("GET", "/fail", fail)
    with Client(app, raise_server_exceptions=False) as client:
        given = client.get("/fail").headers["x-request-id"]
    said = RecordFormatter().format(caplog.records[-1])
    assert said.split("\n")[0].endswith(f" [{given}]")
