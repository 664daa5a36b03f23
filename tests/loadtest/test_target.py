"""The application under test: each path does its documented work, within its limits."""

import gzip
import os
import threading
import time
from collections.abc import Iterator

import pytest

from loadtest.apps import target
from reactor import Limits
from reactor.testing import Client

WRONG = (
    *("10001", "99999", "-1", "x", "1.5", "", " 5", "+5", "1e3", "٣", "0x10"),
    *("0100000", "00000199999999", "0" * 4400),  # digits in excess, also of zeros
)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(target.app, limits=Limits()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/hello", b"hello-world!!"),
        ("/block?ms=0", b"hello-world!!"),
        ("/burn?ms=0", b"hello-world!!"),
        ("/text", target.TEXT),
        ("/mib", target.MIB),
        ("/pid", b"%d\n" % os.getpid()),
    ],
    ids=lambda value: value if isinstance(value, str) else "body",
)
def test_responses(path: str, body: bytes, client: Client) -> None:
    response = client.get(path, headers={"Accept-Encoding": "identity"})
    assert response.status == 200
    assert response.content == body
    assert response.headers["Content-Length"] == str(len(body))


def test_sizes_are_as_documented() -> None:
    assert len(target.HELLO) == 13
    assert len(target.TEXT) == 64 * 1024
    assert len(target.MIB) == 1024 * 1024


def test_a_page_is_a_table(client: Client) -> None:
    response = client.get("/page")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.count("<tr>") == response.text.count("</tr>") == target.ROWS
    assert response.text.startswith("<!doctype html>")


def test_the_text_is_gzipped_for_clients_that_accept_it(client: Client) -> None:
    encoded = client.get("/text", headers={"Accept-Encoding": "gzip, deflate"})
    assert encoded.headers["Content-Encoding"] == "gzip"
    assert "accept-encoding" in encoded.headers["Vary"].lower()
    assert gzip.decompress(encoded.content) == target.TEXT
    # About as compressible as a log: neither noise nor one sentence again and again.
    assert 1 / 20 < len(gzip.compress(target.TEXT)) / len(target.TEXT) < 1 / 2
    plain = client.get("/text", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("path", ["/block", "/burn"])
@pytest.mark.parametrize("value", WRONG)
def test_malformed_milliseconds(path: str, value: str, client: Client) -> None:
    began = time.monotonic()
    assert client.get(path, params={"ms": value}).status == 400
    assert time.monotonic() - began < 8.0, "it slept"


@pytest.mark.parametrize("value", ["00", "0000", "00003", "3"])
def test_a_number_may_begin_with_zeros(value: str, client: Client) -> None:
    assert client.get(f"/block?ms={value}").status == 200


def test_the_most_that_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    for ask, seconds in (("?ms=10000", 10.0), ("?ms=250", 0.25), ("", 0.02)):
        assert client.get(f"/block{ask}").status == 200
        assert slept.pop() == seconds


def test_to_burn_takes_time_of_the_processor(client: Client) -> None:
    """Also beside another thread that wants it: then it takes longer, and costs the same."""
    stop = threading.Event()

    def compete() -> None:
        while not stop.is_set():
            sum(range(100))

    other = threading.Thread(target=compete)
    other.start()
    try:
        before, began = time.thread_time(), time.monotonic()
        assert client.get("/burn?ms=60").status == 200
        used, taken = time.thread_time() - before, time.monotonic() - began
    finally:
        stop.set()
        other.join()
    assert 0.06 <= used < 1.0
    assert taken >= 0.06
    before = time.thread_time()
    client.get("/block?ms=60")
    assert time.thread_time() - before < 0.05, "to sleep costs nothing"


def test_an_upload_is_counted(client: Client) -> None:
    assert client.post("/upload", content=b"x" * 70_000).text == "70000\n"
    assert client.post("/upload", content=b"").text == "0\n"


def test_events_come_each_second(client: Client) -> None:
    with client.stream("GET", "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        lines = (line for line in response.iter_lines() if line.startswith("data:"))
        began = client.now
        numbers = [int(next(lines).split()[1]) for _ in range(4)]
        assert numbers == [0, 1, 2, 3]
        assert client.now - began == pytest.approx(3 * target.EVENT_SECONDS, abs=0.1)


@pytest.mark.parametrize(("method", "path"), [("GET", "/upload"), ("POST", "/hello")])
def test_each_path_has_its_method(method: str, path: str, client: Client) -> None:
    assert client.request(method, path).status == 405


def test_nothing_else_is_there(client: Client) -> None:
    assert client.get("/nothing").status == 404
