"""The chunked coding, which most request smuggling relies on.

The decoder is tested through the parser, fed in every way (see parser_feeder.py), because the
boundaries that matter are those of the body as a whole. The grammar of a chunk's first line is
compared with a second one, written here by hand: an expression that back-tracks too little accepts
too much.
"""

import random
from collections.abc import Callable

import pytest

from reactor import Limits
from reactor.protocol.chunked import EXTENSION_BYTES, LAST_CHUNK, encode_chunk
from tests.support.parser_feeder import (
    IDLE,
    IN_BODY,
    LIMITS,
    assert_linear,
    bytes_until_refusal,
    expect_outcome,
    expect_refusal,
    expect_request,
    play,
)

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
TCHARS = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
GIB = 1024**3


def test_default_limits() -> None:
    assert (LIMITS.upload_bytes, LIMITS.trailer_bytes, LIMITS.head_fields) == (GIB, 8192, 100)


BODIES: dict[str, tuple[bytes, bytes]] = {
    "empty": (b"0\r\n\r\n", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "two chunks": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    "small hexadecimal digits": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "large hexadecimal digits": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "two digits": (b"10\r\n0123456789abcdef\r\n0\r\n\r\n", b"0123456789abcdef"),
    "a zero before": (b"05\r\nhello\r\n0\r\n\r\n", b"hello"),
    "16 digits": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
    "zeros at the end": (b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
    "16 zeros at the end": (b"5\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
    "CRLF as data": (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    "an end as data": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    "LF as data": (b"1\r\n\n\r\n0\r\n\r\n", b"\n"),
    "CR as data": (b"1\r\n\r\r\n0\r\n\r\n", b"\r"),
    "binary data": (b"4\r\n\0\xff\x80\x0b\r\n0\r\n\r\n", b"\0\xff\x80\x0b"),
    "an extension": (b"5;a\r\nhello\r\n0\r\n\r\n", b"hello"),
    "an extension with a value": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "a quoted value": (b'5;a="b c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "an empty quoted value": (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
    "quoted semicolons": (b'5;a=";b=;"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "quoted pairs": (b'5;a="\\"\\\\\\;"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "quoted bytes": (b'5;a="\t\x80\xff\\\xff"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "several extensions": (b'5;a;b=c;d="e";f\r\nhello\r\n0\r\n\r\n', b"hello"),
    "white space in extensions": (b"5 ;\ta = b\t; c\r\nhello\r\n0\r\n\r\n", b"hello"),
    "an extension at the end": (b"5\r\nhello\r\n0;a=b\r\n\r\n", b"hello"),
    "every token character": (b"5;%b\r\nhello\r\n0\r\n\r\n" % TCHARS, b"hello"),
    "a trailer": (b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"hello"),
    "several trailers": (b"0\r\nX: y\r\nX:\r\nZ:\t\x80\xff \r\n\r\n", b""),
    "trailers that would frame": (b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", b""),
    "a second Host": (b"0\r\nHost: b\r\nConnection: close\r\n\r\n", b""),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_bodies(case: tuple[bytes, bytes]) -> None:
    encoded, body = case
    message = expect_request(HEAD + encoded)
    assert (message.body, message.length) == (body, None)
    assert message.host == "a"  # trailers are dropped, even these
    assert message.keep_alive
    assert len(message.fields) == 2


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_an_incomplete_body_waits_for_more(case: tuple[bytes, bytes]) -> None:
    encoded, body = case
    for size in range(len(encoded)):
        outcome = play([HEAD + encoded[:size]])
        assert outcome.ending == IN_BODY
        assert body.startswith(outcome.bodies[0])


REFUSED = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no size before an extension": b";a\r\nhello\r\n0\r\n\r\n",
    "an empty line before the size": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "17 zeros at the end": b"5\r\nhello\r\n00000000000000000\r\n\r\n",
    "a size of 2 to the 64th and 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "minus nothing": b"5\r\nhello\r\n-0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "0X": b"0X5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "an h": b"5h\r\nhello\r\n0\r\n\r\n",
    "a g": b"g\r\nhello\r\n0\r\n\r\n",
    "a point": b"5.0\r\nhello\r\n0\r\n\r\n",
    "a comma": b"5,a\r\nhello\r\n0\r\n\r\n",
    "in quotes": b'"5"\r\nhello\r\n0\r\n\r\n',
    "an Arabic digit": "٥\r\nhello\r\n0\r\n\r\n".encode(),
    "a full-width digit": "\uff15\r\nhello\r\n0\r\n\r\n".encode(),
    "a superscript digit": b"\xb2\r\nhi\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "tab before the size": b"\t5\r\nhello\r\n0\r\n\r\n",
    "space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "space behind the last size": b"5\r\nhello\r\n0 \r\n\r\n",
    "space in the size": b"0 5\r\nhello\r\n0\r\n\r\n",
    "VT behind the size": b"5\x0b\r\nhello\r\n0\r\n\r\n",
    "FF behind the size": b"5\x0c\r\nhello\r\n0\r\n\r\n",
    "US behind the size": b"5\x1f\r\nhello\r\n0\r\n\r\n",
    "NEL behind the size": b"5\x85\r\nhello\r\n0\r\n\r\n",
    "NUL behind the size": b"5\0\r\nhello\r\n0\r\n\r\n",
    "LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "CR CR LF behind the size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "LF behind the last size": b"5\r\nhello\r\n0\n\r\n",
    "LF for the last line": b"5\r\nhello\r\n0\r\n\n",
    "CR CR LF for the last line": b"5\r\nhello\r\n0\r\n\r\r\n",
    "LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "CR behind the data": b"5\r\nhello\r0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "LF CR behind the data": b"5\r\nhello\n\r0\r\n\r\n",
    "CR CR behind the data": b"5\r\nhello\r\r\n0\r\n\r\n",
    "two other bytes behind the data": b"5\r\nhelloXX0\r\n\r\n",
    "space behind the data": b"5\r\nhello \r\n0\r\n\r\n",
    "one byte too many": b"5\r\nhello!\r\n0\r\n\r\n",
    "one byte too few": b"5\r\nhell\r\n0\r\n\r\n",
    "a line too many behind the data": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "no name of an extension": b"5;\r\nhello\r\n0\r\n\r\n",
    "two semicolons": b"5;;a\r\nhello\r\n0\r\n\r\n",
    "a semicolon at the end": b"5;a;\r\nhello\r\n0\r\n\r\n",
    "a semicolon and space at the end": b"5;a; \r\nhello\r\n0\r\n\r\n",
    "space behind an extension": b"5;a \r\nhello\r\n0\r\n\r\n",
    "space behind a value": b"5;a=b \r\nhello\r\n0\r\n\r\n",
    "no value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "no value before the next": b"5;a=;b\r\nhello\r\n0\r\n\r\n",
    "no value but space": b"5;a= \r\nhello\r\n0\r\n\r\n",
    "only a value": b"5;=a\r\nhello\r\n0\r\n\r\n",
    "two values": b"5;a=b=c\r\nhello\r\n0\r\n\r\n",
    "two words": b"5;a b\r\nhello\r\n0\r\n\r\n",
    "a quoted name": b'5;"a"\r\nhello\r\n0\r\n\r\n',
    "an open quote": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "a lone quote": b'5;a="\r\nhello\r\n0\r\n\r\n',
    "text behind a quote": b'5;a="b"c\r\nhello\r\n0\r\n\r\n',
    "an escaped quote at the end": b'5;a="b\\"\r\nhello\r\n0\r\n\r\n',
    "CR LF in quotes": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "an escaped CR LF": b'5;a="\\\r\n"\r\nhello\r\n0\r\n\r\n',
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "LF in quotes": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "CR in quotes": b'5;a="\r"\r\nhello\r\n0\r\n\r\n',
    "NUL in an extension": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "NUL in quotes": b'5;a="\0"\r\nhello\r\n0\r\n\r\n',
    "an escaped NUL": b'5;a="\\\0"\r\nhello\r\n0\r\n\r\n',
    "DEL in quotes": b'5;a="\x7f"\r\nhello\r\n0\r\n\r\n',
    "Latin-1 in an extension": b"5;\xe4\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nX\r\n\r\n",
    "a trailer without a name": b"0\r\n: y\r\n\r\n",
    "space before a trailer's colon": b"0\r\nX : y\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "a folded first trailer": b"0\r\n X: y\r\n\r\n",
    "a space for a trailer": b"0\r\n \r\n\r\n",
    "LF behind a trailer": b"0\r\nX: y\n\r\n",
    "CR in a trailer": b"0\r\nX: y\rZ: a\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "DEL in a trailer": b"0\r\nX: \x7f\r\n\r\n",
    "a chunk behind the last": b"0\r\n5\r\nhello\r\n\r\n",
    "a request for a trailer": b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("encoded", REFUSED.values(), ids=REFUSED)
def test_malformed_bodies(encoded: bytes) -> None:
    outcome = expect_refusal(400, HEAD + encoded)
    assert len(outcome.messages) == 1
    assert outcome.bodies[0] in (b"", b"hello", b"hell\r", b"h")


def test_a_bad_chunk_is_an_error_after_the_good_ones_before_it() -> None:
    outcome = expect_refusal(400, HEAD + b"5\r\nhello\r\n6\r\n world\r\nx\r\n")
    assert outcome.bodies == [b"hello world"]


# --- the grammar of a chunk's first line, a second time ------------------------------------------


def is_size_line(line: bytes) -> bool:
    """chunk-size [ chunk-ext ] CRLF, read from left to right as RFC 9112, 7.1 writes it."""
    rest = line.lstrip(b"0123456789abcdefABCDEF")
    if not 1 <= len(line) - len(rest) <= 16 or len(line) > EXTENSION_BYTES:
        return False
    while rest != b"\r\n":
        rest = rest.lstrip(b" \t")
        if not rest.startswith(b";"):
            return False
        rest, found = after_token(rest[1:].lstrip(b" \t"))
        if not found:
            return False
        value = rest.lstrip(b" \t")
        if value.startswith(b"="):
            value = value[1:].lstrip(b" \t")
            rest, found = after_quotes(value) if value.startswith(b'"') else after_token(value)
            if not found:
                return False
    return True


def after_token(text: bytes) -> tuple[bytes, bool]:
    rest = text.lstrip(TCHARS)
    return rest, rest != text


def after_quotes(text: bytes) -> tuple[bytes, bool]:
    at = 1
    while at < len(text) and text[at : at + 1] != b'"':
        at += 1 if text[at : at + 1] != b"\\" else 2
        inside = text[at - 1]
        if inside != ord("\t") and (inside < 0x20 or inside == 0x7F):
            return text, False
    return text[at + 1 :], at < len(text)


PARTS = [
    b"5",
    b"0",
    b"f",
    b";",
    b";a",
    b"=",
    b"=b",
    b'"',
    b'"c"',
    b"\\",
    b" ",
    b"\t",
    b"\xe4",
    b",",
]


def test_size_lines_follow_the_grammar() -> None:
    chance = random.Random(9112)
    right = 0
    for _ in range(30_000):
        line = b"1" + b"".join(chance.choices(PARTS, k=chance.randrange(8))) + b"\r\n"
        outcome = play([HEAD + line])
        expected = is_size_line(line)
        assert outcome.ending == (IN_BODY if expected else "400"), line
        right += expected
    assert right > 1000


def test_the_second_grammar_agrees_about_the_tables() -> None:
    for encoded, _ in BODIES.values():
        assert is_size_line(encoded[: encoded.index(b"\n") + 1])
    for name in ("no value", "a semicolon at the end", "an open quote", "17 digits", "a g"):
        encoded = REFUSED[name]
        assert not is_size_line(encoded[: encoded.index(b"\n") + 1])


# --- limits --------------------------------------------------------------------------------------


SMALL = Limits(upload_bytes=20, trailer_bytes=30, head_fields=4)


def test_the_longest_body() -> None:
    end = b"\r\n0\r\n\r\n"
    for encoded in (b"14\r\n" + b"x" * 20, b"a\r\n0123456789\r\na\r\n0123456789"):
        assert len(expect_request(HEAD + encoded + end, SMALL).body) == 20
    for encoded in (b"15\r\n", b"a\r\n0123456789\r\nb\r\n", b"14\r\n%b\r\n1\r\n" % (b"x" * 20)):
        expect_refusal(413, HEAD + encoded, SMALL)
        expect_refusal(413, HEAD + encoded + b"0123456789a", SMALL)


def test_the_largest_sizes() -> None:
    assert expect_outcome(HEAD + b"40000000\r\nhi").ending == IN_BODY
    sizes = [b"40000001", b"80000000", b"ffffffff", b"100000005", b"7fffffffffffffff"]
    sizes += [b"8000000000000000", b"FFFFFFFFFFFFFFFF", b"fffffffffffffffb"]
    for size in sizes:
        expect_refusal(413, HEAD + size + b"\r\nhello\r\n0\r\n\r\n")
        expect_refusal(413, HEAD + b"1\r\na\r\n" + size + b"\r\nhello\r\n0\r\n\r\n")


def test_chunks_add_up() -> None:
    encoded = b"1\r\nx\r\n" * 20
    assert expect_request(HEAD + encoded + b"0\r\n\r\n", SMALL).body == b"x" * 20
    outcome = expect_refusal(413, HEAD + encoded + b"1\r\nx\r\n0\r\n\r\n", SMALL)
    assert outcome.bodies == [b"x" * 20]


@pytest.mark.parametrize("extra", [0, 1, 2, 300])
def test_the_longest_size_line(extra: int) -> None:
    for start, end in ((b"5;", b"\r\n"), (b'5;a="', b'"\r\n'), (b"5", b";a\r\n")):
        filling = b" " if start == b"5" else b"x"
        line = start + filling * (EXTENSION_BYTES + extra - len(start) - len(end)) + end
        data = HEAD + line + b"hello\r\n0\r\n\r\n"
        if extra:
            expect_refusal(400, data)
        else:
            assert expect_request(data).body == b"hello"


def test_the_longest_trailers() -> None:
    for lines in (b"X: " + b"y" * 25 + b"\r\n", b"A: bcdefg\r\n" + b"X: " + b"y" * 14 + b"\r\n"):
        assert len(lines) == SMALL.trailer_bytes  # the empty line behind them does not count
        expect_request(HEAD + b"0\r\n" + lines + b"\r\n", SMALL)
        expect_refusal(431, HEAD + b"0\r\nX" + lines + b"\r\n", SMALL)
        expect_refusal(431, HEAD + b"0\r\n" + lines + b"X:\r\n\r\n", SMALL)
        expect_refusal(431, HEAD + b"0\r\n" + lines + b"\rX:\r\n\r\n", SMALL)


def test_the_longest_trailers_by_default() -> None:
    most = LIMITS.trailer_bytes
    line = b"X: " + b"y" * (most - 5) + b"\r\n"
    marks = [len(HEAD) + 3 + most]
    expect_request(HEAD + b"0\r\n" + line + b"\r\n", marks=marks)
    expect_refusal(431, HEAD + b"0\r\nX" + line + b"\r\n", marks=marks)


@pytest.mark.slow
def test_the_most_trailers() -> None:
    for limits in (LIMITS, SMALL):
        most = limits.head_fields
        expect_request(HEAD + b"0\r\n" + b"X:\r\n" * most + b"\r\n", limits)
        expect_refusal(431, HEAD + b"0\r\n" + b"X:\r\n" * (most + 1) + b"\r\n", limits)


def test_a_trailer_too_long_is_refused_for_its_length_first() -> None:
    for value in (b"\0", b"\r", b" : "):
        expect_refusal(431, HEAD + b"0\r\nX: " + value + b"y" * 40 + b"\r\n\r\n", SMALL)


# begin, the bytes that follow for ever, bytes taken
ENDLESS: dict[str, tuple[bytes, bytes, int]] = {
    "a size": (b"", b"0", EXTENSION_BYTES),
    "an extension": (b"5;", b"x", EXTENSION_BYTES),
    "extensions": (b"5", b";x=y", EXTENSION_BYTES),
    "white space": (b"5", b" ", EXTENSION_BYTES),
    "a quoted value": (b'5;a="', b"x", EXTENSION_BYTES),
    "data": (b"1\r\nx", b"x", 4),
    "CR behind data": (b"1\r\nx", b"\r", 5),
    "a trailer": (b"0\r\n", b"x", 3 + 8192),
    "a trailer's value": (b"0\r\nX: ", b"x", 3 + 8192),
    "trailers": (b"0\r\n", b"X: y\r\n", 3 + 6 * 101),
    "long trailers": (b"0\r\n", b"X: %b\r\n" % (b"y" * 95), 3 + 8192 + 100),
    "folded trailers": (b"0\r\nX: y", b"\r\n z", 3 + 14),
}


@pytest.mark.parametrize("case", ENDLESS.values(), ids=ENDLESS)
def test_a_line_without_an_end_is_refused_at_its_limit(case: tuple[bytes, bytes, int]) -> None:
    start, endless, most = case
    most += len(HEAD)
    assert bytes_until_refusal(HEAD + start, endless, most) <= most


# --- time ----------------------------------------------------------------------------------------


WIDE = Limits(trailer_bytes=1 << 24, head_fields=1 << 20)

HARD: dict[str, Callable[[int], bytes]] = {
    "small chunks": lambda n: b"1\r\nx\r\n" * n + b"x\r\n",
    "a size": lambda n: b"0" * n * 4 + b"\r\n",
    "an extension": lambda n: b"5;" + b"x" * n * 4 + b"\0\r\n",
    "quoted pairs": lambda n: b'5;a="' + b"\\x" * n * 4 + b"\r\n",
    "many extensions": lambda n: b'1;a="b" ; c = "\\d"\r\nx\r\n' * n + b"x\r\n",
    "almost extensions": lambda n: b"5" + b";a =b" * n * 4 + b"=\r\n",
    "a trailer": lambda n: b"0\r\nX: " + b"y" * n * 4 + b"\0\r\n\r\n",
    "trailers": lambda n: b"0\r\n" + b"X: y\r\n" * n + b"\0\r\n\r\n",
}


@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_a_body_takes_time_in_proportion_to_its_size(make: Callable[[int], bytes]) -> None:
    def work(size: int) -> None:
        outcome = play([HEAD, make(size)], WIDE)
        assert outcome.ending == "400"

    assert_linear(work, 2_000)


def test_a_dripped_body_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        encoded = b'1;a="b"\r\nx\r\n' * (size // 12) + b"0\r\nX: y\r\n\r\n"
        outcome = play([HEAD, *(encoded[at : at + 1] for at in range(len(encoded)))])
        assert outcome.ending == IDLE

    assert_linear(work, 5_000)


def test_a_dripped_trailer_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        assert play([HEAD + b"0\r\nX: ", *[b"y"] * size]).ending == IN_BODY

    assert_linear(work, 2_000)


# --- the other direction -------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"x", b"hello", b"\r\n", b"0\r\n\r\n", b"x" * 15, b"x" * 70_000])
def test_an_encoded_chunk_is_decoded(piece: bytes) -> None:
    outcome = play([HEAD + encode_chunk(piece) * 3 + LAST_CHUNK])
    assert (outcome.bodies, outcome.ending) == ([piece * 3], IDLE)


def test_a_chunk_as_bytes() -> None:
    assert encode_chunk(b"0123456789") == b"a\r\n0123456789\r\n"
    assert LAST_CHUNK == b"0\r\n\r\n"
