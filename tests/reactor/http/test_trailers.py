"""Trailers: the clients that get them, the fields that may come there, and bodies that are cut.

The bytes are read by h11, whole and one by one, and by this project's own decoder.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, cast

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Fields, Response, Trailed
from reactor.errors import ResponseError
from reactor.http.response_body import ResponseBodyStream
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.protocol.chunked import LAST_CHUNK, encode_chunk, last_chunk
from reactor.protocol.response_encoder import encode_head, encode_trailers, takes_trailers
from reactor.simulator import simulation
from reactor.tasks.task import Runtime
from reactor.web.compression.responses import compress
from tests.support.coroutine_driver import Stage, make_request
from tests.support.parser_feeder import IDLE, play
from tests.support.raw_client import request as request_bytes
from tests.support.worlds import CalmWorld as World
from tests.support.zstd_double import decode

POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FIELDS = (("Repr-Digest", "sha-256=:abc=:"), ("X-Count", "2"))


@pytest.fixture(autouse=True)
def _simulated() -> Iterator[None]:
    with simulation():
        yield


def read_with_h11(data: bytes, step: int) -> tuple[Any, bytes, list[tuple[bytes, bytes]]]:
    """Head, body and trailers of one response to a GET, fed `step` bytes at a time."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    head, body = None, b""
    for at in range(0, len(data), step):
        client.receive_data(data[at : at + step])
        while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert at + step >= len(data), "bytes follow"
                assert client.trailing_data[0] == b""
                return head, body, list(event.headers)
    raise AssertionError("no end")


def exchange(handler: Callable[[BaseRequest], Response], *fields: str, **options: Any) -> World:
    """A world in which one client has sent a request; `received` is what it got."""
    world = World(handler)
    client = world.client(request_bytes("/", *fields, **options))
    world.run(1)
    world.received = bytes(client.received)  # type: ignore[attr-defined]
    world.end = client.end  # type: ignore[attr-defined]
    return world


def received(world: World) -> bytes:
    return cast(bytes, world.received)  # type: ignore[attr-defined]


def trailed(pieces: Sequence[bytes] = (b"one", b"two"), fields: Fields = FIELDS) -> Trailed:
    return Trailed(iter(pieces), lambda: fields, announce=[name for name, _ in fields])


# --- bytes ---------------------------------------------------------------------------------------


def test_the_last_chunk_with_trailers() -> None:
    assert last_chunk(b"") == LAST_CHUNK
    assert encode_trailers(()) == b""
    assert last_chunk(encode_trailers(FIELDS)) == (
        b"0\r\nRepr-Digest: sha-256=:abc=:\r\nX-Count: 2\r\n\r\n"
    )


LATIN = st.characters(max_codepoint=255, exclude_categories=["Cc"]) | st.just("\t")


@pytest.mark.slow
@given(
    fields=st.lists(
        st.tuples(
            st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True).map("x".__add__),
            st.text(LATIN, max_size=20).map(lambda value: value.strip(" \t")),
        ),
        max_size=5,
    ),
    pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=3),
)
def test_encoded_trailers_are_read_by_us_whole_and_byte_by_byte(
    fields: list[tuple[str, str]], pieces: list[bytes]
) -> None:
    """Our decoder checks trailers and drops them, and takes no byte that follows."""
    data = POST + b"".join(map(encode_chunk, pieces)) + last_chunk(encode_trailers(fields))
    for outcome in (play([data]), play(data[at : at + 1] for at in range(len(data)))):
        assert outcome.ending == IDLE
        assert outcome.bodies == [b"".join(pieces)]
        assert outcome.next_at == len(data)


FORBIDDEN = [
    *("Transfer-Encoding", "Content-Length", "Connection", "Date", "Trailer", "TE", "Upgrade"),
    *("Host", "Location", "Cache-Control", "Vary", "Expires", "Age", "Retry-After"),
    *("Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Set-Cookie", "Cookie"),
    *("Content-Type", "content-encoding", "CONTENT-RANGE", "Content-Disposition", "Range"),
    *("If-Match", "Expect", "Max-Forwards"),
]
WRONG: list[Any] = [
    ("X", "a\r\nY: b"),
    ("X", "a\nY: b"),
    ("X", "a\r\n\r\nHTTP/1.1 200 OK"),
    ("X\r\nY", "a"),
    ("X:", "a"),
    ("X Y", "a"),
    ("", "a"),
    ("X", "a\0"),
    ("X", "☃"),
    ("X", " a"),
    (7, "a"),
    ("X",),
    "X: a",
    None,
]


