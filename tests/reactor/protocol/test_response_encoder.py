"""The head of a response: the fields that may stand in it, and how it frames the body.

The value of a handler's field may come from a client, so a field is checked as strictly on its
way out as on its way in: one that could be read as two would be a second response. And the framing
must be true: a wrong Content-Length makes the next response unreadable.
"""

import os
import string
from collections.abc import AsyncIterator, Iterator
from typing import Any

import h11
import pytest

from reactor.errors import ResponseError
from reactor.files.file import File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, ResponseBody
from reactor.protocol.response_encoder import FieldBlock, encode_head, encode_informational

TCHARS = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
FRAMING = ["Content-Length", "Transfer-Encoding", "Connection", "Date"]


def request(method: str = "GET", minor: int = 1) -> BaseRequest:
    return BaseRequest(method, "/", "/", "", minor, Headers())


def pieces() -> Iterator[bytes]:
    yield b"hello"


async def async_pieces() -> AsyncIterator[bytes]:
    yield b"hello"


def head_lines(
    response: Response, method: str = "GET", minor: int = 1, keep_alive: bool = True
) -> tuple[list[bytes], int | None, bool]:
    """The field lines of the head, the length of the body, and whether to keep the connection."""
    status_line = b"HTTP/1.1 %d X\r\n" % response.status
    head, length, kept = encode_head(status_line, request(method, minor), response, keep_alive)
    assert head.startswith(status_line)
    assert head.endswith(b"\r\n\r\n")
    assert head.index(b"\r\n\r\n") == len(head) - 4
    return head[len(status_line) : -2].split(b"\r\n")[:-1], length, kept


def field_lines(*fields: tuple[str, str]) -> bytes:
    """The fields as they stand in the head of a response without a body."""
    head, _, _ = encode_head(b"", request(), Response(200, b"", fields), True)
    assert head.endswith(b"Content-Length: 0\r\n\r\n")
    return head.removesuffix(b"Content-Length: 0\r\n\r\n")


def refuse(response: Response, method: str = "GET", minor: int = 1) -> None:
    with pytest.raises(ResponseError):
        encode_head(b"HTTP/1.1 200 OK\r\n", request(method, minor), response, True)


# --- fields ---------------------------------------------------------------------------------------


def test_fields_are_written_as_they_are() -> None:
    fields = [("Content-Type", "text/plain"), ("x", ""), ("X-Y", "a\tb  c"), ("Set-Cookie", "\xe4")]
    expected = b"Content-Type: text/plain\r\nx: \r\nX-Y: a\tb  c\r\nSet-Cookie: \xe4\r\n"
    assert field_lines(*fields) == expected
    assert field_lines() == b""
    assert field_lines(("A", "1"), ("A", "2"), ("A", "1")) == b"A: 1\r\nA: 2\r\nA: 1\r\n"


def test_characters_of_a_name() -> None:
    for char in map(chr, range(256)):
        for name in (char, f"X{char}", f"{char}X", f"X{char}X", f"X{char} Y"):
            if set(name) <= set(TCHARS):
                assert field_lines((name, "v")) == f"{name}: v\r\n".encode()
            else:
                refuse(Response(200, b"", [(name, "v")]))


def test_characters_of_a_value() -> None:
    for char in map(chr, range(256)):
        for text in (f"v{char}v", f"v{char}", f"{char}v", char):
            right = char >= " " and char != "\x7f" and text.strip(" ") == text
            if right or text == "v\tv":
                assert field_lines(("X", text)) == f"X: {text}\r\n".encode("latin-1")
            else:
                refuse(Response(200, b"", [("X", text)]))


