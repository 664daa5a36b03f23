"""Time grows with the size of what a client sends, and not with its square.

Each parser gets rows of units that make parsers go back: separators, quotes, escapes, halves of
them, beginnings of boundaries. They are as long as the limits allow, and the time for them is
compared with that for half of them (see support/growth.py).
"""

import base64
import logging
import unicodedata
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote_plus

import pytest

from reactor import Limits
from reactor.http.wall_clock import WallClock
from reactor.loop.reactor import Reactor
from reactor.messages.headers import Headers
from reactor.observe.access_log import line_writer
from reactor.observe.error_log import RecordFormatter
from reactor.protocol.dates import parse_date
from reactor.protocol.grammar import is_token, list_members
from reactor.protocol.paths import decode_path
from reactor.protocol.request_parser import RequestParser
from reactor.web.app.request_data import form_of, json_of, parse_cookies, parse_pairs, text_of
from reactor.web.app.requests import Request
from reactor.web.app.router import Router
from reactor.web.middlewares import CORS, BasicAuth, Sessions, TrustedHosts
from reactor.web.semantics.cross_site import refuse_foreign
from reactor.web.semantics.file_names import is_plain
from reactor.web.semantics.form_encoding import decode_component
from reactor.web.semantics.media_types import media_type
from reactor.web.semantics.multipart import boundary_of, parse_parameters
from reactor.web.semantics.negotiation import choose_coding, prefers_json
from reactor.web.semantics.paths import segments
from reactor.web.semantics.preconditions import check_read, check_write, range_applies
from reactor.web.semantics.ranges import parse_ranges
from reactor.web.semantics.structured_fields import boolean_item, integer_item
from reactor.web.semantics.validators import identity_tag, parse_tags
from reactor.web.uploads.resumable_fields import whole_length
from tests.support.growth import check_growth, seconds

pytestmark = pytest.mark.slow

HEAD = 32 * 1024
BODY = 256 * 1024
LIMITS = Limits(head_bytes=1 << 20, request_line_bytes=1 << 20, head_fields=1 << 15)
TAG = '"17a-2b-c-d"'

UNITS = [
    *("a", "A", "0", "9", " ", "\t", ",", ";", "=", '"', "\\", "/", ".", "-", ":", "%", "+", "?"),
    *("*", "&", "(", "[", "@", "_", "\x80", "\xff", "a,", "a;", "a=", '"a"', '"a",', '"a', '\\"'),
    *("a=b;", ";a=b", "a=b,", ';a="', ';a="b"', ';a="\\"', "a;q=0.5,", "a/b,", "*/*;q=0,", ", ,"),
    *(";q=1", "text/html;", "text/html,", "application/json;a=b,", ";charset=", "gzip,", "*;q=0,"),
    *('W/"a",', 'W/"', 'W/"-gzip",', "-gzip", '"17a-2b-c-d-gzip",', f"{TAG},", 'W/"17a-2b-c-d",'),
    *("1-,", "-1,", "1-2,", "0-0,", "1-", "--", "-,", "00", "bytes=", "%41", "%4", "%C3%A9", "%%"),
    *("a/", "../", "./", "//", "a.", ".a", "a:", "::", "[:", ":1", "http://", "xn--", "a@", "é"),
    *("?1", ";?", ":aa:", ";a=:aa==:", ';a=%"', ';a=%"%c3%a9"', ";a=1.5", ";a=@1", "a; ", "; "),
    *("Mon, ", "GMT", "Jan ", "01 ", "a\u0301".encode().decode("latin-1"), "e\u0301 "[:1], "QUJD"),
]


def fields(**values: str) -> Headers:
    return Headers(
        "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in values.items())
    )


def request(target: str = "/", **values: str) -> Request:
    path, _, query = target.partition("?")
    made = Request("GET", target, path, query, 1, fields(**values), Limits())
    made.client, made.host = ("192.0.2.7", 5), "example.com"
    return made


def _check(name: str, text: str) -> object:
    headers = fields(**{name: text})
    check_write(headers, TAG, 5.0, 9.0)
    return check_read(headers, TAG, 5.0, 9.0)


AUTH = BasicAuth({"ann": "secret"})
CROSS = CORS(["https://example.com"], headers=["*"])
SESSIONS = Sessions("s" * 32)
HOSTS = TrustedHosts(["example.com", "*.example.org"])
ROUTER: Router[int] = Router()
for number, pattern in enumerate(
    ("/a/{x}/b", "/{x}/{y:int}", "/files/{rest:path}", "/a/a/{z:float}")
):
    ROUTER.add("GET", pattern, number)
FORMATTER = RecordFormatter("%(levelname)s %(name)s: %(message)s")