@pytest.mark.parametrize("field", [*((name, "x") for name in FORBIDDEN), *WRONG])
def test_fields_that_are_no_trailers(field: Any) -> None:
    with pytest.raises(ResponseError):
        encode_trailers([("X-Good", "1"), field])
    with pytest.raises(ResponseError):
        encode_trailers([field])


def test_trailers_are_a_list_of_fields() -> None:
    for wrong in (None, 7, [7], "X"):
        with pytest.raises(ResponseError):
            encode_trailers(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest", "ETag", "Server-Timing", "X"])
def test_fields_that_are_trailers(name: str) -> None:
    assert encode_trailers([(name, "v")]) == f"{name}: v\r\n".encode()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("trailers", True),
        ("Trailers", True),
        ("gzip;q=0.5, trailers", True),
        ("trailers,deflate", True),
        (" ,\ttrailers\t, ", True),
        ("", False),
        ("gzip", False),
        ("trailer", False),
        ("xtrailers", False),
        ("trailers;q=1", False),
        ("chunked", False),
        ('x;a=", trailers, ", gzip', False),
        (r'x;a="\", trailers,"', False),
        ('x;a=", gzip, ", trailers', True),
    ],
)
def test_clients_that_accept_trailers(value: str, wanted: bool) -> None:
    request = make_request("GET", "/", te=value)
    assert takes_trailers(request, trailed()) is wanted
    assert not takes_trailers(request, iter([b"x"]))
    assert not takes_trailers(request, b"x")


def test_several_te_fields_are_one_list() -> None:
    request = BaseRequest("GET", "/", "/", "", 1, Headers("\r\nTE: gzip\r\nte: trailers"))
    assert takes_trailers(request, trailed())


def test_a_body_with_trailers_is_an_iterator() -> None:
    for wrong in (b"bytes", [b"list"], None, "text"):
        with pytest.raises(TypeError, match="iterator"):
            Trailed(wrong, lambda: ())  # type: ignore[arg-type]


# --- framing -------------------------------------------------------------------------------------


def pull_all(body: ResponseBodyStream) -> bytes:
    data = b""
    while True:
        piece = body.next_piece()
        data += b"".join(map(bytes, body.frame(piece)))  # type: ignore[arg-type]
        if piece is None:
            return data


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_trailers_are_made_at_the_end_and_only_where_they_are_sent(
    chunked: bool, wanted: bool
) -> None:
    asked: list[int] = []
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for piece in (b"one", b"two"):
            made.append(len(piece))
            yield piece

    def trailers() -> Fields:
        asked.append(len(made))
        return [("X-Count", str(len(made)))]

    runtime = cast(Runtime, Stage())
    body = ResponseBodyStream(Trailed(pieces(), trailers), None, chunked, runtime, wanted)
    data = pull_all(body)
    assert asked == ([2] if chunked and wanted else [])
    plain = b"0\r\n\r\n" if chunked else b"two"
    assert data.endswith(b"0\r\nX-Count: 2\r\n\r\n" if asked else plain)
    assert body.sent == 6


@pytest.mark.parametrize("trailers", [lambda: 1 / 0, lambda: [("Host", "x")], lambda: None, exit])
def test_trailers_that_cannot_be_made(trailers: Callable[[], Any]) -> None:
    body = ResponseBodyStream(
        Trailed(iter([b"x"]), trailers), None, True, cast(Runtime, Stage()), True
    )
    with pytest.raises(ResponseError):
        pull_all(body)


def head_of(body: Trailed, method: str = "GET", minor: int = 1, te: str = "") -> bytes:
    request = make_request(method, "/", te=te)
    request.minor = minor
    return encode_head(b"HTTP/1.1 200 OK\r\n", request, Response(200, body), True)[0]


def test_names_are_announced_to_clients_that_get_the_fields() -> None:
    line = b"Trailer: Repr-Digest, X-Count\r\n"
    assert line in head_of(trailed(), te="trailers")
    for head in (
        head_of(trailed()),
        head_of(trailed(), "HEAD", te="trailers"),
        head_of(trailed(), minor=0, te="trailers"),
        head_of(Trailed(iter(()), lambda: FIELDS), te="trailers"),
    ):
        assert b"Trailer" not in head


@pytest.mark.parametrize("name", ["Host", "X\r\nY", "", "X Y", 7])
def test_a_name_that_cannot_be_announced(name: Any) -> None:
    body = Trailed(iter(()), lambda: (), announce=["X", name])
    with pytest.raises(ResponseError):
        head_of(body, te="trailers")


