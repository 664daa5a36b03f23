"""Bytes that can become no request: refused at the first one that makes it so, not by a timeout."""

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reactor import Limits
from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.protocol.request_parser import RequestParser
from tests.support.parser_feeder import assert_linear

LIMITS = Limits()
LINE = b"GET / HTTP/1.1\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64))


def refusal(data: bytes, step: int = 1) -> tuple[int, ProtocolError] | None:
    """Feed the data; the number of bytes until it is refused, and the error."""
    parser = RequestParser(LIMITS)
    for at in range(0, len(data), step):
        parser.feed(data[at : at + step])
        try:
            if parser.next_request() is not None:
                return None
        except ProtocolError as error:
            return min(len(data), at + step), error
    return None


# The bytes, the part of them after which nothing can help, the status, and words of the sentence.
HOPELESS: list[tuple[bytes, int, int, str]] = [
    (b"SSH-2.0-x\r\n", 10, 400, "METHOD target HTTP/1.1"),
    (b"\0\0\0\0", 1, 400, "method is not a token"),
    (b"GET /\r\n", 6, 400, "METHOD target HTTP/1.1"),
    (b"GET / \r\n", 7, 400, "METHOD target HTTP/1.1"),
    (b"GET  / HTTP/1.1\r\n", 5, 400, "METHOD target"),
    (b"GET /\x7f", 6, 400, "percent-encoded"),
    (b"GET /#f", 6, 400, "percent-encoded"),
    (b" GET / HTTP/1.1\r\n", 1, 400, "method is not a token"),
    (b"GE(T / HTTP/1.1\r\n", 3, 400, "method is not a token"),
    (b"GET / HTTQ/1.1\r\n", 10, 400, "METHOD target HTTP/1.1"),
    (b"GET / HTTP/1.1 \r\n", 15, 400, "METHOD target HTTP/1.1"),
    (b"GET / HTTP/2.0\r\n", 16, 505, "HTTP/1.0 or HTTP/1.1"),
    (b"GET / HTTP/1.1x", 15, 400, "METHOD target HTTP/1.1"),
    (b"CONNECT a:1 HTTP/1.1\r\n", 22, 501, "CONNECT is for proxies"),
    (b"GET x HTTP/1.1\r\n", 16, 400, "path or an http URI"),
    (b"GET http://[1::2::3]/ HTTP/1.1\r\n", 32, 400, "path or an http URI"),
    (b"GET https://a/ HTTP/1.1\r\n", 25, 421, "Only http"),
    (b"* * *\r\n", 5, 400, "METHOD target HTTP/1.1"),
    (LINE + b"Bad Name: 1\r\n", 20, 400, "A line of the head has no colon"),
    (LINE + b": 1\r\n", 17, 400, "not a token"),
    (LINE + b" folded", 17, 400, "folded"),
    (LINE + b"X: y\r\n\tfolded", 23, 400, "folded"),
    (LINE + b"X: \0", 20, 400, "control character"),
    (LINE + b"X\r\n", 18, 400, "no colon"),
    (LINE + b"X : y", 18, 400, ""),
    (LINE + b"Host: a b\r\n", 27, 400, "Host field"),
    (LINE + b"Host: a\r\nX: y\r\nHost: a\r\n", 40, 400, "two Host fields"),
    (LINE + b"Content-Length: x\r\n", 35, 400, "Content-Length"),
    (LINE + b"Content-Length: 1\r\nContent-Length: 1\r\n", 54, 400, "Content-Length"),
    (LINE + b"Expect: tea\r\n", 29, 417, "100-continue"),
    (HELLO, 1, 400, "TLS"),
    (b"\r\n" + HELLO, 3, 400, "TLS"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16, 505, "HTTP/2 is not served here"),
]


@pytest.mark.parametrize(("data", "count", "status", "words"), HOPELESS)
def test_it_is_refused_at_the_byte_that_makes_it_hopeless(
    data: bytes, count: int, status: int, words: str
) -> None:
    found = refusal(data)
    assert found is not None
    assert (found[0], found[1].status) == (count, status)
    assert words in found[1].reason
    whole = refusal(data, len(data))
    assert whole is not None
    assert whole[1].status == status
    assert refusal(data[: count - 1], len(data)) is None


