"""Responses compressed for their client: which are encoded, their fields, and how Vary is set.

They are decoded by the standard library, see also test_encoders.py.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import File, FileRegion, Future, PoolFull, ProtocolError, Response
from reactor.files.region import MultiRegion
from reactor.messages.request import BaseRequest
from reactor.tasks.futures import Lane
from reactor.web.compression import encoders, responses
from reactor.web.compression.encoders import INLINE_BYTES, LEAST_BYTES, encode
from reactor.web.compression.responses import compress, encode_in_pool
from tests.conftest import Serve
from tests.support import zstd_double
from tests.support.coroutine_driver import Play, Stage, drive, make_request
from tests.support.zstd_double import decode

TEXT = b"a text that shrinks, " * 100
LONG = TEXT * 10
NOISE = random.Random(7).randbytes(3000)
PLAIN = [("Content-Type", "text/plain")]
GZIP = "gzip, deflate, br"

assert LEAST_BYTES < len(TEXT) <= INLINE_BYTES < len(LONG)


@pytest.fixture(autouse=True, scope="module")
def gzip_only() -> Iterator[None]:
    """So that the tests are the same on each Python; zstd has tests of its own, below."""
    patch = pytest.MonkeyPatch()
    patch.setattr(responses, "MADE", ("gzip",))
    yield
    patch.undo()


class FullStage(Stage):
    """A pool without a place for compressing."""

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        assert lane is Lane.COMPRESSION
        raise PoolFull


class CountingStage(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.lanes: list[Lane] = []

    def submit(self, lane: Lane, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self.lanes.append(lane)
        return super().submit(lane, function, *arguments)


def play(awaitable: Any, stage: Stage) -> Any:
    """Run the coroutine and return its result; a refused job raises at the await, as in a task."""
    running = Play(awaitable, stage)
    while running.operation is not None:
        try:
            future = running.operation.start(stage)
        except PoolFull as error:
            future = Future()
            future.set_exception(error)
        running.resume(future)
    return running.result


def respond(
    response: Response,
    accepts: str | None = GZIP,
    *,
    method: str = "GET",
    stage: Stage | None = None,
    least: int = LEAST_BYTES,
) -> Response:
    """The response that the client gets."""
    fields: dict[str, Any] = {} if accepts is None else {"Accept_Encoding": accepts}
    made = compress(make_request(method, "/", **fields), response, least=least)
    if not isinstance(made, Response):
        made = play(made, stage or Stage())
    assert isinstance(made, Response)
    return made


def get(response: Response, name: str) -> str | None:
    values = [value for key, value in response.headers if key.lower() == name.lower()]
    assert len(values) < 2, f"{name} comes {len(values)} times"
    return values[0] if values else None


def read(response: Response, coding: str = "gzip") -> bytes:
    """The body, decoded."""
    assert get(response, "content-encoding") == coding
    body: Any = response.body
    if not isinstance(body, bytes):
        body = b"".join(collect(body))
    return decode(body, coding)


def collect(pieces: AsyncIterator[bytes]) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(play(pieces.__anext__(), Stage()))
        except StopAsyncIteration:
            return found


def assert_untouched(response: Response, accepts: str = GZIP, least: int = LEAST_BYTES) -> None:
    """Assert that the response is neither encoded nor negotiated."""
    assert respond(response, accepts, least=least) is response


# --- what is encoded -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, LONG])
@pytest.mark.parametrize("accepts", ["gzip", "x-gzip", "*", "identity;q=0.5, gzip;q=0.8", GZIP])
def test_a_body_in_memory(text: bytes, accepts: str) -> None:
    encoded = respond(Response(200, text, PLAIN), accepts)
    assert read(encoded) == text
    assert isinstance(encoded.body, bytes)
    assert len(encoded.body) < len(text)
    assert get(encoded, "vary") == "Accept-Encoding"
    assert get(encoded, "content-type") == "text/plain"
    assert encoded.status == 200


@pytest.mark.parametrize(
    "accepts", [None, "", "identity", "gzip;q=0", "br", "gzip;q=0.1, identity"]
)
def test_vary_on_a_response_that_was_not_encoded(accepts: str | None) -> None:
    for text in (TEXT, LONG):
        same = respond(Response(200, text, PLAIN), accepts)
        assert same.body is text
        assert get(same, "content-encoding") is None
        assert get(same, "vary") == "Accept-Encoding"


def test_long_bodies_are_encoded_on_a_thread_and_short_ones_are_not() -> None:
    for text, lanes in ((b"a" * INLINE_BYTES, []), (b"a" * (INLINE_BYTES + 1), [Lane.COMPRESSION])):
        stage = CountingStage()
        assert read(respond(Response(200, text, PLAIN), stage=stage)) == text
        assert stage.lanes == lanes


def test_a_memoryview() -> None:
    for text in (TEXT, LONG):
        for view in (memoryview(text), memoryview(text[: len(text) // 4 * 4]).cast("I")):
            assert read(respond(Response(200, view, PLAIN))) == view.tobytes()
    for view in (memoryview(TEXT), memoryview(b"")):
        same = respond(Response(200, view, PLAIN), "")
        assert isinstance(same.body, memoryview)
        assert same.body.obj is view.obj


def test_the_response_of_the_handler_is_unchanged() -> None:
    """A handler may return the same one for all requests."""
    fields = (("Content-Type", "text/plain"), ("ETag", '"x"'), ("Vary", "Origin"))
    response = Response(200, TEXT, fields)
    for accepts in ("gzip", ""):
        assert respond(response, accepts) is not response
        assert (response.status, response.body, response.headers) == (200, TEXT, fields)


def test_streams() -> None:
    async def late() -> AsyncIterator[bytes]:
        yield TEXT
        yield LONG

    for body in (iter([TEXT, LONG]), late()):
        encoded = respond(Response(200, body, PLAIN))
        assert get(encoded, "vary") == "Accept-Encoding"
        pieces = collect(encoded.body)  # type: ignore[arg-type]
        assert len(pieces) == 3
        assert decode(b"".join(pieces), "gzip") == TEXT + LONG


def test_a_stream_for_a_client_without_codings() -> None:
    body = iter([TEXT])
    same = respond(Response(200, body, PLAIN), "")
    assert same.body is body
    assert get(same, "vary") == "Accept-Encoding"


@pytest.mark.parametrize("body", [TEXT, LONG, b"", NOISE])
def test_head_says_what_get_says(body: bytes) -> None:
    """The connection leaves out the body and counts it."""
    response = Response(200, body, [*PLAIN, ("ETag", '"x"')])
    got, headed = respond(response), respond(response, method="HEAD")
    assert headed.headers == got.headers
    assert headed.body == got.body


def test_an_error_page_is_encoded_too() -> None:
    assert read(respond(Response(404, TEXT, PLAIN))) == TEXT


# --- what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [TEXT, LONG, b""])
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (204, PLAIN),
        (206, PLAIN),
        (103, PLAIN),
        (200, [*PLAIN, ("Content-Encoding", "br")]),
        (200, [*PLAIN, ("content-encoding", "gzip")]),
        (200, [*PLAIN, ("Content-Range", "bytes 0-1/3")]),
        (200, [*PLAIN, ("Cache-Control", "no-transform")]),
        (200, [*PLAIN, ("cache-control", "public, No-Transform ,max-age=3")]),
        (200, [*PLAIN, ("Cache-Control", "public"), ("Cache-Control", "no-transform")]),
        (200, [("Content-Type", "image/png")]),
        (200, [("Content-Type", "application/octet-stream; of=text/plain")]),
        (200, []),
    ],
)
def test_responses_that_are_left_alone(
    body: bytes, status: int, fields: list[tuple[str, str]]
) -> None:
    assert_untouched(Response(status, body, fields))
    assert_untouched(Response(status, iter([body]), fields))


def test_words_that_only_look_like_no_transform() -> None:
    quoted = 'private="a, no-transform, b"'
    for value in ("no-transformation", "x=no-transform", "public", quoted):
        assert read(respond(Response(200, TEXT, [*PLAIN, ("Cache-Control", value)]))) == TEXT


def test_a_short_body_is_not_negotiated() -> None:
    assert_untouched(Response(200, TEXT[: LEAST_BYTES - 1], PLAIN))
    assert read(respond(Response(200, TEXT[:LEAST_BYTES], PLAIN))) == TEXT[:LEAST_BYTES]
    assert_untouched(Response(200, TEXT, PLAIN), least=len(TEXT) + 1)
    assert read(respond(Response(200, TEXT, PLAIN), least=len(TEXT))) == TEXT


def test_a_short_stream_is_encoded() -> None:
    """Its length is not known before its end."""
    assert read(respond(Response(200, iter([b"x"]), PLAIN))) == b"x"


@pytest.mark.parametrize("noise", [NOISE, NOISE * 2])
def test_a_body_that_does_not_become_smaller_is_sent_as_it_is(noise: bytes) -> None:
    noise = random.Random(len(noise)).randbytes(len(noise))
    same = respond(Response(200, noise, [*PLAIN, ("ETag", '"x"')]))
    assert same.body == noise
    assert get(same, "content-encoding") is None
    assert get(same, "etag") == '"x"'
    assert get(same, "vary") == "Accept-Encoding"


@pytest.mark.parametrize("body", [b"", b"x", NOISE, NOISE * 2, TEXT])
def test_with_least_0_every_text_is_encoded(body: bytes) -> None:
    assert read(respond(Response(200, body, PLAIN), least=0)) == body


def test_with_least_0_protected_responses_are_left_alone() -> None:
    assert_untouched(Response(200, TEXT, [("Content-Type", "image/png")]), least=0)
    assert_untouched(Response(206, TEXT, PLAIN), least=0)


def test_files_are_left_to_the_file_server() -> None:
    file = File(-1, 100)
    for body in (FileRegion(file, 0, 100), MultiRegion([TEXT])):
        assert_untouched(Response(200, body, PLAIN))
        assert_untouched(Response(200, body, PLAIN), "identity;q=0, gzip")
    file.closed = True  # there is no such descriptor


def test_a_body_of_another_type_is_left_to_the_connection() -> None:
    for wrong in ("text", None, [TEXT], 7):
        assert_untouched(Response(200, wrong, PLAIN))  # type: ignore[arg-type]


# --- what the fields say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vary", "merged"),
    [
        ([], "Accept-Encoding"),
        (["Origin"], "Origin, Accept-Encoding"),
        (["Origin", "Cookie"], "Origin, Cookie, Accept-Encoding"),
        (["Accept-Encoding"], "Accept-Encoding"),
        (["Origin , accept-encoding"], "Origin , accept-encoding"),
        (["*"], "*"),
        (["Accept"], "Accept, Accept-Encoding"),
        ([""], "Accept-Encoding"),
    ],
)
@pytest.mark.parametrize("accepts", ["gzip", ""])
@pytest.mark.parametrize("body", [TEXT, LONG])
def test_vary_is_merged(vary: list[str], merged: str, accepts: str, body: bytes) -> None:
    fields = [*PLAIN, *(("vary", value) for value in vary)]
    assert get(respond(Response(200, body, fields), accepts), "vary") == merged


@pytest.mark.parametrize(
    ("fields", "varies"),
    [
        ([], True),
        (PLAIN, True),
        ([("ETag", '"x"')], True),
        ([("Content-Type", "image/png")], False),
        ([("Cache-Control", "no-transform")], False),
        ([("Content-Encoding", "gzip")], False),
    ],
)
def test_a_304_varies_as_its_200_does(fields: list[tuple[str, str]], varies: bool) -> None:
    """It has nothing to encode (RFC 9110, section 15.4.5)."""
    for accepts in (GZIP, "", "identity;q=0"):
        same = respond(Response(304, b"", fields), accepts)
        assert get(same, "vary") == ("Accept-Encoding" if varies else None)
        assert [field for field in same.headers if field[0] != "Vary"] == fields
        assert same.body == b""


@pytest.mark.parametrize(
    ("tag", "encoded"),
    [('"abc"', '"abc-gzip"'), ('""', '"-gzip"'), ('W/"abc"', 'W/"abc"'), ("wrong", "wrong")],
)
def test_a_strong_tag_changes(tag: str, encoded: str) -> None:
    """Two representations with other bytes (RFC 9110, section 8.8.3.3); a weak tag is for both."""
    for body in (TEXT, LONG, iter([TEXT])):
        response = Response(200, body, [*PLAIN, ("etag", tag)])
        assert get(respond(response), "etag") == encoded
        assert get(respond(response, ""), "etag") == tag


def test_fields_about_the_plain_bytes_are_removed() -> None:
    fields = [
        ("Content-Length", "3"),
        ("Accept-Ranges", "bytes"),
        ("Content-MD5", "x"),
        ("Digest", "x"),
        ("Content-Digest", "x"),
        ("Repr-Digest", "x"),
    ]
    kept = [("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]
    for body in (TEXT, LONG, iter([TEXT])):
        response = Response(200, body, [*fields, *kept])
        encoded = respond(response)
        assert sorted(encoded.headers) == sorted(
            [*kept, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        )
        assert list(respond(response, "").headers) == [*fields, *kept, ("Vary", "Accept-Encoding")]


# --- a client that refuses the plain bytes -------------------------------------------------------


@pytest.mark.parametrize("accepts", ["identity;q=0", "*;q=0", "identity;q=0, gzip;q=0, br"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", [b"", TEXT, LONG])
@pytest.mark.parametrize("fields", [PLAIN, []])
def test_no_acceptable_representation_is_406(
    accepts: str, method: str, body: bytes, fields: list[tuple[str, str]]
) -> None:
    with pytest.raises(ProtocolError) as caught:
        respond(Response(200, body, fields), accepts, method=method)
    assert caught.value.status == 406
    assert dict(caught.value.headers) == {"Vary": "Accept-Encoding"}


def test_a_body_that_is_refused_is_closed() -> None:
    closed = []

    class Source:
        def __next__(self) -> bytes:
            raise AssertionError

        def __iter__(self) -> "Source":
            return self

        def close(self) -> None:
            closed.append("plain")

    class LateSource:
        async def __anext__(self) -> bytes:
            raise AssertionError

        def __aiter__(self) -> "LateSource":
            return self

        async def aclose(self) -> None:
            closed.append("asynchronous")

    for body in (Source(), LateSource(), iter(())):
        with pytest.raises(ProtocolError):
            respond(Response(200, body, PLAIN), "identity;q=0")
    assert closed == ["plain", "asynchronous"]


@pytest.mark.parametrize("accepts", ["gzip, identity;q=0", "gzip, *;q=0"])
@pytest.mark.parametrize("body", [b"", b"short", NOISE, NOISE * 2])
@pytest.mark.parametrize("media_type", ["text/plain", "image/png"])
def test_a_client_that_refuses_identity_gets_a_coding_that_saves_nothing(
    accepts: str, body: bytes, media_type: str
) -> None:
    for whole in (body, iter([body])):
        encoded = respond(Response(200, whole, [("Content-Type", media_type)]), accepts)
        assert read(encoded) == body
        assert get(encoded, "vary") == "Accept-Encoding"


@pytest.mark.parametrize(
    ("method", "status"),
    [("POST", 200), ("PUT", 201), ("DELETE", 200), ("GET", 404), ("HEAD", 500)],
)
def test_results_of_a_post_are_sent_in_any_form(method: str, status: int) -> None:
    response = Response(status, LONG, PLAIN)
    assert respond(response, "identity;q=0", method=method).body is LONG
    busy = respond(response, "identity;q=0, gzip", method=method, stage=FullStage())
    assert busy.body is LONG
    assert get(busy, "vary") == "Accept-Encoding"


# --- a full pool ---------------------------------------------------------------------------------


def test_with_a_full_pool_the_body_is_sent_as_it_is() -> None:
    for least in (LEAST_BYTES, 0):
        same = respond(
            Response(200, LONG, [*PLAIN, ("ETag", '"x"')]), stage=FullStage(), least=least
        )
        assert same.body is LONG
        assert get(same, "etag") == '"x"'
        assert get(same, "vary") == "Accept-Encoding"
    with pytest.raises(ProtocolError) as caught:
        respond(Response(200, LONG, PLAIN), "gzip, identity;q=0", stage=FullStage())
    assert caught.value.status == 503


def test_encode_in_pool() -> None:
    assert drive(encode_in_pool(LONG, "gzip")) == encode(LONG, "gzip")
    assert play(encode_in_pool(LONG, "gzip"), FullStage()) is None


# --- zstd ----------------------------------------------------------------------------------------


@pytest.fixture
def zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from Python 3.14 on; before, with a double of its module (see test_encoders.py)."""
    monkeypatch.setattr(responses, "MADE", ("zstd", "gzip"))
    if encoders._zstd is None:
        monkeypatch.setattr(encoders, "_zstd", zstd_double)


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd", "zstd"),
        ("*", "zstd"),
        ("gzip", "gzip"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0, *", "gzip"),
    ],
)
def test_zstd_is_the_better_one(zstd: None, accepts: str, coding: str) -> None:
    for text in (TEXT, LONG):
        encoded = respond(Response(200, text, [*PLAIN, ("ETag", '"x"')]), accepts)
        assert read(encoded, coding) == text
        assert get(encoded, "etag") == f'"x-{coding}"'