# --- under a server ------------------------------------------------------------------------------


async def late(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 7, 100_000])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("pieces", [(b"one", b"two"), (), (b"x" * 70_000, b"y")])
def test_h11_reads_them(step: int, is_async: bool, pieces: Sequence[bytes]) -> None:
    def handler(request: BaseRequest) -> Response:
        body = late(pieces) if is_async else iter(pieces)
        return Response(200, Trailed(body, lambda: FIELDS, announce=["Repr-Digest", "X-Count"]))

    world = exchange(handler, "TE: trailers", "Connection: TE")
    head, body, trailers = read_with_h11(received(world), step)
    assert body == b"".join(pieces)
    assert trailers == [(b"repr-digest", b"sha-256=:abc=:"), (b"x-count", b"2")]
    assert (b"trailer", b"Repr-Digest, X-Count") in list(head.headers)


@pytest.mark.parametrize("way", ["no TE", "1.0", "length", "HEAD", "304"])
def test_other_clients_get_the_body_alone(way: str) -> None:
    closed: list[bool] = []

    def pieces() -> Iterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    def never() -> Fields:
        raise AssertionError("no client takes them")

    def handler(request: BaseRequest) -> Response:
        fields = [("Content-Length", "6")] if way == "length" else []
        body = pieces()
        return Response(304 if way == "304" else 200, Trailed(body, never, announce=["X"]), fields)

    options = {"1.0": {"version": "1.0"}, "HEAD": {"method": "HEAD"}}.get(way, {})
    world = exchange(handler, *(() if way == "no TE" else ("TE: trailers",)), **options)
    head, _, body = received(world).partition(b"\r\n\r\n")
    assert b"trailer" not in head.lower()
    expected = {"no TE": b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", "HEAD": b"", "304": b""}
    assert body == expected.get(way, b"onetwo")
    assert closed == ([] if way == "304" else [True]), "HEAD has the first piece made"


def test_the_connection_goes_on_behind_them() -> None:
    world = World(lambda request: Response(200, trailed()))
    ask = request_bytes("/", "TE: trailers")
    client = world.client(ask * 3)
    world.run(1)
    tail = b"0\r\nRepr-Digest: sha-256=:abc=:\r\nX-Count: 2\r\n\r\n"
    assert bytes(client.received).count(tail + b"HTTP/1.1 200 OK\r\n") == 2
    assert bytes(client.received).endswith(tail)


@pytest.mark.parametrize(
    "trailers",
    [
        lambda: [("Content-Length", "5")],
        lambda: [("Set-Cookie", "a=b")],
        lambda: [("X", "a\r\n\r\nHTTP/1.1 200 OK")],
        lambda: 1 / 0,
        lambda: None,
    ],
)
def test_a_body_whose_trailers_fail_is_cut_and_looks_cut(
    trailers: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world = exchange(
        lambda request: Response(200, Trailed(iter([b"one"]), trailers)), "TE: trailers"
    )
    assert received(world).endswith(b"3\r\none\r\n") or not received(world)
    assert world.end == "reset"  # type: ignore[attr-defined]
    assert "in the middle of its response" in caplog.text
    assert not world.server.connections


def test_a_name_that_cannot_be_announced_is_500() -> None:
    world = exchange(
        lambda request: Response(200, Trailed(iter([b"one"]), lambda: (), announce=["Host"])),
        "TE: trailers",
    )
    assert received(world).startswith(b"HTTP/1.1 500 ")


def test_a_compressed_body_keeps_trailers_that_do_not_describe_its_bytes() -> None:
    fields = [*FIELDS, ("Content-Digest", "sha-256=:abc=:"), ("ETag", '"x"')]

    def handler(request: BaseRequest) -> Any:
        names = [name for name, _ in fields]
        body = Trailed(iter([b"one " * 500, b"two"]), lambda: fields, announce=names)
        return compress(request, Response(200, body, [("Content-Type", "text/plain")]))

    world = exchange(handler, "TE: trailers", "Accept-Encoding: gzip")
    head, body, trailers = read_with_h11(received(world), 100_000)
    assert (b"content-encoding", b"gzip") in list(head.headers)
    assert (b"trailer", b"X-Count") in list(head.headers)
    assert decode(body, "gzip") == b"one " * 500 + b"two"
    assert trailers == [(b"x-count", b"2")]
    world = exchange(handler, "TE: trailers")
    assert len(read_with_h11(received(world), 100_000)[2]) == 4