INJECTIONS = [
    ("X", "a\r\nSet-Cookie: b"),
    ("X", "a\r\n\r\n<html>"),
    ("X", "a\nSet-Cookie: b"),
    ("X", "a\rSet-Cookie: b"),
    ("X", "a\r\n b"),
    ("X", "\r\n"),
    ("X", "a\r\n"),
    ("X", "a\n"),
    ("X", "a\0b"),
    ("X", "a\x0bb"),
    ("X", "\u010aSet-Cookie: b"),  # the low byte is LF
    ("X", "\u560a\u560dSet-Cookie: b"),
    ("X", "\u2028"),
    ("X", "€"),
    ("X", " a"),
    ("X", "a\t"),
    ("", "a"),
    ("", ""),
    ("X ", "a"),
    ("X:", "a"),
    ("X: Y", "a"),
    ("X\r\nY", "a"),
    ("X: a\r\nY", "b"),
    ("\r\nX", "a"),
    ("\nX", "a"),
    ("Content-Length: 5", "a"),  # a name in which another one is hidden
    ("Content-Length: 5;", "a"),
    ("Transfer-Encoding: chunked,", "a"),
    ("Connection: close,", "a"),
    ("Transfer-Encoding ", "chunked"),
    (" Content-Length", "5"),
    ("\u212aeep", "a"),
]


@pytest.mark.parametrize("field", INJECTIONS)
def test_a_field_is_one_line_with_one_name(field: tuple[str, str]) -> None:
    for _ in range(2):  # fields are remembered: what is wrong must not be right the next time
        refuse(Response(200, b"", [field]))
        refuse(Response(200, b"", [("A", "b"), field]))
        refuse(Response(200, b"", [("Connection", "close"), field]))  # where each is looked at


@pytest.mark.parametrize("name", FRAMING)
def test_framing_fields_are_the_servers_in_any_case(name: str) -> None:
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        for value in ("chunked", "keep-alive", "", "x", "Close, x", "-1"):
            refuse(Response(200, b"", [(spelled, value)]))


def test_transfer_encoding_and_date_are_never_a_handlers() -> None:
    for name in ("Transfer-Encoding", "Date"):
        for value in ("chunked", "close", "0", "Thu, 01 Jan 1970 00:00:00 GMT"):
            for body in (b"", pieces()):
                refuse(Response(200, body, [(name, value)]))


# --- a body whose length is known -----------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"hello", b"\xff" * 70_000])
@pytest.mark.parametrize("minor", [0, 1])
def test_bytes_have_a_length(body: bytes, minor: int) -> None:
    for whole in (body, memoryview(body)):
        lines, length, kept = head_lines(Response(200, whole), minor=minor)
        expected = [b"Content-Length: %d" % len(body)]
        assert lines == (expected if minor else [*expected, b"Connection: keep-alive"])
        assert (length, kept) == (len(body), True)


def test_a_memoryview_has_bytes_not_items() -> None:
    view = memoryview(b"12345678").cast("I")
    assert len(view) == 2
    assert head_lines(Response(200, view))[1] == 8
    refuse(Response(200, memoryview(b"12345678")[::2]))


def test_a_region_has_a_length() -> None:
    descriptor = os.open(__file__, os.O_RDONLY)
    file = File(descriptor, 100)
    lines, length, kept = head_lines(Response(206, FileRegion(file, 10, 42)))
    assert (lines, length, kept) == ([b"Content-Length: 42"], 42, True)
    file.release()


@pytest.mark.parametrize("minor", [0, 1])
def test_parts_have_a_length_together(minor: int) -> None:
    file = File(os.open(__file__, os.O_RDONLY), 100)
    parts = MultiRegion([b"12345", FileRegion(file.hold(), 10, 42), b""])
    for method in ("GET", "HEAD"):
        lines, length, kept = head_lines(Response(206, parts), method, minor)
        assert (lines[0], length, kept) == (b"Content-Length: 47", 47, True)
    assert head_lines(Response(200, MultiRegion([])))[:2] == ([b"Content-Length: 0"], 0)
    refuse(Response(204, parts))
    refuse(Response(200, parts, [("Content-Length", "46")]))
    refuse(Response(200, parts, [("Transfer-Encoding", "chunked")]))
    parts.release()
    file.release()


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_connection_that_is_not_kept_says_so(minor: int, method: str) -> None:
    lines, _, kept = head_lines(Response(200, b"hi"), method, minor, keep_alive=False)
    assert lines == [b"Content-Length: 2", b"Connection: close"]
    assert not kept


