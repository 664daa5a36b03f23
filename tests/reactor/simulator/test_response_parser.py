"""The parser of responses: each case whole, byte by byte, and with more bytes behind it."""

import pytest

from reactor.simulator.response_parser import (
    BadResponse,
    IncompleteResponse,
    ResponseHead,
    ResponseParser,
)

OK = b"HTTP/1.1 200 OK\r\n"

# Method and bytes; then the status, the body, and whether the connection is kept alive.
WHOLE: list[tuple[str, bytes, int, bytes, bool]] = [
    ("GET", OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    ("GET", OK + b"content-length:5\r\n\r\nhello", 200, b"hello", True),
    ("GET", OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    ("GET", OK + b"Content-Length: 1\r\nConnection: a, Close\r\n\r\nx", 200, b"x", False),
    ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x", False),
    (
        "GET",
        b"HTTP/1.0 200 \r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        *(200, b"x", True),
    ),
    ("HEAD", OK + b"Content-Length: 5\r\n\r\n", 200, b"", True),
    ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", 200, b"", True),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    ("GET", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, b"", False),
    (
        "GET",
        OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n",
        *(200, b"hello0123456789", True),
    ),
    (
        "GET",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\nA: 1\r\nB: 2\r\n\r\n",
        *(200, b"\n", True),
    ),
    ("GET", b"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", 999, b"", True),
]


class Reader:
    """A parser that is fed in portions, and what it has given."""

    def __init__(self, method: str) -> None:
        self.parser = ResponseParser(method)
        self.heads: list[ResponseHead] = []
        self.pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self.parser.feed(data)
        self.pull()

    def pull(self) -> None:
        while not self.parser.complete:
            if not self.heads or (self.heads[-1].status < 200 and self.heads[-1].status != 101):
                head = self.parser.next_head()
                if head is None:
                    return
                self.heads.append(head)
                continue
            piece = self.parser.next_piece()
            if piece is None:
                return
            self.pieces.append(piece)


@pytest.mark.parametrize(("method", "data", "status", "body", "keep_alive"), WHOLE)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_whole_responses(
    method: str, data: bytes, status: int, body: bytes, keep_alive: bool, step: int
) -> None:
    reader = Reader(method)
    for start in range(0, len(data), step):
        assert not reader.parser.complete
        reader.feed(data[start : start + step])
    parser = reader.parser
    assert parser.complete
    assert (reader.heads[-1].status, b"".join(reader.pieces)) == (status, body)
    assert (parser.keep_alive, parser.surplus) == (keep_alive, 0)
    assert data.startswith(reader.heads[-1].raw)


@pytest.mark.parametrize(("method", "data", "status", "body", "keep_alive"), WHOLE)
def test_bytes_behind_a_response_stay_in_the_buffer(
    method: str, data: bytes, status: int, body: bytes, keep_alive: bool
) -> None:
    reader = Reader(method)
    reader.feed(data + b"HTTP/1.1 ")
    assert reader.parser.complete
    assert b"".join(reader.pieces) == body
    assert reader.parser.surplus == 9


@pytest.mark.parametrize(("method", "data", "status", "body", "keep_alive"), WHOLE)
@pytest.mark.parametrize("end", ["fin", "reset"])
def test_a_response_that_is_cut_anywhere_is_incomplete(
    method: str, data: bytes, status: int, body: bytes, keep_alive: bool, end: str
) -> None:
    for cut in range(len(data)):
        reader = Reader(method)
        reader.feed(data[:cut])
        assert not reader.parser.complete
        reader.parser.feed_end(end)
        with pytest.raises(IncompleteResponse, match="without" if cut == 0 else f"{cut} bytes"):
            reader.pull()


def test_a_body_until_close() -> None:
    reader = Reader("GET")
    reader.feed(OK + b"\r\nhel")
    reader.feed(b"lo")
    assert reader.pieces == [b"hel", b"lo"]
    reader.parser.feed_end("fin")
    reader.pull()
    assert reader.parser.complete
    assert not reader.parser.keep_alive
    assert reader.pieces == [b"hel", b"lo", b""]


def test_a_reset_is_no_end_of_a_body_until_close() -> None:
    reader = Reader("GET")
    reader.feed(OK + b"\r\nhello")
    reader.parser.feed_end("reset")
    with pytest.raises(IncompleteResponse, match="was reset in the middle"):
        reader.pull()


def test_interim_responses_come_before_the_final_one() -> None:
    reader = Reader("GET")
    reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\nLink: <b>\r\n\r\n")
    reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")
    assert [head.status for head in reader.heads] == [103, 100, 200]
    assert reader.heads[0].headers.get_all("link") == ["<a>", "<b>"]
    assert reader.heads[0].headers["LINK"] == "<a>, <b>"
    assert reader.heads[0].status_code == 103
    with pytest.raises(KeyError):
        reader.heads[1].headers["link"]


def test_each_chunk_is_a_piece_and_trailers_follow() -> None:
    reader = Reader("GET")
    reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX: 1\r\n\r\n")
    assert reader.pieces == [b"a", b"bc", b""]
    assert list(reader.parser.trailers.items()) == [("X", "1")]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"hello\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b" folded\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"A: b\nC: d\r\n\r\n",
        OK + b"A: \0\r\n\r\n",
        OK + b"Content-Length: \r\n\r\n",
        OK + b"Content-Length: +1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nnothing\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 10_000])
def test_bytes_that_are_no_response_are_refused(data: bytes, step: int) -> None:
    reader = Reader("GET")
    with pytest.raises(BadResponse):
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
