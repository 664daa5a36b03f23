"""The request parser against RFC 9112, and against attackers between two readings.

Every case is fed in every way (see parser_feeder.py). The rules for the end of a request are tested
for the smallest deviation, because a proxy before this server may read the same bytes otherwise: we
refuse bytes that could be read in two ways, or read them as the RFC says.
"""

import string
from collections.abc import Callable

import pytest

from reactor import Limits
from reactor.errors import ProtocolError
from reactor.protocol.grammar import METHODS
from reactor.protocol.request_parser import EMPTY_LINES, RequestParser
from tests.support.parser_feeder import (
    AFTER,
    ALL,
    IDLE,
    IN_BODY,
    IN_HEAD,
    LIMITS,
    Message,
    assert_linear,
    bytes_until_refusal,
    expect_outcome,
    expect_refusal,
    expect_request,
    play,
    play_all_ways,
)

TCHARS = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
STRIPPED_BY_STR = ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0"]
GIB = 1024**3


def get(*lines: bytes, target: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    """A GET with `Host: a` and more field lines."""
    return b"\r\n".join([b"GET %b %b" % (target, version), b"Host: a", *lines, b"", b""])


def post(*lines: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return b"\r\n".join([b"POST /p %b" % version, b"Host: a", *lines, b"", body])


def only_framing(message: Message) -> tuple[str, str, int | None, bytes]:
    return message.method, message.target, message.length, message.body


# --- lines ---------------------------------------------------------------------------------------


LINE_ENDS = {
    "LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "LF after the last field": b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
    "LF for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n",
    "LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "CR after the request line": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "CR after a field": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "CR for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n",
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "CR CR LF for the empty line": b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n",
    "LF CR": b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
    "CR before the colon": b"GET / HTTP/1.1\r\nHost\r: a\r\n\r\n",
    "CR behind the colon": b"GET / HTTP/1.1\r\nHost:\ra\r\n\r\n",
    "LF behind the colon": b"GET / HTTP/1.1\r\nHost:\na\r\n\r\n",
    "CR in the target": b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF in the target": b"GET /\n HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF before the request": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR before the request": b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR LF LF before the request": b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF before the request": b"\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a field hidden by CR": b"GET / HTTP/1.1\r\nHost: a\r\nX: \rTransfer-Encoding: chunked\r\n\r\n",
    "a field hidden by LF": b"GET / HTTP/1.1\r\nHost: a\r\nX: \nTransfer-Encoding: chunked\r\n\r\n",
    "a request hidden by LF LF": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\n\nGET /x HTTP/1.1\r\n\r\n",
    "NEL is no line end": b"GET / HTTP/1.1\x85Host: a\r\n\r\n",
    "VT is no line end": b"GET / HTTP/1.1\x0bHost: a\r\n\r\n",
    "U+2028 is no line end": "GET / HTTP/1.1\u2028Host: a\r\n\r\n".encode(),
}


@pytest.mark.parametrize("data", LINE_ENDS.values(), ids=LINE_ENDS)
def test_only_crlf_ends_a_line(data: bytes) -> None:
    expect_refusal(400, data)


@pytest.mark.parametrize("count", range(EMPTY_LINES + 1))
def test_a_few_empty_lines_before_a_request_are_skipped(count: int) -> None:
    message = expect_request(b"\r\n" * count + AFTER)
    assert message.target == "/after"


def test_many_empty_lines_before_a_request_are_refused() -> None:
    expect_refusal(400, b"\r\n" * (EMPTY_LINES + 1))
    expect_refusal(400, b"\r\n" * (EMPTY_LINES + 1) + AFTER)
    assert bytes_until_refusal(b"", b"\r\n", 64) < 2 * EMPTY_LINES + 2


def test_empty_lines_are_counted_before_each_request_anew() -> None:
    pieces = [b"\r\n" * EMPTY_LINES, AFTER] * 3
    assert play(pieces).targets == ["/after"] * 3
    assert expect_outcome(b"".join(pieces)).targets == ["/after"] * 3


def test_an_empty_line_alone_leaves_the_connection_idle() -> None:
    # Old clients send one behind a body: it does not begin a head, with its short deadline.
    parser = RequestParser(LIMITS)
    parser.feed(b"\r\n")
    assert parser.next_request() is None
    assert not parser.buffer
    parser.feed(b"\r")
    assert parser.next_request() is None
    assert parser.buffer


# --- the request line ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [name for name in sorted(METHODS) if name != "CONNECT"])
def test_known_methods(method: str) -> None:
    message = expect_request(b"%b /x HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
    assert message.method == method


OTHER_METHODS = ["get", "Get", "BREW", "PRI", "M-SEARCH", "GETX", "GE", "!#$%&'*"]


@pytest.mark.parametrize("method", OTHER_METHODS)
def test_other_methods_are_for_the_handler_to_know(method: str) -> None:
    message = expect_request(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())
    assert message.method == method


def test_connect_is_not_implemented() -> None:
    expect_refusal(501, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")


@pytest.mark.slow
def test_a_method_is_a_token() -> None:
    for value in range(256):
        outcome = play_all_ways(b"G%cX / HTTP/1.1\r\nHost: a\r\n\r\n" % value)
        assert outcome.ending == (IDLE if value in TCHARS else "400"), value


REQUEST_LINES = {
    "nothing but a method": b"GET\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no version, a space": b"GET / \r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before the method": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces before the target": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces behind the target": b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "space behind the version": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tab before the target": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab behind the target": b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "form feed before the target": b"GET\x0c/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fourth word": b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
    "two versions": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a response": b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a byte order mark": b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a field alone": b"Host: a\r\n\r\n",
}


@pytest.mark.parametrize("data", REQUEST_LINES.values(), ids=REQUEST_LINES)
def test_malformed_request_lines(data: bytes) -> None:
    expect_refusal(400, data)


@pytest.mark.parametrize("minor", range(10))
def test_minor_versions(minor: int) -> None:
    message = expect_request(get(version=b"HTTP/1.%d" % minor))
    assert message.minor == min(minor, 1)
    assert message.keep_alive == (minor > 0)


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9"])
def test_other_major_versions(version: bytes) -> None:
    expect_refusal(505, get(version=version))


def test_the_preface_of_http_2_is_another_version() -> None:
    expect_refusal(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


VERSIONS = [
    *b"http/1.1 Http/1.1 HTTP/1 HTTP/1. HTTP/.1 HTTP/11 HTTP/1.10 HTTP/01.1 HTTP/1.01".split(),
    *b"HTTP/11.1 HTTP/2 HTTP/20.0 HTTP/1,1 HTTP/-1.1 HTTP/+1.1 HTTP/1.+1 HTTP/1.x".split(),
    *b"HTTP1.1 HTTPS/1.1 HTTP\\1.1 /HTTP/1.1 HTTP//1.1 HTTP/1_1 HTTP/1.1; HTTP/1.1x".split(),
    *(b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1 .1", b"HTTP/1.\xb9", "HTTP/1.١".encode(), b"HTTP/1.1\0"),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_malformed_versions(version: bytes) -> None:
    expect_refusal(400, get(version=version))


@pytest.mark.slow
def test_bytes_of_a_target() -> None:
    for value in range(256):
        outcome = play_all_ways(get(target=b"/x%cy" % value))
        if 0x21 <= value <= 0x7E and value != ord("#"):
            message = outcome.messages[0]
            assert message.target == f"/x{chr(value)}y"
            assert message.path == ("/x" if value == ord("?") else message.target)
            assert message.query == ("y" if value == ord("?") else "")
        else:
            assert outcome.ending == "400", value


TARGETS = {
    "a path": (b"GET", b"/a/b", "/a/b", "", "h"),
    "a query": (b"GET", b"/a?b=c&d", "/a", "b=c&d", "h"),
    "an empty query": (b"GET", b"/a?", "/a", "", "h"),
    "two question marks": (b"GET", b"/a?b?c", "/a", "b?c", "h"),
    "a malformed path is not decoded": (b"GET", b"/%2e%2e/%00%zz%", "/%2e%2e/%00%zz%", "", "h"),
    "a decoded path": (b"GET", b"/%2e%2E/%61%2f%25%ff?%61", "/../a%2F%25%FF", "%61", "h"),
    "a long decoded path": (b"GET", b"/" + b"%61" * 999, "/" + "a" * 999, "", "h"),
    "absolute, decoded": (b"GET", b"http://b/%61%2f?%61", "/a%2F", "%61", "b"),
    "an encoded asterisk is no asterisk": (b"OPTIONS", b"/%2A", "/*", "", "h"),
    "dots stay": (b"GET", b"/../a/./b//c", "/../a/./b//c", "", "h"),
    "two slashes are a path": (b"GET", b"//evil/a", "//evil/a", "", "h"),
    "what browsers do not encode": (b"GET", b'/|{}^[]"<>`\\', '/|{}^[]"<>`\\', "", "h"),
    "a URI in a path": (b"GET", b"/http://evil/", "/http://evil/", "", "h"),
    "absolute": (b"GET", b"http://b/c?d", "/c", "d", "b"),
    "absolute with a port": (b"GET", b"http://b:81/c", "/c", "", "b:81"),
    "absolute in capitals": (b"GET", b"HTTP://B/C", "/C", "", "B"),
    "absolute without a path": (b"GET", b"http://b", "/", "", "b"),
    "absolute with a query and no path": (b"GET", b"http://b?c", "/", "c", "b"),
    "absolute, a query with slashes": (b"GET", b"http://b?c/d://e", "/", "c/d://e", "b"),
    "absolute with an IPv6 address": (b"GET", b"http://[::1]:80/c", "/c", "", "[::1]:80"),
    "absolute with an empty port": (b"GET", b"http://b:/c", "/c", "", "b:"),
    "asterisk": (b"OPTIONS", b"*", "*", "", "h"),
    "OPTIONS of a path": (b"OPTIONS", b"/", "/", "", "h"),
    "OPTIONS of a whole host": (b"OPTIONS", b"http://b", "*", "", "b"),
    "OPTIONS of a host's root": (b"OPTIONS", b"http://b/", "/", "", "b"),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS)
def test_targets(case: tuple[bytes, bytes, str, str, str]) -> None:
    method, target, path, query, host = case
    message = expect_request(b"%b %b HTTP/1.1\r\nHost: h\r\n\r\n" % (method, target))
    assert message.target == target.decode()
    assert (message.path, message.query, message.host) == (path, query, host)


def test_https_targets_are_421() -> None:
    """RFC 9110, section 7.4."""
    expect_refusal(421, b"GET https://b/c HTTP/1.1\r\nHost: h\r\n\r\n")


BAD_TARGETS = {
    "asterisk with GET": b"GET *",
    "asterisk and more": b"OPTIONS *x",
    "asterisk with a query": b"OPTIONS *?x",
    "authority-form": b"GET a:80",
    "authority-form with OPTIONS": b"OPTIONS a:80",
    "a host alone": b"GET a",
    "a relative path": b"GET a/b",
    "a query alone": b"GET ?a",
    "dots": b"GET ../a",
    "a backslash": b"GET \\a",
    "another scheme": b"GET ftp://a/",
    "a file": b"GET file:///etc/passwd",
    "no scheme": b"GET ://a/",
    "one slash": b"GET http:/a/",
    "no slash": b"GET http:a",
    "no host": b"GET http:///a",
    "no host, a port": b"GET http://:80/a",
    "no host, an empty port": b"GET http://:/a",
    "nothing behind the scheme": b"GET http://",
    "user and password": b"GET http://u:p@a/",
    "a user": b"GET http://u@a/",
    "a host that is none": b"GET http://a[/",
    "a backslash in the host": b"GET http://a\\b/",
    "an encoded backslash cut short": b"GET http://a%5/",
    "a port that is none": b"GET http://a:b/",
    "a port too high": b"GET http://a:65536/",
    "two ports": b"GET http://a:80:80/",
    "a fragment": b"GET /a#b",
    "a fragment alone": b"GET #",
    "an absolute fragment": b"GET http://a/#b",
    "raw UTF-8": b"GET /\xc3\xa4",
    "Latin-1": b"GET /\xe4",
}


@pytest.mark.parametrize("start", BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets(start: bytes) -> None:
    expect_refusal(400, start + b" HTTP/1.1\r\nHost: h\r\n\r\n")


# --- fields --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bytes_of_a_name() -> None:
    for value in range(256):
        char = bytes([value])
        for name in (char, b"X" + char, char + b"X"):
            outcome = play_all_ways(get(name + b": v"))
            if value in TCHARS:
                assert outcome.messages[0].fields[1] == (name.decode(), "v")
            elif name == b"X:":
                assert outcome.messages[0].fields[1] == ("X", ": v")
            else:
                assert outcome.ending == "400", name


@pytest.mark.slow
def test_bytes_of_a_value() -> None:
    for value in range(256):
        char = bytes([value])
        for text in (char, b"v" + char, char + b"v"):
            outcome = play_all_ways(get(b"X:" + text))
            if value == ord("\t") or (value >= 0x20 and value != 0x7F):
                expected = text.strip(b" \t").decode("latin-1")
                assert outcome.messages[0].fields == (("Host", "a"), ("X", expected))
            else:
                assert outcome.ending == "400", text


FIELDS = {
    "no colon": b"X",
    "no name": b": v",
    "space before the colon": b"X : v",
    "tab before the colon": b"X\t: v",
    "space before the name": b" X: v",
    "a folded line": b"X: v\r\n w",
    "a line folded by a tab": b"X: v\r\n\tw",
    "a folded line without text": b"X: v\r\n ",
    "a folded empty value": b"X:\r\n v",
    "NUL in the name": b"X\0: v",
    "NUL in the value": b"X: v\0",
    "NUL alone": b"\0",
    "a space in the name": b"X Y: v",
    "a name in quotes": b'"X": v',
    "a name in brackets": b"[X]: v",
    "a name with a slash": b"X/Y: v",
    "a name in Latin-1": b"\xe4: v",
    "a name in UTF-8": b"\xc5\xbf: v",
    "a no-break space behind the name": b"X\xa0: v",
    "a second request line": b"GET /x HTTP/1.1",
}


@pytest.mark.parametrize("line", FIELDS.values(), ids=FIELDS)
def test_malformed_fields(line: bytes) -> None:
    expect_refusal(400, get(line))
    expect_refusal(400, b"GET / HTTP/1.1\r\n" + line + b"\r\nHost: a\r\n\r\n")


def test_a_folded_first_line_is_refused() -> None:
    expect_refusal(400, b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n")
    expect_refusal(400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n")


def test_white_space_around_values_is_removed() -> None:
    lines = (b"A:v", b"B: v", b"C:\t v \t", b"D:", b"E: \t ", b"F:  a\tb  c ")
    message = expect_request(get(*lines))
    values = ["v", "v", "v", "", "", "a\tb  c"]
    assert message.fields == (("Host", "a"), *zip("ABCDEF", values, strict=True))


def test_only_space_and_tab_are_white_space() -> None:
    message = expect_request(get(b"X:\x85\xa0v\xa0\x85"))
    assert message.fields[1] == ("X", "\x85\xa0v\xa0\x85")


def test_fields_are_looked_up_whole_and_in_any_case() -> None:
    parser = RequestParser(LIMITS)
    parser.feed(get(b"X-A: 1", b"x-a:2", b"XX-A: 3", b"Y: X-A: 4", b"X-B:5"))
    request = parser.next_request()
    assert request is not None
    assert request.headers.get_all("x-A") == ["1", "2"]
    assert request.headers.get("X-a") == "1, 2"
    assert request.headers.get("A") == ""
    assert request.headers.get("X") == ""
    assert "x-b" in request.headers


# --- Host ----------------------------------------------------------------------------------------


HOSTS = [
    *b"a a.b A.B. a:80 a: a:0 a:65535 127.0.0.1 127.0.0.1:4221 localhost:00080 a_b a-b ~".split(),
    *b"[::] [1:2:3:4:5:6:7:8] [1::8] [1:2:3:4:5:6:7::] [::FFFF] [1:2:3:4:5:6:1.2.3.4]".split(),
    *b"[v1.x] [vF.a] [::1] [::1]: [::1]:80 [fe80::1:2] [::ffff:1.2.3.4] [v1.a:b]".split(),
    *b"%41 a%2fb !$&'()*+,;=".split(),
    *(b"", b":", b":80", b"xn--bcher-kva.example"),
]


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_valid_hosts(host: bytes, version: bytes) -> None:
    for spaces in (b"", b" ", b"\t "):
        line = b"Host:" + spaces + host + spaces
        message = expect_request(b"GET / %b\r\n%b\r\n\r\n" % (version, line))
        assert message.host == host.decode()


BAD_HOSTS = [
    *b"a/b a/ / http://a a? a# u@a u:p@a a\\b a:b a:80:80 a:-1 a:+1 a:65536 a:000080".split(),
    *b"a:8_0 ::1 [::1 ::1] [] [g] [::1]a [::1%25eth0] [v1] [v1.] [[::1]] a[b] % %4 %zz %:1".split(),
    *b'a% a%4 a%:80 "a" <a> {a} a|b ^ `a` a"'.split(),
    *b"[1::2::3] [:::] [1.2.3.4] [.] [12345::] [:] [::1.2.3] [::1.2.3.256] [1:2:3:4:5:6:7]".split(),
    *b"[1:2:3:4:5:6:7:8:9] [::01.2.3.4] [::1.2.3.4:5] [1.2.3.4::] [:1:2::] [1::2:]".split(),
    *b"[1:2:3:4:5:6:7:8::] [::1]:99999 [1::2::3]:80 [fe80::1%251] [fe80::1%1] [v.x] [vg.x]".split(),
    *(b"a b", b"a\tb", b"a: 80", b"a :80", b"[a b]", b"a:\xb2", "a:٨".encode()),
    *(b"a\x85", b"\xa0", b"\xe4", b"\xa0a", "\u212a".encode()),
]


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_invalid_hosts_in_any_version(host: bytes, version: bytes) -> None:
    expect_refusal(400, b"GET / %b\r\nHost: %b\r\n\r\n" % (version, host))
    expect_refusal(400, b"GET http://a/ %b\r\nHost: %b\r\n\r\n" % (version, host))
    if b"/" not in host and b"?" not in host:
        expect_refusal(400, b"GET http://%b/ %b\r\nHost: a\r\n\r\n" % (host, version))


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize("second", [b"Host: a", b"HOST: b", b"host:", b"hOsT:a", b"Host: a b"])
def test_two_hosts_in_any_version(second: bytes, version: bytes) -> None:
    expect_refusal(400, get(second, version=version))
    expect_refusal(400, get(b"X: y", second, version=version))
    expect_refusal(400, get(second, target=b"http://b/", version=version))


def test_a_host_is_required_in_1_1_only() -> None:
    assert expect_request(b"GET / HTTP/1.0\r\n\r\n").host == ""
    for version in (b"HTTP/1.1", b"HTTP/1.2", b"HTTP/1.9"):
        for target in (b"/", b"http://a/"):
            expect_refusal(400, b"GET %b %b\r\n\r\n" % (target, version))
            expect_refusal(400, b"GET %b %b\r\nX-Host: a\r\nHosts: a\r\n\r\n" % (target, version))


def test_an_absolute_target_wins_over_an_empty_host() -> None:
    message = expect_request(b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n")
    assert message.host == "a"
    assert expect_request(b"GET http://a/ HTTP/1.0\r\n\r\n").host == "a"


# --- Content-Length ------------------------------------------------------------------------------


LENGTHS = {
    "plain": b"Content-Length: 5",
    "in small letters": b"content-length: 5",
    "in capitals": b"CONTENT-LENGTH: 5",
    "no space": b"Content-Length:5",
    "white space around": b"Content-Length: \t 5 \t",
    "zeros before": b"Content-Length: 0005",
    "19 digits": b"Content-Length: 0000000000000000005",
}


@pytest.mark.parametrize("line", LENGTHS.values(), ids=LENGTHS)
def test_lengths(line: bytes) -> None:
    message = expect_request(post(line, body=b"12345"))
    assert only_framing(message) == ("POST", "/p", 5, b"12345")


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.5"])
def test_any_method_may_have_a_body(version: bytes) -> None:
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"):
        data = b"%b / %b\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" % (method, version)
        assert expect_request(data).body == b"hi"


def test_without_a_length_there_is_no_body() -> None:
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        for lines in ([], [b"Content-Length: 0"], [b"Content-Length: 000"]):
            message = expect_request(post(*lines, version=version))
            assert only_framing(message) == ("POST", "/p", 0, b"")


def test_a_body_is_no_head() -> None:
    body = b"\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\0\n\xff"
    message = expect_request(post(b"Content-Length: %d" % len(body), body=body))
    assert message.body == body


def test_an_incomplete_body_waits_for_more() -> None:
    outcome = expect_outcome(post(b"Content-Length: 5", body=b"1234"))
    assert (outcome.ending, outcome.bodies) == (IN_BODY, [b"1234"])


BAD_LENGTHS = [
    *b"+5 -5 -0 +0 5_0 _5 5_ 5,5 5, ,5 5;5 5; 0x5 5h 5.0 5e0 1e1 .5 5. five NaN None %35".split(),
    *b"'5' (5) 5# 5% 0b101 0o5 05L 0x 5/5 5:5 =5 5=".split(),
    *(b"", b" ", b'"5"', b"5 0", b"5\t0", b"5, 5", b"5 ;", b"5 , 5", b"5\0", b"\0005"),
    *(b"0" * 19 + b"5", b"9" * 20, b"1" * 4301),  # int() gives up above 4,300 digits
    *(b"\xb2", b"\xb3", b"\xb9", b"\xbd", b"5\xb2"),  # str.isdigit knows the first three
    *("\u0665", "\uff15", "\u0967", "\xb2", "5\u200b", "\ufeff5", "\u2165"),
    *(f"5{space}".encode("latin-1") for space in STRIPPED_BY_STR),
    *(f"{space}5".encode("latin-1") for space in STRIPPED_BY_STR),
    *(f"5{space}" for space in STRIPPED_BY_STR),
    *(f"{space}5" for space in STRIPPED_BY_STR),
]


@pytest.mark.parametrize("value", BAD_LENGTHS)
def test_a_length_is_ascii_digits(value: bytes | str) -> None:
    raw = value if isinstance(value, bytes) else value.encode()
    expect_refusal(400, post(b"Content-Length: " + raw, body=b"12345"))


TWO_LENGTHS = {
    "the same twice": (b"Content-Length: 5", b"Content-Length: 5"),
    "two different ones": (b"Content-Length: 5", b"Content-Length: 6"),
    "in other letters": (b"Content-Length: 5", b"content-length: 5"),
    "far apart": (b"Content-Length: 5", b"X: y", b"Y: z", b"CONTENT-LENGTH: 5"),
    "one of them empty": (b"Content-Length: 5", b"Content-Length:"),
    "an empty one first": (b"Content-Length:", b"Content-Length: 5"),
    "zero and more": (b"Content-Length: 0", b"Content-Length: 5"),
    "more and zero": (b"Content-Length: 5", b"Content-Length: 0"),
    "spelled otherwise": (b"Content-Length: 5", b"Content-Length: 05"),
}


@pytest.mark.parametrize("lines", TWO_LENGTHS.values(), ids=TWO_LENGTHS)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_two_lengths(lines: tuple[bytes, ...], version: bytes) -> None:
    expect_refusal(400, post(*lines, body=b"12345", version=version))


def test_names_like_content_length_are_other_fields() -> None:
    names = (b"Content-Length-X", b"X-Content-Length", b"Content_Length", b"ContentLength")
    lines = [name + b": 5" for name in names]
    message = expect_request(post(*lines, b"X: Content-Length: 5"))
    assert message.length == 0


# --- Transfer-Encoding ---------------------------------------------------------------------------


CHUNKED_BODY = b"5\r\n12345\r\n0\r\n\r\n"

CODINGS = {
    "plain": [b"Transfer-Encoding: chunked"],
    "in capitals": [b"TRANSFER-ENCODING: CHUNKED"],
    "in mixed letters": [b"tRaNsFeR-eNcOdInG: ChUnKeD"],
    "no space": [b"Transfer-Encoding:chunked"],
    "white space around": [b"Transfer-Encoding: \t chunked \t "],
}


@pytest.mark.parametrize("lines", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.2", b"HTTP/1.9"])
def test_chunked(lines: list[bytes], version: bytes) -> None:
    message = expect_request(post(*lines, body=CHUNKED_BODY, version=version))
    assert only_framing(message) == ("POST", "/p", None, b"12345")


BAD_CODINGS: dict[str, tuple[int, list[bytes]]] = {
    # RFC 9110, section 5.6.1.2, ignores empty elements of a list. But if one parser of a chain does
    # not, a request can be smuggled.
    "an empty element behind": (400, [b"chunked,"]),
    "an empty element before": (400, [b", chunked"]),
    "an empty line of the list": (400, [b"", b"chunked"]),
    "gzip before": (501, [b"gzip, chunked"]),
    "gzip before, no space": (501, [b"gzip,chunked"]),
    "gzip on a line before": (501, [b"gzip", b"chunked"]),
    "gzip with a parameter before": (501, [b"gzip;q=1, chunked"]),
    "identity before": (501, [b"identity, chunked"]),
    "something before": (501, [b"x, y, z, chunked"]),
    "gzip behind": (400, [b"chunked, gzip"]),
    "gzip on a line behind": (400, [b"chunked", b"gzip"]),
    "identity behind": (400, [b"chunked, identity"]),
    "identity on a line behind": (400, [b"chunked", b"identity"]),
    "gzip alone": (400, [b"gzip"]),
    "identity alone": (400, [b"identity"]),
    "twice": (400, [b"chunked, chunked"]),
    "twice, no space": (400, [b"chunked,chunked"]),
    "twice in other letters": (400, [b"chunked, CHUNKED"]),
    "on two lines": (400, [b"chunked", b"chunked"]),
    "twice behind gzip": (400, [b"gzip, chunked, chunked"]),
    "around gzip": (400, [b"chunked, gzip, chunked"]),
    "with a parameter": (400, [b"chunked;q=1"]),
    "with a parameter and spaces": (400, [b"chunked ; q=1"]),
    "with an empty parameter": (400, [b"chunked;"]),
    "with a parameter behind gzip": (400, [b"gzip, chunked;q=1"]),
    "empty": (400, [b""]),
    "only commas": (400, [b",, ,"]),
    "in quotes": (400, [b'"chunked"']),
    "in single quotes": (400, [b"'chunked'"]),
    "two words": (400, [b"x chunked"]),
    "two words, chunked first": (400, [b"chunked x"]),
    "chunked twice with a space": (400, [b"chunked chunked"]),
    "a letter before": (400, [b"xchunked"]),
    "a letter behind": (400, [b"chunkedx"]),
    "a colon before": (400, [b": chunked"]),
    "an equals sign": (400, [b"=chunked"]),
    "a letter missing": (400, [b"chunke"]),
    "cut in two": (400, [b"chu nked"]),
    "an encoded word": (400, [b"=?UTF-8?Q?chunked?="]),
    "a semicolon for the comma": (400, [b"gzip; chunked"]),
    "a long s in UTF-8": (400, [b"chunked\xc5\xbf"]),
    "a Kelvin sign for the k": (400, ["chun\u212aed".encode()]),
    "a soft hyphen": (400, [b"chun\xadked"]),
}


@pytest.mark.parametrize("case", BAD_CODINGS.values(), ids=BAD_CODINGS)
def test_codings_other_than_chunked_alone(case: tuple[int, list[bytes]]) -> None:
    status, values = case
    lines = [b"Transfer-Encoding: " + value for value in values]
    expect_refusal(status, post(*lines, body=CHUNKED_BODY))


@pytest.mark.parametrize("space", STRIPPED_BY_STR)
def test_no_other_white_space_around_chunked(space: str) -> None:
    for encoding in ("latin-1", "utf-8"):
        raw = space.encode(encoding)
        for value in (raw + b"chunked", b"chunked" + raw, b"," + raw + b"chunked"):
            # A byte that is allowed is part of another coding's name, which may not come last.
            expect_refusal(400, post(b"Transfer-Encoding: " + value, body=CHUNKED_BODY))


@pytest.mark.parametrize("value", [b"chunked", b"gzip, chunked", b"identity", b""])
def test_http_1_0_has_no_transfer_encoding(value: bytes) -> None:
    line = b"Transfer-Encoding: " + value
    keep = b"Connection: keep-alive"
    expect_refusal(400, post(line, body=CHUNKED_BODY, version=b"HTTP/1.0"))
    expect_refusal(400, post(line, keep, body=CHUNKED_BODY, version=b"HTTP/1.0"))


@pytest.mark.slow
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2"])
@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity", b"x", b"", b","])
@pytest.mark.parametrize("length", [b"0", b"5", b"15", b"", b"x"])
def test_length_and_coding_together(length: bytes, coding: bytes, version: bytes) -> None:
    lines = [b"Content-Length: " + length, b"Transfer-Encoding: " + coding]
    expect_refusal(400, post(*lines, body=CHUNKED_BODY, version=version))
    expect_refusal(400, post(*lines[::-1], body=CHUNKED_BODY, version=version))


# Ways to hide a Transfer-Encoding from one of two readers. All of them are not chunked; a
# field of another name is another field, and what cannot be a field is refused.
DISGUISES: dict[str, tuple[int, bytes]] = {
    "space before the colon": (400, b"Transfer-Encoding : chunked"),
    "tab before the colon": (400, b"Transfer-Encoding\t: chunked"),
    "space before the name": (400, b" Transfer-Encoding: chunked"),
    "tab before the name": (400, b"\tTransfer-Encoding: chunked"),
    "folded behind the colon": (400, b"Transfer-Encoding:\r\n chunked"),
    "folded in the value": (400, b"Transfer-Encoding: chun\r\n ked"),
    "folded as a continuation": (400, b"X: y\r\n Transfer-Encoding: chunked"),
    "behind CR": (400, b"X: y\rTransfer-Encoding: chunked"),
    "behind LF": (400, b"X: y\nTransfer-Encoding: chunked"),
    "behind NUL": (400, b"X: y\0Transfer-Encoding: chunked"),
    "NUL behind the name": (400, b"Transfer-Encoding\0: chunked"),
    "NUL before the value": (400, b"Transfer-Encoding:\0chunked"),
    "NUL behind the value": (400, b"Transfer-Encoding: chunked\0"),
    "backspace": (400, b"Transfer-Encoding: chunkedd\b"),
    "VT before the value": (400, b"Transfer-Encoding:\x0bchunked"),
    "VT behind the value": (400, b"Transfer-Encoding: chunked\x0b"),
    "CR behind the value": (400, b"Transfer-Encoding: chunked\r"),
    "no-break space in the name": (400, b"Transfer-Encoding\xa0: chunked"),
    "no colon": (400, b"Transfer-Encoding chunked"),
    "an equals sign for the colon": (400, b"Transfer-Encoding= chunked"),
    "name in quotes": (400, b'"Transfer-Encoding": chunked'),
    "two names": (400, b"X Transfer-Encoding: chunked"),
    "underscore": (0, b"Transfer_Encoding: chunked"),
    "no hyphen": (0, b"TransferEncoding: chunked"),
    "a letter more": (0, b"Transfer-Encodings: chunked"),
    "a letter less": (0, b"ransfer-Encoding: chunked"),
    "in a value": (0, b"X: Transfer-Encoding: chunked"),
    "in a value behind blanks": (0, b"X:\t Transfer-Encoding: chunked"),
    "TE": (0, b"TE: chunked"),
    "Content-Encoding": (0, b"Content-Encoding: chunked"),
    "named by Connection": (0, b"Connection: Transfer-Encoding"),
}


@pytest.mark.parametrize("case", DISGUISES.values(), ids=DISGUISES)
def test_disguises_of_transfer_encoding(case: tuple[int, bytes]) -> None:
    status, line = case
    for lines in ((line,), (line, b"Content-Length: 4"), (b"Content-Length: 4", line)):
        data = post(*lines, body=b"0\r\n\r" if len(lines) > 1 else b"")
        if status:
            expect_refusal(status, data)
        else:
            assert expect_request(data).length == (4 if len(lines) > 1 else 0)


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLING = {
    "CL.TE": post(b"Content-Length: 38", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),
    "TE.CL": post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"22\r\n" + HIDDEN),
    "CL.CL": post(b"Content-Length: 0", b"Content-Length: 33", body=HIDDEN),
    "CL in a list": post(b"Content-Length: 0, 33", body=HIDDEN),
    "TE.TE": post(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", body=b"0\r\n\r\n" + HIDDEN
    ),
    "CL.0": post(b"Content-Length: 33", body=HIDDEN),
    "CL.0 with GET": get(b"Content-Length: 33") + HIDDEN,
    "TE in 1.0": post(
        b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN, version=b"HTTP/1.0"
    ),
    "a chunk's size is cut": post(
        b"Transfer-Encoding: chunked", body=b"10000000000000000\r\n\r\n0\r\n\r\n" + HIDDEN
    ),
    "a chunk's size with 0x": post(
        b"Transfer-Encoding: chunked", body=b"0x21\r\n" + HIDDEN + b"\r\n0\r\n\r\n"
    ),
    "LF in an extension": post(
        b"Transfer-Encoding: chunked", body=b"21;\n" + HIDDEN + b"\r\n0\r\n\r\n"
    ),
    "LF behind an extension": post(
        b"Transfer-Encoding: chunked", body=b"2;a\nxx\r\n21\r\n" + HIDDEN + b"\r\n0\r\n\r\n"
    ),
    "two bytes behind a chunk": post(
        b"Transfer-Encoding: chunked", body=b"1\r\naXX0\r\n\r\n" + HIDDEN
    ),
    "a bare LF behind a chunk": post(
        b"Transfer-Encoding: chunked", body=b"1\r\na\n0\r\n\r\n" + HIDDEN
    ),
    "a longer chunk": post(b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n" + HIDDEN),
    "a length in the trailers": post(
        b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 33\r\n\r\n"
    ),
    "a request in the trailers": post(b"Transfer-Encoding: chunked", body=b"0\r\n" + HIDDEN),
    "an upgrade to h2c": get(
        b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"Content-Length: 33"
    )
    + HIDDEN,
    "100-continue": post(b"Expect: 100-continue", b"Content-Length: 33", body=HIDDEN),
    "an expectation that is not met": post(b"Expect: x", b"Content-Length: 33", body=HIDDEN),
    "a method that is not known": b"X" + post(b"Content-Length: 33", body=HIDDEN),
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_no_hidden_request_is_ever_served(data: bytes) -> None:
    assert len(HIDDEN) == 33
    assert "/hidden" not in expect_outcome(data).targets


# --- Connection and Expect -----------------------------------------------------------------------


KEEPING: dict[str, tuple[list[bytes], bool, bool]] = {  # lines, kept in 1.0, kept in 1.1
    "nothing": ([], False, True),
    "close": ([b"Connection: close"], False, False),
    "keep-alive": ([b"Connection: keep-alive"], True, True),
    "close in capitals": ([b"CONNECTION: CLOSE"], False, False),
    "keep-alive in mixed letters": ([b"cOnNection: Keep-Alive"], True, True),
    "close among others": ([b"Connection: x, close ,y"], False, False),
    "close without spaces": ([b"Connection:x,close,y"], False, False),
    "close behind a tab": ([b"Connection: x,\tclose\t"], False, False),
    "close wins": ([b"Connection: keep-alive, close"], False, False),
    "close wins in front": ([b"Connection: close, keep-alive"], False, False),
    "on two lines": ([b"Connection: x", b"Connection: close"], False, False),
    "close wins on two lines": ([b"Connection: close", b"Connection: keep-alive"], False, False),
    "keep-alive on two lines": ([b"Connection: x", b"Connection: keep-alive"], True, True),
    "empty elements": ([b"Connection: ,, close,"], False, False),
    "empty": ([b"Connection:"], False, True),
    "only part of a token": ([b"Connection: closed, xclose, clo se, keep-aliv"], False, True),
    "in quotes": ([b'Connection: "close", "keep-alive"'], False, True),
    "with a parameter": ([b"Connection: close;x, keep-alive=1"], False, True),
    "other white space": ([b"Connection: close\xa0, \x85keep-alive"], False, True),
    "another field": ([b"Keep-Alive: timeout=5", b"Proxy-Connection: close"], False, True),
    "upgrade": ([b"Connection: Upgrade", b"Upgrade: websocket"], False, True),
}


@pytest.mark.parametrize("case", KEEPING.values(), ids=KEEPING)
def test_keep_alive(case: tuple[list[bytes], bool, bool]) -> None:
    lines, old, new = case
    assert expect_request(get(*lines, version=b"HTTP/1.0")).keep_alive is old
    assert expect_request(get(*lines, version=b"HTTP/1.1")).keep_alive is new
    assert expect_request(get(*lines, version=b"HTTP/1.7")).keep_alive is new


@pytest.mark.parametrize(
    "value",
    [
        *(b"100-continue", b"100-Continue", b"100-CONTINUE", b"\t100-continue "),
        *(
            b",100-continue",
            b"100-continue,",
            b" ,\t, 100-continue , ,",
            b"100-continue,100-continue",
        ),
    ],
)
def test_expect_continue(value: bytes) -> None:
    lines = (b"Expect:" + value, b"Content-Length: 2")
    assert expect_request(post(*lines, body=b"hi")).expects_continue
    assert not expect_request(post(*lines, body=b"hi", version=b"HTTP/1.0")).expects_continue
    assert not expect_request(post(b"Content-Length: 2", body=b"hi")).expects_continue


@pytest.mark.parametrize("value", [b"", b" ", b",", b" , ,\t"])
def test_empty_members_are_no_expectation(value: bytes) -> None:
    lines = (b"Expect:" + value, b"Content-Length: 2")
    assert not expect_request(post(*lines, body=b"hi")).expects_continue
    assert expect_request(post(b"Expect: 100-continue", *lines, body=b"hi")).expects_continue
    assert expect_request(post(*lines, b"Expect: 100-continue", body=b"hi")).expects_continue
    expect_refusal(417, post(b"Expect: x", *lines, body=b"hi"))


EXPECTATIONS = [
    b"200-ok",
    b"100",
    b"100-continu",
    b"100-continue;x",
    b"100-continue=x",
    b"x,",
    b"x",
]
EXPECTATIONS += [b"100-continue, x", b"x, 100-continue", b'"100-continue"', b"100-continue\xa0"]


@pytest.mark.parametrize("value", EXPECTATIONS)
def test_other_expectations_fail(value: bytes) -> None:
    lines = (b"Expect: " + value, b"Content-Length: 2")
    expect_refusal(417, post(*lines, body=b"hi"))
    expect_refusal(417, post(b"Expect: 100-continue", *lines, body=b"hi"))


# --- limits --------------------------------------------------------------------------------------


def test_default_limits() -> None:
    assert LIMITS.request_line_bytes == 8 * 1024
    assert LIMITS.head_bytes == 32 * 1024
    assert LIMITS.head_fields == 100
    assert LIMITS.upload_bytes == GIB


SMALL = Limits(request_line_bytes=40, head_bytes=100, head_fields=5, upload_bytes=20)


def line_of(size: int, start: bytes = b"GET /", end: bytes = b" HTTP/1.1") -> bytes:
    """A request line of `size` bytes, its CRLF not counted."""
    return start + b"x" * (size - len(start) - len(end)) + end


def head_of(size: int) -> bytes:
    """A head of `size` bytes, its empty line counted."""
    start, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
def test_the_longest_request_line(limits: Limits) -> None:
    most = limits.request_line_bytes
    for size, taken in ((most - 1, True), (most, True), (most + 1, False), (most + 2, False)):
        for start in (b"GET /", b"OPTIONS http://a/?") if limits is SMALL else (b"GET /",):
            data = line_of(size, start) + b"\r\nHost: a\r\n\r\n"
            if taken:
                message = expect_request(data, limits, [size])
                assert len(message.target) == size - len(start.split()[0]) - 10
            else:
                expect_refusal(414, data, limits, [size])


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
def test_the_largest_head(limits: Limits) -> None:
    most = limits.head_bytes
    for size in (most - 1, most):
        data = head_of(size)
        assert len(data) == size
        expect_request(data, limits, [size])
    for size in (most + 1, most + 2):
        expect_refusal(431, head_of(size), limits, [size])


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
def test_empty_lines_do_not_count_for_a_head(limits: Limits) -> None:
    before = b"\r\n" * EMPTY_LINES
    expect_request(before + head_of(limits.head_bytes), limits, [limits.head_bytes])
    expect_refusal(431, before + head_of(limits.head_bytes + 1), limits, [limits.head_bytes])
    line = before + line_of(limits.request_line_bytes)
    expect_request(line + b"\r\nHost: a\r\n\r\n", limits, [len(line)])


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
def test_the_most_fields(limits: Limits) -> None:
    most = limits.head_fields
    for count in (most - 1, most):
        message = expect_request(get(*[b"X:"] * (count - 1)), limits)
        assert len(message.fields) == count
    for count in (most + 1, most + 2, 3 * most):
        expect_refusal(431, get(*[b"X:"] * (count - 1)), limits)
        hosts = get(*[b"Host: a"] * (count - 1))
        assert play([hosts], limits).ending == "431"
        play_all_ways(hosts, limits, ending="refused")  # two Host fields are noticed before


def test_the_longest_body() -> None:
    body = b"x" * SMALL.upload_bytes
    data = post(b"Content-Length: 20", body=body, version=b"HTTP/1.1")
    assert expect_request(data, SMALL).body == body
    expect_refusal(413, post(b"Content-Length: 21"), SMALL)
    outcome = expect_outcome(post(b"Content-Length: %d" % GIB, body=b"hi"))
    assert (outcome.ending, outcome.messages[0].length) == (IN_BODY, GIB)
    for length in (b"%d" % (GIB + 1), b"4294967296", b"9223372036854775808", b"9" * 19):
        expect_refusal(413, post(b"Content-Length: " + length))


def test_a_line_too_long_in_a_head_too_large_is_reported_as_the_line() -> None:
    line = line_of(SMALL.request_line_bytes + 1)
    data = line + b"\r\nHost: a\r\nX: " + b"x" * SMALL.head_bytes + b"\r\n\r\n"
    expect_refusal(414, data, SMALL)


def test_the_first_of_two_faults_is_reported() -> None:
    # A head may exceed a limit and have a bare LF. Byte by byte, the first fault is found first; in
    # one piece it is the limit, because a head is parsed only if it is small enough.
    # The client did two things wrong and reads of one of them, and the connection ends.
    lf = b"GET / HTTP/1.1\nHost: a\r\nX: " + b"x" * SMALL.head_bytes + b"\r\n\r\n"
    assert play_all_ways(lf, SMALL, ending="refused").ending == "refused"
    statuses = {play([lf], SMALL).ending, play([lf[:20], lf[20:]], SMALL).ending}
    assert statuses <= {"400", "414", "431"}


# begin, the bytes that follow for ever, bytes taken
ENDLESS: dict[str, tuple[bytes, bytes, int]] = {
    "a method": (b"", b"G", 8 * 1024 + 2),
    "a target": (b"GET /", b"x", 8 * 1024 + 2),
    "a target of slashes": (b"GET ", b"/", 8 * 1024 + 2),
    "spaces": (b"GET", b" ", 8 * 1024 + 2),
    "NULs": (b"", b"\0", 8 * 1024 + 2),
    "a version": (b"GET / HTTP/1.", b"1", 8 * 1024 + 2),
    "a name": (b"GET / HTTP/1.1\r\n", b"x", 32 * 1024 + 1),
    "a value": (b"GET / HTTP/1.1\r\nX: ", b"x", 32 * 1024 + 1),
    "a value of spaces": (b"GET / HTTP/1.1\r\nX:", b" ", 32 * 1024 + 1),
    "colons": (b"GET / HTTP/1.1\r\n", b":", 32 * 1024 + 1),
    "fields": (b"GET / HTTP/1.1\r\n", b"X: y\r\n", 32 * 1024 + 1),
    "empty fields": (b"GET / HTTP/1.1\r\n", b":\r\n", 32 * 1024 + 1),
    "folded lines": (b"GET / HTTP/1.1\r\nX:", b"\r\n x", 32 * 1024 + 1),
    "digits": (b"GET / HTTP/1.1\r\nContent-Length: ", b"9", 32 * 1024 + 1),
    "empty lines": (b"", b"\r\n", 2 * EMPTY_LINES + 2),
}


@pytest.mark.parametrize("case", ENDLESS.values(), ids=ENDLESS)
def test_a_head_without_an_end_is_refused_at_its_limit(case: tuple[bytes, bytes, int]) -> None:
    start, endless, most = case
    assert bytes_until_refusal(start, endless, most) <= most


# --- streams -------------------------------------------------------------------------------------


def test_no_byte_of_an_incomplete_head_is_consumed() -> None:
    for data in (AFTER, post(b"Content-Length: 0"), b"GET / HTTP/1.0\r\n\r\n"):
        for size in range(1, len(data)):
            outcome = play([data[:size]])
            assert (outcome.ending, outcome.next_at, outcome.messages) == (IN_HEAD, 0, ())


def test_a_pipeline_of_everything() -> None:
    requests = [
        get(),
        post(b"Content-Length: 5", body=b"12345"),
        b"\r\n" + get(target=b"/2"),
        post(b"Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"),
        b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        post(b"Content-Length: 0"),
        get(target=b"http://b/3"),
    ]
    outcome = expect_outcome(b"".join(requests))
    assert outcome.targets == ["/", "/p", "/2", "/p", "/", "/p", "http://b/3"]
    assert outcome.bodies == [b"", b"12345", b"", b"abcde", b"", b"", b""]
    assert outcome.ending == IDLE


def test_an_error_leaves_the_requests_before_it_as_they_are() -> None:
    good = post(b"Content-Length: 2", body=b"hi") + get(target=b"/2")
    for _, bad in zip(range(12), LINE_ENDS.values(), strict=False):
        outcome = expect_refusal(400, good + bad)
        assert outcome.targets == ["/p", "/2"]


def test_feeding_no_bytes_has_no_effect() -> None:
    data = post(b"Transfer-Encoding: chunked", body=CHUNKED_BODY)
    pieces = [piece for at in range(len(data)) for piece in (b"", data[at : at + 1], b"")]
    assert play(pieces) == play([data])
    assert play([b""]).ending == IDLE


def test_body_complete_is_true_when_the_next_request_may_be_parsed() -> None:
    parser = RequestParser(LIMITS)
    completed = [parser.body_complete]
    parser.feed(post(b"Content-Length: 3", body=b"ab"))
    assert parser.next_request() is not None
    completed.append(parser.body_complete)
    assert [parser.next_piece(ALL), parser.next_piece(ALL)] == [b"ab", None]
    completed.append(parser.body_complete)
    parser.feed(b"c" + AFTER)
    assert parser.next_piece(ALL) == b"c"
    completed.append(parser.body_complete)
    assert completed == [True, False, False, True]
    assert parser.next_piece(ALL) == b""
    assert parser.next_request() is not None
    assert not parser.buffer


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x01 HTTP/1.1"),
        (b"\r\nGET /\xe4 HTTP/1.1\r\n\r\n", "GET /\xe4 HTTP/1.1"),
        (b"x" * 20_000, "x" * LIMITS.request_line_bytes),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1"),
        (AFTER + b"CONNECT a:1 HTTP/1.1\r\n\r\n", "CONNECT a:1 HTTP/1.1"),
    ],
)
def test_the_line_of_a_refused_request_can_be_logged(data: bytes, line: str) -> None:
    parser = RequestParser(LIMITS)
    parser.feed(data)
    with pytest.raises(ProtocolError):
        while parser.next_request() is not None:
            pass
    assert parser.request_line == line


REASONS = {
    b"GET / HTTP/1.1\nHost: a\r\n\r\n": "CR LF",
    b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n": "request line",
    b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n": "method",
    b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n": "target",
    get(b"X: y\r\n z"): "folded",
    get(b"X : y"): "before the colon",
    get(b"X"): "no colon",
    get(b"(: y"): "token",
    get(b"X: \0"): "control character",
    b"GET / HTTP/1.1\r\n\r\n": "requires a Host",
}


@pytest.mark.parametrize("data", REASONS)
def test_a_refusal_says_why(data: bytes) -> None:
    parser = RequestParser(LIMITS)
    parser.feed(data)
    with pytest.raises(ProtocolError, match=REASONS[data]) as caught:
        parser.next_request()
    assert caught.value.status == 400
    assert caught.value.reason.endswith(".")


# --- time ----------------------------------------------------------------------------------------


WIDE = Limits(request_line_bytes=1 << 24, head_bytes=1 << 24, head_fields=1 << 20)

# Texts that are hard for a pattern, by their size: right up to the end, and then wrong.
HARD: dict[str, Callable[[int], bytes]] = {
    "a method": lambda n: b"G" * n + b"\0 / HTTP/1.1\r\n\r\n",
    "a target": lambda n: b"GET /" + b"x" * n + b"\x7f HTTP/1.1\r\n\r\n",
    "spaces": lambda n: b"GET" + b" " * n + b"\r\n\r\n",
    "many words": lambda n: b"a " * n + b"\r\n\r\n",
    "many versions": lambda n: b"GET /" + b" HTTP/1.1" * n + b"\r\n\r\n",
    "a name": lambda n: get(b"x" * n),
    "colons": lambda n: get(b":" * n),
    "colons behind a name": lambda n: get(b"x" + b":" * n + b"\0"),
    "a value": lambda n: get(b"X: " + b"x" * n + b"\0"),
    "blanks": lambda n: get(b"X:" + b" \t" * n + b"\0"),
    "blanks in a length": lambda n: get(b"Content-Length:" + b" " * n + b"x"),
    "blanks behind a length": lambda n: get(b"Content-Length: 5" + b" " * n + b"x"),
    "fields": lambda n: get(*[b"X: y"] * n, b"\0"),
    "fields without a colon": lambda n: get(*[b"X"] * n),
    "a host": lambda n: get(target=b"/").replace(b"Host: a", b"Host: " + b"a" * n + b"/"),
    "a host of escapes": lambda n: get().replace(b"Host: a", b"Host: " + b"%41" * n + b"%"),
    "an address": lambda n: get().replace(b"Host: a", b"Host: [" + b":1" * n + b"g"),
    "colons in a host": lambda n: get().replace(b"Host: a", b"Host: " + b":" * n),
    "an absolute target": lambda n: get(target=b"http://" + b"a" * n + b"@"),
    "question marks": lambda n: get(b"\0", target=b"/" + b"?" * n),
    "options": lambda n: get(b"Connection: " + b"x, " * n, b"\0:"),
    "empty options": lambda n: get(b"Connection: " + b"," * n),
    "codings": lambda n: post(b"Transfer-Encoding: " + b"chunked, " * n + b"x"),
    "empty codings": lambda n: post(b"Transfer-Encoding: " + b"," * n),
    "connections": lambda n: get(*[b"Connection: x"] * n),
    "hosts": lambda n: get(*[b"XHost: x"] * n, b"\0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_a_head_takes_time_in_proportion_to_its_size(make: Callable[[int], bytes]) -> None:
    def work(size: int) -> None:
        assert play([make(size)], WIDE).ending != IN_HEAD

    assert_linear(work, 10_000)


DRIPPED = {
    "one field": b"GET / HTTP/1.1\r\nX: ",
    "one name": b"GET / HTTP/1.1\r\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("start", DRIPPED.values(), ids=DRIPPED)
def test_a_dripped_head_takes_time_in_proportion_to_its_size(start: bytes) -> None:
    def work(size: int) -> None:
        drip = (b"x" for _ in range(size))
        assert play([start, *drip]).ending == IN_HEAD

    assert_linear(work, 8_000)


def test_a_dripped_target_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        assert play([b"GET /", *(b"x" for _ in range(size))]).ending == IN_HEAD

    assert_linear(work, 2_000)


def test_a_dripped_body_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        head = post(b"Content-Length: %d" % size)
        assert play([head, *(b"x" for _ in range(size))]).ending == IDLE

    assert_linear(work, 4_000)


def test_a_large_body_pulled_by_the_byte_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        parser = RequestParser(LIMITS)
        parser.feed(post(b"Content-Length: %d" % size, body=b"x" * size))
        assert parser.next_request() is not None
        while parser.next_piece(1):
            pass
        assert parser.body_complete

    assert_linear(work, 10_000)


def test_a_pipeline_takes_time_in_proportion_to_its_size() -> None:
    def work(size: int) -> None:
        parser = RequestParser(LIMITS)
        parser.feed(AFTER * size)
        count = 0
        while parser.next_request() is not None:
            count += 1
        assert count == size

    assert_linear(work, 1_000)