@pytest.mark.parametrize("value", ["close", "Close", "CLOSE"])
def test_a_handler_may_close(value: str) -> None:
    lines, _, kept = head_lines(Response(200, b"hi", [("connection", value), ("X", "y")]))
    assert lines == [b"X: y", b"Content-Length: 2", b"Connection: close"]
    assert not kept


@pytest.mark.parametrize("value", ["keep-alive", "close, x", " close", "close ", "upgrade", ""])
def test_other_connection_options_are_the_servers(value: str) -> None:
    refuse(Response(200, b"hi", [("Connection", value)]))


def test_a_handlers_length_must_be_true() -> None:
    lines, length, _ = head_lines(Response(200, b"hello", [("content-length", "5"), ("X", "y")]))
    assert (lines, length) == ([b"X: y", b"Content-Length: 5"], 5)
    for value in ("4", "6", "0"):
        refuse(Response(200, b"hello", [("Content-Length", value)]))
        refuse(Response(200, b"hello", [("Content-Length", value)]), "HEAD")
        refuse(Response(304, b"hello", [("Content-Length", value)]))
    refuse(Response(200, b"", [("Content-Length", "5")]))


@pytest.mark.parametrize(
    "value",
    [
        *("+5", "-5", "5_0", " 5", "5 ", "5, 5", "", "0x5", "5.0", "٥", "\xb2", "5\n", "5\r\n"),
        "1" * 20,
    ],
)
def test_a_handlers_length_is_ascii_digits(value: str) -> None:
    refuse(Response(200, b"hello", [("Content-Length", value)]))
    refuse(Response(200, pieces(), [("Content-Length", value)]))


def test_a_handlers_length_comes_once() -> None:
    twice = [("Content-Length", "5"), ("content-length", "5")]
    refuse(Response(200, b"hello", twice))
    refuse(Response(200, pieces(), twice))


# --- a body whose length is not known -------------------------------------------------------------


def bodies_without_length() -> list[ResponseBody]:
    return [pieces(), async_pieces(), iter([b"hello"]), iter([])]


def test_an_iterator_is_chunked_in_1_1() -> None:
    for body in bodies_without_length():
        lines, length, kept = head_lines(Response(200, body))
        assert (lines, length, kept) == ([b"Transfer-Encoding: chunked"], None, True)
    lines, _, kept = head_lines(Response(200, pieces()), keep_alive=False)
    assert lines == [b"Transfer-Encoding: chunked", b"Connection: close"]
    assert not kept


def test_an_iterator_lasts_until_close_in_1_0() -> None:
    for body in bodies_without_length():
        for asked in (True, False):
            lines, length, kept = head_lines(Response(200, body), minor=0, keep_alive=asked)
            assert (lines, length, kept) == ([b"Connection: close"], None, False)


@pytest.mark.parametrize("minor", [0, 1])
def test_an_iterator_with_a_length_is_not_chunked(minor: int) -> None:
    for body in bodies_without_length():
        response = Response(200, body, [("Content-Length", "5")])
        lines, length, kept = head_lines(response, minor=minor)
        assert lines[0] == b"Content-Length: 5"
        assert b"Transfer-Encoding: chunked" not in lines
        assert (length, kept) == (5, True)


@pytest.mark.parametrize("body", ["hello", None, 5, [b"hello"], bytearray(b"x"), object()])
def test_other_bodies_are_refused(body: object) -> None:
    refuse(Response(200, body))  # type: ignore[arg-type]  # as a handler without types would


# --- responses without a body ---------------------------------------------------------------------


