"""Our parser beside two others: requests are generated, damaged, and read by all three.

For each stream the question is whether the first message is accepted, and if so what it is: method,
target, body, and where the next one begins. Two readers that disagree are a way to smuggle a
request, so every disagreement must have a reason with a name: a rule that one of them does not
have, which the bytes alone show to be at work. A disagreement without one fails.

Where both accept a message they must agree about all of it; there is one reason not to.
"""

import os
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import h11
import httptools
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reactor import Limits
from reactor.errors import ProtocolError
from reactor.protocol.grammar import METHODS
from reactor.protocol.request_parser import RequestParser
from tests.support.parser_feeder import LIMITS, play, play_all_ways

EXAMPLES: Final = int(os.environ.get("REACTOR_EXAMPLES", "400"))
PROFILE: Final = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@dataclass(frozen=True)
class Reading:
    """The first message of a stream, as one parser reads it."""

    verdict: str  # accept, refuse, or more: it would wait for more bytes
    method: str = ""
    target: str = ""
    body: bytes = b""
    next_at: int = 0  # where the next message begins


REFUSE: Final = Reading("refuse")
MORE: Final = Reading("more")


def read_ours(data: bytes, limits: Limits = LIMITS) -> Reading:
    parser = RequestParser(limits)
    parser.feed(data)
    body = b""
    try:
        request = parser.next_request()
        if request is None:
            return MORE
        while piece := parser.next_piece(1 << 20):
            body += piece
    except ProtocolError:
        return REFUSE
    if piece is None:
        return MORE
    unused = len(parser.buffer) - parser._position
    return Reading("accept", request.method, request.target, body, len(data) - unused)