# Functions of a text that a client sends, and beginnings that lead into them.
TEXTS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "accept": (prefers_json, ("", "text/html;", 'text/html;a="')),
    "accept-encoding": (lambda text: choose_coding(text, ("gzip", "zstd")), ("", "gzip;q=")),
    "authorization": (
        lambda text: AUTH.before(request(Authorization=text)),
        ("Basic ", "basic", "Digest "),
    ),
    "credentials": (lambda text: AUTH.before(_credentials(text)), ("", "a:", "ann:")),
    "cookie": (parse_cookies, ("", "session=", 'session="')),
    "session": (SESSIONS.verified, ("", "a.1.", "a.")),
    "content-type": (
        boundary_of,
        ("multipart/form-data;", "multipart/form-data; boundary=", 'multipart/form-data; a="'),
    ),
    "parameters": (parse_parameters, ("", ";", ';a="')),
    "list": (list_members, ("", '"')),
    "range": (lambda text: parse_ranges(text, 10**6, 1000), ("bytes=", "bytes=0-0,", "bytes=0-")),
    "if-none-match": (partial(_check, "If-None-Match"), ("", '"', TAG)),
    "if-match": (partial(_check, "If-Match"), ("", '"', TAG)),
    "if-modified-since": (partial(_check, "If-Modified-Since"), ("", "Mon, 01 Jan ")),
    "if-range": (lambda text: range_applies(fields(If_Range=text), TAG, 5.0, 9.0), ("", '"')),
    "tags": (parse_tags, ("", '"', 'W/"')),
    "identity tag": (identity_tag, ('"', '"-gzip')),
    "date": (lambda text: parse_date(text, 1e9), ("", "Mon, 01 Jan 2024 ", "Monday, ")),
    "upload fields": (
        lambda text: whole_length(request(Upload_Complete=text, Upload_Length=text)),
        ("?1", "?0;a=", "1;a"),
    ),
    "boolean": (boolean_item, ("?1", '?1;a="', '?1;a=%"')),
    "integer": (integer_item, ("1", '1;a="', "-1;a=")),
    "origin": (lambda text: refuse_foreign(request(Origin=text)), ("", "https://", "https://a:")),
    "cors": (lambda text: CROSS.before(_preflight(text)), ("",)),
    "token": (is_token, ("",)),
    "query": (lambda text: parse_pairs(text, 1 << 20), ("", "a=")),
    "path": (segments, ("/",)),
    "route": (lambda text: ROUTER.find(text), ("/", "/a/", "/files/")),
    "decoded path": (decode_path, ("/",)),
    "file name": (lambda text: (is_plain((text,)), media_type(text)), ("", "a.")),
    "host": (lambda text: HOSTS.before(_with_host(text)), ("", "a.", "[", "a:")),
    "many look-ups": (lambda text: _look_up(request(X=text)), ("", "\r\nX")),
    "repr": (lambda text: repr(request(f"/{text}", X=text, Cookie=text).headers), ("",)),
}


def _credentials(text: str) -> Request:
    return request(Authorization=f"Basic {base64.b64encode(text.encode('latin-1')).decode()}")


def _with_host(text: str) -> Request:
    made = request()
    made.host = text
    return made


def _preflight(text: str) -> Request:
    made = request(
        Origin="https://example.com",
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers=text,
    )
    made.method = "OPTIONS"
    return made


def _look_up(asked: Request) -> object:
    for name in ("accept", "cookie", "range", "x"):
        asked.headers.get(name)
    return asked.cookies, dict(asked.headers)