def test_head_has_the_length_that_get_would_have() -> None:
    for minor in (0, 1):
        for response in (Response(200, b"hello"), Response(200, b"hello", [("X", "y")])):
            assert head_lines(response, "HEAD", minor) == head_lines(response, "GET", minor)
    lines, _, _ = head_lines(Response(200, b"", [("Content-Length", "1234")]), "HEAD")
    assert lines == [b"Content-Length: 1234"]


@pytest.mark.parametrize("minor", [0, 1])
def test_head_of_an_iterator_needs_no_close(minor: int) -> None:
    lines, _, kept = head_lines(Response(200, pieces()), "HEAD", minor)
    assert kept
    assert lines == ([] if minor else [b"Connection: keep-alive"])


def test_204_has_neither_body_nor_length() -> None:
    lines, length, kept = head_lines(Response(204, b"", [("X", "y")]))
    assert (lines, length, kept) == ([b"X: y"], 0, True)
    for body in (b"x", pieces(), async_pieces()):
        for method in ("GET", "HEAD"):
            refuse(Response(204, body), method)
    refuse(Response(204, b"", [("Content-Length", "5")]))
    refuse(Response(204, b"", [("Content-Length", "5")]), "HEAD")
    lines, _, _ = head_lines(Response(204, b"", [("Content-Length", "0"), ("X", "y")]))
    assert lines == [b"X: y"]  # RFC 9110, section 8.6: not even 0


