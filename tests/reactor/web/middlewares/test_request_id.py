"""RequestId: one for each request, in the state and in the answer."""

import re

import pytest

from reactor import Response
from reactor.messages.request import Request
from reactor.observe.error_log import RecordFormatter
from reactor.testing import Client
from reactor.web.middlewares import RequestId
from tests.support.middleware_app import PATHS, SHARED, STATUSES, application, served

MADE = re.compile("[0-9a-f]{16}")


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_one(path: str) -> None:
    with served(RequestId()) as client:
        seen = set()
        for _ in range(3):
            answer = client.get(path)
            assert answer.status == STATUSES[path]
            (given,) = answer.headers.get_all("x-request-id")
            assert MADE.fullmatch(given)
            seen.add(given)
        assert len(seen) == 3


def test_the_state_has_the_same_one() -> None:
    with served(RequestId()) as client:
        answer = client.get("/state")
        assert answer.json() == {"request_id": repr(answer.headers["x-request-id"])}


def test_an_answer_that_is_given_again_and_again_is_not_changed() -> None:
    before = SHARED.headers
    with served(RequestId(), RequestId("X-Other")) as client:
        for _ in range(3):
            answer = client.get("/shared")
            assert len(answer.headers.get_all("x-request-id")) == 1
            assert len(answer.headers.get_all("x-other")) == 1
    assert SHARED.headers == before


@pytest.mark.parametrize(
    "given", ["a", "a" * 128, "0b5c-77", "Root=1-67891233-abcdef012345678912345678", "a_b.c:d+e/~@"]
)
def test_an_id_that_comes_along_is_taken_from_who_is_trusted(given: str) -> None:
    for trust in (True, False):
        with served(RequestId(trust=trust)) as client:
            answer = client.get("/state", headers={"x-request-ID": given})
            assert (answer.headers["x-request-id"] == given) is trust
            assert (answer.json()["request_id"] == repr(given)) is trust


@pytest.mark.parametrize(
    "given", ["", "a" * 129, "a b", 'a"', "a,b", "<b>", "a\\n", "é", "a;b", "\u0661"]
)
def test_no_other_is(given: str) -> None:
    with served(RequestId(trust=True)) as client:
        headers = [("X-Request-Id", given.encode().decode("latin-1"))]
        assert MADE.fullmatch(client.get("/plain", headers=headers).headers["x-request-id"])


def test_nor_two_of_them() -> None:
    with served(RequestId(trust=True)) as client:
        headers = [("X-Request-Id", "a"), ("X-Request-Id", "b")]
        assert MADE.fullmatch(client.get("/plain", headers=headers).headers["x-request-id"])


def test_an_answer_keeps_the_one_that_it_has() -> None:
    app = application(RequestId())
    app.add("GET", "/own", lambda request: Response(200, b"", [("x-request-ID", "mine")]))
    with Client(app) as client:
        assert client.get("/own").headers.get_all("x-request-id") == ["mine"]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é"])
def test_what_is_no_name_of_a_field(name: str) -> None:
    with pytest.raises(ValueError, match="header must be a token"):
        RequestId(name)


def test_the_logs_know_it(caplog: pytest.LogCaptureFixture) -> None:
    """The server's own request has it, so what is logged of the request is found by it."""

    def fail(request: Request) -> Response:
        raise ValueError

    app = application(RequestId())
    app.add("GET", "/fail", fail)
    with Client(app, raise_server_exceptions=False) as client:
        given = client.get("/fail").headers["x-request-id"]
    said = RecordFormatter().format(caplog.records[-1])
    assert said.split("\n")[0].endswith(f" [{given}]")