def row(beginning: str, unit: str, size: int) -> str:
    return (beginning + unit * (size // len(unit) + 1))[:size]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_a_head_is_parsed_in_linear_time(name: str) -> None:
    parse, beginnings = TEXTS[name]
    for beginning in beginnings:
        for unit in UNITS:
            for end in ("", '"') if '"' in beginning else ("",):
                check(lambda text: partial(parse, text), HEAD, beginning, unit, end)


def check(
    run: Callable[[str], Callable[[], object]], size: int, beginning: str, unit: str, end: str
) -> None:
    """Check the growth of `run(text)`, with text of these pieces."""
    try:
        check_growth(lambda size: run(row(beginning, unit, size) + end), size)
    except AssertionError as error:
        raise AssertionError(f"{beginning!r} {unit!r} {end!r}: {error}") from None


def test_a_quadratic_call_is_found() -> None:
    def make(size: int) -> Callable[[], object]:
        return partial(unicodedata.normalize, "NFC", "a" + "\u0301\u0316" * size)

    with pytest.raises(AssertionError, match="grows"):
        check_growth(make, 2000)


# --- whole requests ------------------------------------------------------------------------------

HEADS = [
    *("GET / HTTP/1.1", "GET /", "GET /?", "GET http://", "GET http://a/", "G", "\r\n", " ", ""),
    *("GET / HTTP/1.1\r\nHost: ", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "),
    *(
        f"GET / HTTP/1.1\r\nHost: a\r\n{name}: "
        for name in ("Connection", "Transfer-Encoding", "Content-Length", "Expect", "Upgrade")
    ),
]
HEAD_UNITS = [
    *(*"a/%: \t,;=\x00\x80\r\n", "\r\n", "a:\r\n", "\r\na:b", "\r\nHost: a", "\r\nhost:"),
    *("\r\nConnection: close", "\r\nExpect:", "close,", "chunked,", "100-continue,", "\n\r", "%41"),
]


@pytest.mark.parametrize("beginning", HEADS)
@pytest.mark.parametrize("way", ["whole", "in pieces"])
def test_a_head_is_parsed_in_linear_time(beginning: str, way: str) -> None:
    """Right or wrong, whole or in pieces of 512 bytes; also a head that never ends."""

    def parse(data: bytes) -> None:
        parser = RequestParser(LIMITS, Request)
        step = len(data) if way == "whole" else 512
        for place in range(0, len(data), step):
            parser.feed(data[place : place + step])
            if parser.next_request() is not None:
                return

    for unit in HEAD_UNITS:
        for end in ("", "\r\n\r\n", " HTTP/1.1\r\nHost: a\r\n\r\n"):
            check(lambda text: partial(parse, text.encode("latin-1")), HEAD, beginning, unit, end)


CHUNKS = [
    *("1\r\na\r\n", "100\r\n" + "a" * 256 + "\r\n", "1;a\r\na\r\n", '1;a="b"\r\na\r\n'),
    *("0001 ; a = b;c\r\na\r\n", "1" + ";a" * 120 + "\r\na\r\n"),
    '1;a="' + "\\b" * 110 + '"\r\na\r\n',
]


@pytest.mark.parametrize("unit", CHUNKS)
@pytest.mark.parametrize("step", [1 << 16, 700])
def test_chunks_are_decoded_in_linear_time(unit: str, step: int) -> None:
    def make(size: int) -> Callable[[], object]:
        data = row("", unit, size).encode()
        return partial(decode, data)

    def decode(data: bytes) -> None:
        parser = RequestParser(LIMITS, Request)
        parser.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        parser.next_request()
        for place in range(0, len(data), step):
            parser.feed(data[place : place + step])
            while parser.next_piece(1 << 16) is not None:
                pass

    check_growth(make, 1 << 17)


@pytest.mark.parametrize("unit", ["a: b\r\n", "a:\r\n", "a:" + " " * 100 + "\r\n", "a", ":", "\r"])
def test_trailers_are_parsed_in_linear_time(unit: str) -> None:
    def decode(data: bytes) -> None:
        parser = RequestParser(Limits(trailer_bytes=1 << 20, head_fields=1 << 20), Request)
        parser.feed(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        parser.next_request()
        for place in range(0, len(data), 1000):
            parser.feed(data[place : place + 1000])
            parser.next_piece(1 << 16)

    check_growth(lambda size: partial(decode, row("", unit, size).encode()), HEAD)


# --- bodies --------------------------------------------------------------------------------------


def body(media_type: str, read: Callable[[Request], object], text: str) -> Callable[[], object]:
    made = Request("POST", "/", "/", "", 1, fields(Content_Type=media_type), Limits())
    made.content = text.encode("latin-1")
    return partial(read, made)


FORM_UNITS = [
    *("%", "%%", "%4", "%41", "%C3%A9", "%zz", "%3D", "%f", "%ff", "%f0", "+", "=", "a", "a=b&"),
    *("%=%&", "&", "a&", "%0D%0A", "%\n", "\xc3\xa9", "=%", "%41+", "%2541", "a" * 1000 + "&"),
]


@pytest.mark.parametrize("unit", FORM_UNITS)
def test_forms_are_decoded_in_linear_time(unit: str) -> None:
    run = partial(body, "application/x-www-form-urlencoded", form_of)
    for beginning in ("", "a="):
        check(run, BODY, beginning, unit, "")


@pytest.mark.parametrize("unit", ["%", "%41", "%zz", "%C3%A9"])
def test_a_form_costs_a_small_part_of_the_time_of_urllib(unit: str) -> None:
    text = row("", unit, 999_999)
    ours = min(seconds(partial(decode_component, text)) for _ in range(5))
    assert ours * 4 < seconds(partial(unquote_plus, text))


BOUNDARY = "b" * 69 + "c"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"'
MULTIPART_UNITS = [
    *("a", "\r", "\n", "\r\n", "-", "b", "--b", "\r\n--", f"\r\n--{BOUNDARY}"),
    *(f"\r\n--{BOUNDARY[:-1]}", ";", ";a", ";a=b", ';a="', '\\"', "\\", "%22", '"'),
    *("\r\na:b", "\r\na:", "a:\r\n", "\r\n\r\n", f"{PART}\r\n\r\n\r\n", f"{PART}\r\n\r\na\r\n"),
    f'{PART}; filename="a"\r\n\r\n\r\n',
    *(
        "a",
        "\r",
        "\n",
        "\r\n",
        "-",
        "\r\n--",
        f"\r\n--{BOUNDARY[:-1]}",
        f"\r\n--{BOUNDARY}",
        "b",
        "--b",
    ),
    *(
        ";",
        ";a",
        ";a=b",
        ';a="',
        '\\"',
        "\\",
        "%22",
        '"',
        "\r\na:b",
        "\r\na:",
        "a:\r\n",
        "\r\n\r\n",
    ),
    *(f"{PART}\r\n\r\n\r\n", f"{PART}\r\n\r\na\r\n", f'{PART}; filename="a"\r\n\r\n\r\n'),
    *(
        f'{PART}; filename="{"".join(piece * 1000)}"\r\n\r\n\r\n'
        for piece in ("\\\\", '\\"', "%22", ".", "\xc3\xa9", "a\xcc\x81")
    ),
    *(f"{PART}{piece * 1000}\r\n\r\n\r\n" for piece in (";", " ", "; ", "\r\na:b", "\r\nX:")),
]


@pytest.mark.parametrize("unit", MULTIPART_UNITS)
def test_multipart_forms_are_parsed_in_linear_time(unit: str) -> None:
    run = partial(body, f"multipart/form-data; boundary={BOUNDARY}", form_of)
    for beginning in ("", PART, f"{PART}\r\n\r\n"):
        check(run, BODY, beginning, unit, f"\r\n--{BOUNDARY}--\r\n")


JSON_UNITS = [
    *(
        "[",
        "[[],",
        "[]",
        "[],",
        '{"a":',
        '{"a":1},',
        "1",
        "1,",
        "1.5,",
        "1e5,",
        "-",
        "0",
        ".",
        "1e",
    ),
    *('"a",', '"', "\\", '\\"', "\\u0041", "\\ud83d\\ude00", "\\ud800", " ", "\n", "null,"),
    *("\xc3\xa9", "a"),
]
JSON_FRAMES = [
    *(("[", "0]"), ('["', '"]'), ("1", ""), ("0.", "e-9"), ("1", "e-1000000"), ("", "")),
]


@pytest.mark.parametrize("unit", JSON_UNITS)
def test_json_is_parsed_in_linear_time(unit: str) -> None:
    run = partial(body, "application/json", json_of)
    for beginning, end in (
        ("[", "0]"),
        ('["', '"]'),
        ("1", ""),
        ("0.", "e-9"),
        ("1", "e-1000000"),
        ("", ""),
    ):
        check(run, BODY, beginning, unit, end)


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "ascii", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("unit", ["a", "\xff", "\x80", "\xc3\xa9", "\xd8"])
def test_text_is_decoded_in_linear_time(charset: str, unit: str) -> None:
    check(partial(body, f"text/plain; charset={charset}", text_of), BODY, "", unit, "")


# --- logs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["common", "combined", "json", "%(u)s %(q)s %({x}i)s %({y}o)s"])
@pytest.mark.parametrize(
    "unit", ["a", '"', "\\", "\x80", "\xff", "\n", "\x1b", "\xc3\xa9", "\\xff", "%41"]
)
def test_a_line_of_the_access_log_is_made_in_linear_time(form: str, unit: str) -> None:
    """Though a field may be as long as it likes."""
    reactor = Reactor(clock=lambda: 0.0)
    observe = line_writer(form, len, WallClock(), reactor, 1 << 30)

    def run(text: str) -> Callable[[], object]:
        user = base64.b64encode(text.encode("latin-1")).decode()
        asked = request(
            f"/{text}?{text}", Referer=text, User_Agent=text, X=text, Authorization=f"Basic {user}"
        )
        return lambda: observe(asked, 200, [("Y", text)], 5)

    try:
        check(run, HEAD, "", unit, "")
    finally:
        reactor.close()


@pytest.mark.parametrize(
    "unit", ["a", "\n", "\x1b", "\x80", "\u2028", "a\x00", "\x01\x02\x03", "\ud800"]
)
def test_a_record_of_the_error_log_is_made_in_linear_time(unit: str) -> None:
    def make(size: int) -> Callable[[], object]:
        text = row("", unit, size)
        asked = request(
            X_Request_Id="".join(one for one in text if one not in "\r\n" and one < "\xff")
        )
        record = logging.LogRecord("n", logging.ERROR, "", 0, "%s %r", (text, asked), None)
        return partial(FORMATTER.format, record)

    check_growth(make, BODY)