def test_304_may_have_a_length() -> None:
    lines, length, _ = head_lines(Response(304, b"", [("ETag", '"a"')]))
    assert (lines, length) == ([b'ETag: "a"'], 0)  # no length: 0 would be that of the resource
    lines, _, _ = head_lines(Response(304, b"", [("Content-Length", "5")]))
    assert lines == [b"Content-Length: 5"]
    lines, _, _ = head_lines(Response(304, b"hello"))
    assert lines == [b"Content-Length: 5"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("minor", [0, 1])
def test_205_says_that_it_has_no_content(method: str, minor: int) -> None:
    """RFC 9110, section 15.3.6. The body that a handler returns with it is dropped."""
    for body in (b"", b"hello", pieces(), async_pieces()):
        lines, length, kept = head_lines(Response(205, body), method, minor)
        kept_lines = [b"Content-Length: 0"] + [b"Connection: keep-alive"] * (minor == 0)
        assert (lines, length, kept) == (kept_lines, 0, True)
    lines, length, _ = head_lines(Response(205, b"hello", [("Content-Length", "5")]))
    assert (lines, length) == ([b"Content-Length: 0"], 0)


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_an_informational_status_is_no_final_one(status: int) -> None:
    for body in (b"", b"x", pieces()):
        refuse(Response(status, body))


@pytest.mark.parametrize("status", [200, 201, 205, 301, 400, 404, 500, 503])
def test_a_response_without_a_body_says_so(status: int) -> None:
    assert head_lines(Response(status))[0] == [b"Content-Length: 0"]


# --- informational responses ----------------------------------------------------------------------


def test_an_informational_response_is_a_head_and_nothing_else() -> None:
    assert encode_informational(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    fields = (("Link", "</a>; rel=preload"), ("Link", "</b>"))
    assert encode_informational(103, fields) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>\r\n\r\n"
    )
    assert encode_informational(104, [("Upload-Offset", "5")]) == (
        b"HTTP/1.1 104 Upload Resumption Supported\r\nUpload-Offset: 5\r\n\r\n"
    )
    assert encode_informational(199) == b"HTTP/1.1 199 \r\n\r\n"  # RFC 9112, section 4
    block = FieldBlock([("X", "y")])
    assert encode_informational(102, block) == b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n"


@pytest.mark.parametrize("status", [-1, 0, 99, 101, 200, 204, 304, 1000])
def test_only_a_1xx_that_switches_nothing_is_informational(status: int) -> None:
    with pytest.raises(ResponseError):
        encode_informational(status)


@pytest.mark.parametrize(
    "fields",
    [
        [("X", "a\r\nY: b")],
        [("X\r\n", "a")],
        [("", "a")],
        [("X", " a")],
        [("X", "\N{EURO SIGN}")],
        *([(name, "5")] for name in FRAMING),
        [("content-length", "0")],
        [["X", "a"]],
        [("X",)],
        [("X", "a", "b")],
        [5],
    ],
)
def test_an_informational_response_has_true_fields_and_no_frame(fields: Any) -> None:
    with pytest.raises(ResponseError):
        encode_informational(103, fields)


# --- fields that are encoded once -----------------------------------------------------------------


def test_a_block_is_a_tuple_of_its_fields() -> None:
    fields = [("Content-Type", "text/plain"), ("X", "y"), ("X", "z")]
    block = FieldBlock(fields)
    assert block == tuple(fields)
    assert hash(block) == hash(tuple(fields))
    assert block.lines == b"Content-Type: text/plain\r\nX: y\r\nX: z\r\n"
    assert FieldBlock([]).lines == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("keep_alive", [False, True])
def test_a_block_is_written_as_its_fields_are(
    method: str, minor: int, status: int, keep_alive: bool
) -> None:
    fields = [("ETag", '"a"'), ("X", "y")]
    body = b"" if status == 204 else b"hello"
    plain = head_lines(Response(status, body, fields), method, minor, keep_alive)
    block = FieldBlock(fields)
    for _ in range(2):
        assert head_lines(Response(status, body, block), method, minor, keep_alive) == plain


def test_fields_that_are_added_to_a_block_are_seen() -> None:
    block = FieldBlock([("X", "y")])
    for more in ((*block, ("A", "b")), [*block, ("A", "b")]):
        assert head_lines(Response(200, b"", more))[0][:2] == [b"X: y", b"A: b"]
    lines, length, _ = head_lines(Response(200, pieces(), (*block, ("Content-Length", "5"))))
    assert (lines, length) == ([b"X: y", b"Content-Length: 5"], 5)
    refuse(Response(200, b"", (*block, ("Date", "x"))))


@pytest.mark.parametrize("name", [*FRAMING, "content-LENGTH", "date"])
def test_a_block_has_no_framing_fields(name: str) -> None:
    """They depend on the response, and a block that is encoded once is not looked at again."""
    with pytest.raises(ResponseError):
        FieldBlock([("X", "y"), (name, "close" if name == "Connection" else "5")])


@pytest.mark.parametrize("field", [("X", "a\r\nY: b"), ("X Y", "a"), ("", "a"), ("X", "a ")])
def test_a_block_has_true_fields(field: tuple[str, str]) -> None:
    with pytest.raises(ResponseError):
        FieldBlock([field])


# --- another reader -------------------------------------------------------------------------------


BODIES: list[tuple[str, ResponseBody, bytes]] = [
    ("nothing", b"", b""),
    ("bytes", b"hello", b"hello"),
    ("chunks", pieces(), b"5\r\nhello\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize(("name", "body", "sent"), BODIES, ids=[name for name, _, _ in BODIES])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_h11_finds_the_end_of_every_response(
    name: str, body: ResponseBody, sent: bytes, method: str, status: int
) -> None:
    if status == 204 and body != b"":
        return  # refused, see above
    response = Response(status, body, [("X-Y", "z")])
    status_line = b"HTTP/1.1 %d X\r\n" % status
    head, _, _ = encode_head(status_line, request(method), response, True)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    content = sent if method != "HEAD" and status not in (204, 304) else b""
    client.receive_data(encode_informational(100) + head + content + b"HTTP/1.1 200 next")
    assert isinstance(client.next_event(), h11.InformationalResponse)
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == status
    assert (b"x-y", b"z") in event.headers
    data = b""
    while isinstance(event := client.next_event(), h11.Data):
        data += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert data == (b"hello" if content else b"")
    assert client.trailing_data[0] == b"HTTP/1.1 200 next"