def test_a_tls_hello_is_named_in_the_log_as_well() -> None:
    parser = RequestParser(LIMITS)
    parser.feed(HELLO)
    assert parser.request_line == "\x16\x03\x01 (TLS hello)"
    parser = RequestParser(LIMITS)
    parser.feed(b"SSH-2.0-x\r\n")
    assert parser.request_line == "SSH-2.0-x"


# --- properties -----------------------------------------------------------------------------------

_pieces = st.one_of(
    st.sampled_from(
        [
            *(b"GET", b"POST", b"FOO", b" ", b"/", b"*", b"http://a/", b" HTTP/1.1", b" HTTP/1.0"),
            *(b"\r\n", b"\r", b"\n", b":", b"\0", b"\x80", b"\t", b"Host: a", b"Host:", b"X: y"),
            *(b"Content-Length: 5", b"Content-Length: x", b"Transfer-Encoding: chunked"),
            *(b"Expect: 100-continue", b"Expect: x", b"Connection: close", b" folded", LINE),
        ]
    ),
    st.binary(max_size=3),
    st.text(string.ascii_letters, max_size=4).map(str.encode),
)
_bytes = st.lists(_pieces, max_size=12).map(b"".join)


def outcome(data: bytes) -> BaseRequest | ProtocolError | None:
    parser = RequestParser(LIMITS)
    parser.feed(data)
    try:
        return parser.next_request()
    except ProtocolError as error:
        return error


@given(_bytes, _bytes)
@example(LINE + b"X", b": y")
@example(b"GET /", b" HTTP/1.1\r\nHost: a")
def test_nothing_makes_a_request_of_what_was_refused(start: bytes, rest: bytes) -> None:
    found = refusal(start)
    for end in (
        rest,
        rest + b"\r\n\r\n",
        b" / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nHost: a\r\n\r\n",
    ):
        whole = outcome(start + end)
        if found is not None:
            assert isinstance(whole, ProtocolError)
        elif isinstance(whole, BaseRequest) and b"\r\n\r\n" not in start:
            assert refusal(start + end) is None


_lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(b"Host: a", b"Host: [.]", b"X: y", b"Content-Length: 5", b"Content-Length: -1"),
                *(b"Expect: x", b"Expect: 100-continue", b"Bad Name: 1", b" fold", b"X", b"X:\0"),
                *(b"Connection: close", b"X: " + b"y" * 300),
            ]
        ),
        st.binary(max_size=5).filter(lambda line: b"\r" not in line and b"\n" not in line),
    ),
    max_size=8,
)
_request_lines = st.sampled_from(
    [
        *(b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"GET http://a/ HTTP/1.1", b"FOO / HTTP/1.1"),
        *(b"GET x HTTP/1.1", b"GET / HTTP/2.0", b"GET /", b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1"),
    ]
)


@given(_request_lines, _lines)
def test_a_line_that_spoils_every_head_is_refused_at_its_end(
    request_line: bytes, lines: list[bytes]
) -> None:
    """The full parser decides: the lines so far are an error even with all that may be missing."""
    head = b""
    for line in (request_line, *lines):
        if not line and head:
            break
        head += line + b"\r\n"
        missing = b"" if re.search(rb"\r\nhost:", head, re.I) else b"Host: a\r\n"
        hopeless = isinstance(outcome(head + missing + b"\r\n"), ProtocolError)
        assert (refusal(head) is not None) == hopeless, head
        if hopeless:
            break


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "unit"),
    [
        *((LINE, b"x"), (LINE + b"X:", b"x"), (LINE + b"X: ", b"\x80")),
        *((LINE, b"X:\r\n"), (b"", b"G"), (b"GET /", b"x")),
    ],
)
def test_a_dripped_head_is_checked_in_linear_time(start: bytes, unit: bytes) -> None:
    limits = Limits(request_line_bytes=1 << 20, head_bytes=1 << 20, head_fields=400)

    def drip(size: int) -> None:
        parser = RequestParser(limits)
        parser.feed(start)
        assert parser.next_request() is None
        for _ in range(size // (len(unit) ** 3)):
            parser.feed(unit)
            assert parser.next_request() is None

    assert_linear(drip, 2000)