def test_a_stream_of_a_handler_is_gzip(zstd: None) -> None:
    """A zstd encoder takes too much memory to give one to every client."""
    assert read(respond(Response(200, iter([TEXT]), PLAIN), "zstd, gzip")) == TEXT
    same = respond(Response(200, iter([TEXT]), PLAIN), "zstd")
    assert get(same, "content-encoding") is None
    assert get(same, "vary") == "Accept-Encoding"


# --- all of it -----------------------------------------------------------------------------------


@given(
    body=st.one_of(st.binary(max_size=50), st.sampled_from([TEXT, LONG, NOISE, NOISE * 2])),
    streamed=st.booleans(),
    accepts=st.sampled_from([GZIP, "", "identity", "*", "gzip;q=0", "gzip, identity;q=0"]),
    media_type=st.sampled_from(["text/plain", "image/png", ""]),
    least=st.sampled_from([0, 10, LEAST_BYTES]),
    full=st.booleans(),
)
def test_the_text_is_always_the_same_in_an_accepted_form(
    body: bytes, streamed: bool, accepts: str, media_type: str, least: int, full: bool
) -> None:
    response = Response(200, iter([body]) if streamed else body, [("Content-Type", media_type)])
    got: Response | None = None
    with suppress(ProtocolError):
        got = respond(response, accepts, least=least, stage=FullStage() if full else None)
    if got is None:
        assert full
        assert "identity;q=0" in accepts
        assert not streamed
        assert len(body) > INLINE_BYTES
        return
    if get(got, "content-encoding") is None:
        assert "identity;q=0" not in accepts
        whole = b"".join(got.body) if streamed else got.body  # type: ignore[arg-type]
        assert whole == body
    else:
        assert accepts in (GZIP, "*", "gzip, identity;q=0")
        assert get(got, "vary") == "Accept-Encoding"
        assert read(got) == body


# --- through a server ----------------------------------------------------------------------------


def test_through_a_server(serve: Serve) -> None:
    def handle(request: BaseRequest) -> Any:
        if request.path == "/stream":
            return compress(request, Response(200, iter([TEXT, LONG]), PLAIN))
        return compress(request, Response(200, TEXT if request.path == "/short" else LONG, PLAIN))

    client = serve(handle).connect()
    for path, text in (("/short", TEXT), ("/long", LONG), ("/stream", TEXT + LONG)):
        got = client.ask(path, f"Accept-Encoding: {GZIP}")
        assert decode(got.body, "gzip") == text
        headed = client.ask(path, f"Accept-Encoding: {GZIP}", method="HEAD")
        # The latter is about the message, and HEAD has none.
        passing = ("date", "transfer-encoding")
        same = [field for field in got.fields if field[0] not in passing]
        assert [field for field in headed.fields if field[0] not in passing] == same
        assert client.ask(path).body == text
    for path in ("/short", "/long", "/stream"):
        assert client.ask(path, "Accept-Encoding: identity;q=0").status == 406