def read_h11(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    body = b""
    try:
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            return MORE
        request = event
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return REFUSE
    if not isinstance(event, h11.EndOfMessage):
        return MORE
    next_at = len(data) - len(connection.trailing_data[0])
    return Reading("accept", request.method.decode(), request.target.decode(), body, next_at)


class _Listener:
    """The first message, as httptools reads it."""

    def __init__(self) -> None:
        self.target = b""
        self.body = b""
        self.method = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self.target += url

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def read_httptools(data: bytes) -> Reading:
    listener = _Listener()
    parser = httptools.HttpRequestParser(listener)
    for at in range(len(data)):  # it reports when a message ends, but not where
        try:
            parser.feed_data(data[at : at + 1])
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            if not listener.complete:
                return REFUSE
        if listener.complete:
            method = parser.get_method().decode()
            return Reading("accept", method, listener.target.decode(), listener.body, at + 1)
    return MORE


# --- why two of them may disagree ----------------------------------------------------------------
#
# A reason looks at the bytes alone, and reads them as the most lenient reader would. It holds for a
# stream when a rule is at work in it that one of the two readers does not have.


def parts_of(data: bytes) -> tuple[bytes, bytes]:
    """The first message's head without empty lines before it, and all that follows."""
    data = data.lstrip(b"\r\n")
    end = re.search(rb"\r?\n\r?\n", data)
    return (data, b"") if end is None else (data[: end.start()], data[end.end() :])


def words_of(data: bytes) -> list[bytes]:
    """Method, target and version; more or fewer where the request line is malformed."""
    head, _ = parts_of(data)
    return re.split(rb"\r?\n", head, maxsplit=1)[0].split(b" ")


def target_of(data: bytes) -> bytes:
    return words_of(data)[1] if len(words_of(data)) > 1 else b""


def values_of(data: bytes, name: bytes) -> list[bytes]:
    """The values of a field, its name in any case."""
    head, _ = parts_of(data)
    found = re.findall(rb"\n" + name + rb":([^\n]*)", head, re.I)
    return [value.strip(b" \t\r") for value in found]


def is_http_1_0(data: bytes) -> bool:
    return words_of(data)[-1] == b"HTTP/1.0"


def chunk_lines_of(data: bytes) -> list[bytes]:
    """Texts for the first line of a chunk: hexadecimal digits and white space or an extension."""
    if not values_of(data, b"transfer-encoding"):
        return []
    return re.findall(rb"(?:^|\n)([0-9A-Fa-f]+(?:[ \t;][^\n]*)?)", parts_of(data)[1])


def bare_line_end(data: bytes) -> bool:
    """CRLF alone ends a line for us; h11 takes LF, in heads and in trailers."""
    rest = parts_of(data)[1]
    text = data if values_of(data, b"transfer-encoding") else data[: len(data) - len(rest)]
    return re.search(rb"(?<!\r)\n|\r(?!\n)", text) is not None


def empty_lines_before(data: bytes) -> bool:
    """We skip a few, h11 none, httptools any number, and lone CRs and LFs as well."""
    return data.startswith((b"\r", b"\n"))


def connect(data: bytes) -> bool:
    """CONNECT is for proxies alone, and 501 here."""
    return words_of(data)[0] == b"CONNECT"


def other_method(data: bytes) -> bool:
    """httptools knows a list of methods, and we leave them to the handler."""
    return words_of(data)[0].decode("latin-1") not in {*METHODS} - {"CONNECT"}


def bad_host(host: bytes) -> bool:
    match = re.fullmatch(
        rb"(\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+\]"
        rb"|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::([0-9]{0,5}))?",
        host,
        re.A,
    )
    return match is None or int(match[2] or 0) > 65535


def bad_hosts(data: bytes) -> bool:
    """One valid Host, in 1.1 at least; h11 only counts them, httptools does not look."""
    hosts = values_of(data, b"host")
    if not hosts and not is_http_1_0(data):
        return True
    return len(hosts) > 1 or any(map(bad_host, hosts))


def bad_target(data: bytes) -> bool:
    """A path, an http URI with a valid host, or `*` with OPTIONS: the others check less of it."""
    target = target_of(data)
    if re.search(rb"[^!-~]|#", target):
        return True
    if target == b"*":
        return words_of(data)[0] != b"OPTIONS"
    uri = re.match(rb"https?://([^/?]*)", target, re.I)
    return not target.startswith(b"/") and (
        uri is None or uri[1].partition(b":")[0] == b"" or bad_host(uri[1])
    )


def odd_request_line(data: bytes) -> bool:
    """httptools skips spaces before the target, and takes a request line without a version."""
    return len(words_of(data)) != 3


def other_version(data: bytes) -> bool:
    """HTTP/1.2 to 1.9 are 1.1 to us, other majors are 505; h11 takes any digits, httptools four."""
    return re.fullmatch(rb"HTTP/1\.[01]", words_of(data)[-1]) is None


def length_and_coding(data: bytes) -> bool:
    """Both together are refused here; h11 reads the coding."""
    return bool(values_of(data, b"content-length") and values_of(data, b"transfer-encoding"))


def coding_in_1_0(data: bytes) -> bool:
    """HTTP/1.0 has no Transfer-Encoding; the others read it."""
    return bool(values_of(data, b"transfer-encoding")) and is_http_1_0(data)


def length_is_a_list(data: bytes) -> bool:
    """h11 takes two equal lengths, on two lines or in a list, for one."""
    lengths = values_of(data, b"content-length")
    return len(lengths) > 1 or any(b"," in value for value in lengths)


def codings_of(data: bytes) -> list[bytes]:
    lines = values_of(data, b"transfer-encoding")
    return [coding.strip(b" \t") for line in lines for coding in line.split(b",")]


def coding_with_another(data: bytes) -> bool:
    """We send 501 when chunked comes last, else 400; httptools reads the last as chunked."""
    return len(codings_of(data)) > 1


def other_expectation(data: bytes) -> bool:
    """We send 417; the others leave it to the server."""
    return any(value.lower() != b"100-continue" for value in values_of(data, b"expect"))


def many_digits(data: bytes) -> bool:
    """19 for a length and 16 for a chunk; h11 takes 20 for both, httptools any number of zeros."""
    if any(len(value) > 19 for value in values_of(data, b"content-length")):
        return True
    return any(re.match(rb"[0-9A-Fa-f]{17}", line) for line in chunk_lines_of(data))


def odd_chunk_line(data: bytes) -> bool:
    """We check extensions and allow white space before their `;` (RFC 9112, 7.1.1); h11 allows it
    behind everything and takes any text for an extension, httptools has rules of its own.
    """
    return any(re.search(rb"[ \t;]", line) for line in chunk_lines_of(data))


def framing_field_in_the_trailers(data: bytes) -> bool:
    """We drop trailers of all names; httptools reads them as it reads a head's fields."""
    names = rb"\n(content-length|transfer-encoding|connection|upgrade)[ \t]*:"
    return re.search(names, parts_of(data)[1], re.I) is not None


def folded_field(data: bytes) -> bool:
    """h11 unfolds lines, in heads and in trailers."""
    return re.search(rb"\n[ \t]", data) is not None


def control_character(data: bytes) -> bool:
    """h11 allows control characters in values (not NUL, nor what `\\s` is)."""
    return re.search(rb"[\x01-\x08\x0e-\x1f\x7f]", data) is not None


def tab_behind_a_coding(data: bytes) -> bool:
    """White space behind a value is not its own; httptools takes a tab behind chunked for it."""
    return re.search(rb"\ntransfer-encoding:[^\n]*\t", data, re.I) is not None


def upgrade_with_a_body(data: bytes) -> bool:
    """httptools takes all bytes behind an Upgrade field for the other protocol, even a body."""
    framing = values_of(data, b"content-length") + values_of(data, b"transfer-encoding")
    return bool(values_of(data, b"upgrade") and framing)


Reason = Callable[[bytes], bool]

WE_REFUSE: Final[dict[str, list[Reason]]] = {
    "h11": [
        *(bare_line_end, connect, bad_hosts, bad_target, other_version, length_and_coding),
        *(coding_in_1_0, length_is_a_list, other_expectation, many_digits, odd_chunk_line),
        *(folded_field, control_character),
    ],
    "httptools": [
        *(empty_lines_before, bad_hosts, bad_target, other_version, coding_in_1_0),
        *(odd_request_line, coding_with_another, other_expectation, many_digits, odd_chunk_line),
    ],
}
THEY_REFUSE: Final[dict[str, list[Reason]]] = {
    "h11": [
        *(empty_lines_before, odd_chunk_line),
        framing_field_in_the_trailers,
    ],
    "httptools": [
        *(other_version, other_method, odd_chunk_line),
        *(framing_field_in_the_trailers, tab_behind_a_coding),
    ],
}
READ_OTHERWISE: Final[dict[str, list[Reason]]] = {"h11": [], "httptools": [upgrade_with_a_body]}
READERS: Final[dict[str, Callable[[bytes], Reading]]] = {
    "h11": read_h11,
    "httptools": read_httptools,
}


def check_against(name: str, data: bytes) -> None:
    """Ours and theirs agree about the first message of `data`, or there is a reason."""
    ours, theirs = read_ours(data), READERS[name](data)
    we_accept, they_accept = ours.verdict == "accept", theirs.verdict == "accept"
    if ours == theirs or not (we_accept or they_accept):
        return  # one may refuse now what the other refuses later
    table = READ_OTHERWISE if they_accept else THEY_REFUSE
    reasons = (table if we_accept else WE_REFUSE)[name]
    assert any(reason(data) for reason in reasons), (ours, theirs, data)


# --- streams -------------------------------------------------------------------------------------


NEXT: Final = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
TCHARS: Final = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"

tokens = st.text(TCHARS, min_size=1, max_size=8).map(str.encode)
paths = st.text("abc/%2e?=&;:@~!$'()*+,{}|^[]\"<>`\\", max_size=12).map(
    lambda text: b"/" + text.encode()
)
blanks = st.sampled_from([b" ", b"", b"\t", b"  ", b" \t "])
absolutes = st.builds(bytes.__add__, st.sampled_from([b"http://a", b"HTTP://a.b:80"]), paths)
field_values = st.binary(max_size=12).map(
    lambda raw: bytes(value for value in raw if value == 9 or (value >= 32 and value != 127))
)
FRAMING_NAMES: Final = {
    *(b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"),
    *(b"proxy-connection", b"keep-alive", b"te", b"trailer"),
}


TRAILERS: Final = [b"", b"", b"", b"X: y\r\n", b"X: y\r\nX:\r\n", b"Content-Length: 9\r\n"]
VERSIONS: Final = [b"1.0", b"1.0", b"1.2", b"1.9", b"2.0", b"0.9", b"1.", b"11", b"1.11", b"1,1"]


@dataclass(frozen=True)
class Made:
    """A valid request, and the message that a reader must see in it."""

    data: bytes
    method: str
    target: str
    body: bytes


@st.composite
def fields(draw: st.DrawFn) -> bytes:
    name = draw(tokens.filter(lambda name: name.lower() not in FRAMING_NAMES))
    return name + b":" + draw(blanks) + draw(field_values) + draw(blanks) + b"\r\n"


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` in chunks, with the extensions and trailers that all three readers take."""
    encoded = b""
    while body:
        size = draw(st.integers(1, len(body)))
        digits = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%016x"])) % size
        extension = draw(st.sampled_from([b"", b"", b";a", b";a=b", b';a="b;c"', b";a=b;c"]))
        encoded += digits + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    return encoded + draw(st.sampled_from([b"0", b"0", b"000", b"0;a=b"])) + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> Made:
    """A request that is valid in every respect."""
    method = draw(st.sampled_from([name for name in sorted(METHODS) if name != "CONNECT"]))
    target = draw(st.one_of(paths, paths, absolutes))
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]))
    body = draw(st.binary(max_size=30))
    chunked = version == b"HTTP/1.1" and draw(st.booleans())
    case = draw(st.sampled_from([bytes.title, bytes.lower, bytes.upper]))
    lines = [case(b"host") + b":" + draw(blanks) + draw(st.sampled_from([b"a", b"a.b:80", b""]))]
    if chunked:
        encoded = draw(chunks(body)) + draw(st.sampled_from(TRAILERS)) + b"\r\n"
        lines.append(case(b"transfer-encoding") + b":" + draw(blanks) + case(b"chunked"))
    else:
        encoded = body
        if body or draw(st.booleans()):
            lines.append(case(b"content-length") + b":" + draw(blanks) + b"%d" % len(body))
    lines += draw(st.sampled_from([[], [], [b"Connection: close"], [b"Connection: keep-alive"]]))
    lines += draw(st.sampled_from([[], [], [], [b"Expect: 100-continue"]]))
    head = [line + draw(blanks) + b"\r\n" for line in lines] + draw(st.lists(fields(), max_size=3))
    head = draw(st.permutations(head))
    start = b"%b %b %b\r\n" % (method.encode(), target, version)
    return Made(start + b"".join(head) + b"\r\n" + encoded, method, target.decode(), body)


NASTY: Final = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\0",
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\x1c",
        b"\x1f",
        b"\x85",
    ),
    *(b"\xa0", b"\x7f", b"\xff", b":", b";", b",", b"=", b'"', b"+", b"-", b"_", b"0", b"1", b"f"),
    *(b"x", b"#", b"/", b"*", b"@", b"[", b"]", b"%", b"\\", b"0x", b"\r\n ", b"\r\n\t", b"\r\r\n"),
    *(
        b"\x01",
        b"\r\n\r\n",
        b" HTTP/1.1",
        b"http://",
        b"chunked",
        b"gzip,",
        b"Transfer-Encoding: chunked\r\n",
        b"close",
    ),
    *(b"Content-Length: 1\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n", b"Expect: x\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: x\r\n", b"\xc2\xa0", "٥".encode(), b"99999999999999999999"),
]


KINDS: Final = ["insert", "insert", "insert", "replace", "delete", "repeat", "line end", "version"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request with up to four things wrong, or only odd; another one follows."""
    data = draw(requests()).data
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(KINDS))
        if kind == "insert":
            data = data[:at] + draw(st.sampled_from(NASTY)) + data[at:]
        elif kind == "replace":
            data = data[:at] + draw(st.sampled_from(NASTY)) + data[at + 1 :]
        elif kind == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 3)) :]
        elif kind == "repeat":
            lines = data.splitlines(keepends=True)
            which = draw(st.integers(0, max(0, len(lines) - 1)))
            data = b"".join([*lines[: which + 1], *lines[which:]])
        elif kind == "version":
            data = data.replace(b"HTTP/1.1", b"HTTP/" + draw(st.sampled_from(VERSIONS)), 1)
        else:
            end = draw(st.sampled_from([b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n\r\n"]))
            places = [match.start() for match in re.finditer(rb"\r\n", data)] or [0]
            place = draw(st.sampled_from(places))
            data = data[:place] + end + data[place + 2 :]
    return data + NEXT


def framed(name: bytes, rest: bytes) -> st.SearchStrategy[bytes]:
    """A request whose field `name` has any value that looks a little like a right one."""
    bits = st.sampled_from([*NASTY[:24], b"2", b"2", b"chunked", b"Chunked", b"gzip", b"identity"])
    value = st.lists(bits, min_size=1, max_size=3).map(b"".join)
    lines = st.lists(value, min_size=1, max_size=2).map(
        lambda some: b"".join(b"%b: %b\r\n" % (name, one) for one in some)
    )
    start = st.sampled_from(
        [
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n",
            b"POST / HTTP/1.0\r\nHost: a\r\n",
        ]
    )
    return st.builds(lambda head, field: head + field + b"\r\n" + rest + NEXT, start, lines)


def chunk_soup() -> st.SearchStrategy[bytes]:
    """Anything that looks a little like chunks."""
    bits = [b"2\r\nhi\r\n", b"2", b"hi", b"0", b"0\r\n", b"\r\n", b"\n", b"\r", b";", b";a", b"=b"]
    bits += [
        b" ;a",
        b'"',
        b'=";"',
        b" ",
        b"\t",
        b"X: y\r\n",
        b":",
        b"a",
        b"\0",
        b"\xff",
        b"0" * 16,
        b"-",
    ]
    body = st.lists(st.sampled_from(bits), min_size=1, max_size=8).map(b"".join)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return body.map(lambda some: head + some + b"0\r\n\r\n" + NEXT)


STREAMS: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "damaged": damaged(),
    "lengths": framed(b"Content-Length", b"hi"),
    "codings": framed(b"Transfer-Encoding", b"2\r\nhi\r\n0\r\n\r\n"),
    "chunks": chunk_soup(),
}


HEAD: Final = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# One stream for each reason, to which no other reason applies. Our verdict does not depend on the
# installed version of the other parser.
KNOWN: Final[list[tuple[str, Reason, str, bytes]]] = [
    ("h11", bare_line_end, "refuse", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("h11", bare_line_end, "refuse", CHUNKED + b"0\r\nX: y\n\r\n"),
    ("h11", connect, "refuse", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("h11", bad_hosts, "refuse", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("h11", bad_target, "refuse", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("h11", bad_target, "refuse", b"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("h11", other_version, "refuse", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("h11", length_and_coding, "refuse", HEAD + b"Content-Length: 2\r\n" + CHUNKED[len(HEAD) :]),
    ("h11", coding_in_1_0, "refuse", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
    ("h11", length_is_a_list, "refuse", HEAD + b"Content-Length: 2, 2\r\n\r\nhi"),
    ("h11", length_is_a_list, "refuse", HEAD + b"Content-Length: 0\r\n" * 2 + b"\r\n"),
    ("h11", other_expectation, "refuse", HEAD + b"Expect: x\r\n\r\n"),
    ("h11", many_digits, "refuse", HEAD + b"Content-Length: " + b"0" * 20 + b"\r\n\r\n"),
    ("h11", many_digits, "refuse", CHUNKED + b"0" * 17 + b"\r\n\r\n"),
    ("h11", odd_chunk_line, "refuse", CHUNKED + b"0 \r\n\r\n"),
    ("h11", odd_chunk_line, "refuse", CHUNKED + b"0;\r\n\r\n"),
    ("h11", folded_field, "refuse", HEAD + b"X: y\r\n z\r\n\r\n"),
    ("h11", control_character, "refuse", HEAD + b"X: \x01\r\n\r\n"),
    ("h11", empty_lines_before, "accept", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("h11", odd_chunk_line, "accept", CHUNKED + b"0 ;a\r\n\r\n"),
    ("h11", framing_field_in_the_trailers, "accept", CHUNKED + b"0\r\nContent-Length: x\r\n\r\n"),
    ("httptools", empty_lines_before, "refuse", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("httptools", bad_hosts, "refuse", b"GET / HTTP/1.1\r\n\r\n"),
    ("httptools", bad_hosts, "refuse", HEAD + b"Host: b\r\n\r\n"),
    ("httptools", bad_target, "refuse", b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("httptools", bad_target, "refuse", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("httptools", other_version, "refuse", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ("httptools", coding_in_1_0, "refuse", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
    ("httptools", odd_request_line, "refuse", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        *("httptools", coding_with_another, "refuse"),
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("httptools", other_expectation, "refuse", HEAD + b"Expect: x\r\n\r\n"),
    ("httptools", many_digits, "refuse", CHUNKED + b"0" * 17 + b"\r\n\r\n"),
    ("httptools", odd_chunk_line, "refuse", CHUNKED + b"0;a=\r\n\r\n"),
    ("httptools", other_method, "accept", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("httptools", odd_chunk_line, "accept", CHUNKED + b"0; a\r\n\r\n"),
    ("httptools", other_version, "accept", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("httptools", framing_field_in_the_trailers, "accept", CHUNKED + b"0\r\nUpgrade: x\r\n\r\n"),
    (
        *("httptools", tab_behind_a_coding, "accept"),
        HEAD + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    ),
    (
        *("httptools", upgrade_with_a_body, "accept"),
        HEAD + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi",
    ),
]


@pytest.mark.parametrize(
    ("name", "reason", "verdict", "data"), KNOWN, ids=[f"{it[0]}-{it[1].__name__}" for it in KNOWN]
)
def test_known_differences(name: str, reason: Reason, verdict: str, data: bytes) -> None:
    assert read_ours(data + NEXT).verdict == verdict
    tables = [WE_REFUSE] if verdict == "refuse" else [THEY_REFUSE, READ_OTHERWISE]
    holding = [it for table in tables for it in table[name] if it(data + NEXT)]
    assert holding == [reason]
    check_against(name, data + NEXT)


def test_every_reason_is_known() -> None:
    tables = [("refuse", WE_REFUSE), ("accept", THEY_REFUSE), ("accept", READ_OTHERWISE)]
    for verdict, table in tables:
        for name, reasons in table.items():
            for reason in reasons:
                assert any(it[:3] == (name, reason, verdict) for it in KNOWN), (name, reason)


ORDINARY: Final = [
    *(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /?a=b HTTP/1.0\r\n\r\n", CHUNKED + b"0\r\n\r\n"),
    HEAD + b"Content-Length: 2\r\nConnection: close\r\nExpect: 100-continue\r\n\r\nhi",
    CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nX:\r\n\r\n",
    b"GET http://a.b:80/c HTTP/1.1\r\nHost: a.b:80\r\nAccept: */*\r\n\r\n",
]


@pytest.mark.parametrize("data", ORDINARY)
def test_ordinary_requests_have_no_known_difference(data: bytes) -> None:
    for name, reader in READERS.items():
        assert reader(data + NEXT) == read_ours(data + NEXT)
        for table in (WE_REFUSE, THEY_REFUSE, READ_OTHERWISE):
            assert not [reason for reason in table[name] if reason(data + NEXT)]


@pytest.mark.slow
@PROFILE
@given(made=requests())
def test_a_valid_request_is_read_as_it_was_made(made: Made) -> None:
    expected = Reading("accept", made.method, made.target, made.body, len(made.data))
    assert read_ours(made.data) == read_ours(made.data + NEXT) == expected
    for name in READERS:
        check_against(name, made.data + NEXT)
    outcome = play_all_ways(made.data)
    assert outcome.bodies == [made.body]


@pytest.mark.slow
@PROFILE
@given(several=st.lists(requests(), max_size=5), cuts=st.lists(st.integers(0, 800), max_size=8))
def test_a_pipeline_is_read_as_its_requests(several: list[Made], cuts: list[int]) -> None:
    data = b"".join(made.data for made in several)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[begin:end] for begin, end in pairwise(places)]
    outcome = play(pieces)
    assert outcome.targets == [made.target for made in several]
    assert outcome.bodies == [made.body for made in several]
    assert outcome.next_at == len(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("name", READERS)
def test_every_disagreement_has_a_reason(name: str, kind: str) -> None:
    @PROFILE
    @given(data=STREAMS[kind])
    def run(data: bytes) -> None:
        check_against(name, data)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", STREAMS)
def test_a_damaged_request_is_read_the_same_in_any_pieces(kind: str) -> None:
    @PROFILE
    @given(data=STREAMS[kind])
    def run(data: bytes) -> None:
        # The pieces decide which of several errors is noticed first.
        play_all_ways(data, ending="refused")

    run()
