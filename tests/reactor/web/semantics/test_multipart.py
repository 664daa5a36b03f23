"""The bytes of a form, cut anywhere, and every way in which they can be malformed."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import ProtocolError
from reactor.web.semantics.multipart import (
    MOST_PARAMETERS,
    NAME_BYTES,
    PADDING_BYTES,
    PART_END,
    PART_FIELDS,
    FormParser,
    FormPart,
    boundary_of,
)

pytestmark = pytest.mark.timeout(60)

BOUNDARY = b"AaB03x"
DELIMITER = b"\r\n--" + BOUNDARY


class Whole(NamedTuple):
    """A part with all of its content."""

    name: str
    filename: str | None
    media_type: str
    content: bytes


def encode(*parts: tuple[str, bytes], boundary: bytes = BOUNDARY) -> bytes:
    """A form made of parts, given by their parameters and content."""
    pieces = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
        % (boundary, parameters.encode(), content)
        for parameters, content in parts
    ]
    return b"".join(pieces) + b"--%b--\r\n" % boundary


def parse(
    pieces: Iterable[bytes],
    *,
    boundary: bytes = BOUNDARY,
    most_parts: int = 1000,
    head_bytes: int = 8192,
) -> list[Whole]:
    """The parts of a form; asserts that the parser's events come in order."""
    parser = FormParser(boundary, most_parts, head_bytes)
    found: list[Whole] = []
    part, content = None, b""
    for piece in pieces:
        parser.feed(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, FormPart):
                assert part is None
                part, content = event, b""
            elif isinstance(event, bytes):
                assert part is not None
                assert event
                content += event
            else:
                assert event is PART_END
                assert part is not None
                found.append(Whole(*part, content))
                part = None
    parser.end()
    assert part is None
    return found


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = [*sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def one_by_one(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def everywhere(data: bytes) -> list[list[bytes]]:
    """The pieces of a form: whole, byte by byte, and in two pieces."""
    twos = [[data[:place], data[place:]] for place in range(1, len(data))]
    return [[data], one_by_one(data), *twos]


def refusal(data: bytes, **limits: int) -> tuple[int, str]:
    """The status and sentence of the refusal; the same however the bytes are cut."""
    found = set()
    for pieces in ([data], one_by_one(data)):
        with pytest.raises(ProtocolError) as caught:
            parse(pieces, **limits)  # type: ignore[arg-type]
        found.add((caught.value.status, caught.value.reason))
    assert len(found) == 1, found
    return found.pop()


def head(*lines: str) -> bytes:
    """A form of one part with these fields."""
    return b"--AaB03x\r\n" + "\r\n".join([*lines, "", "x"]).encode("latin-1") + DELIMITER + b"--"


def disposition(parameters: str) -> Whole:
    (part,) = parse([encode((parameters, b"x"))])
    return part


# --- well-formed forms ---------------------------------------------------------------------------


def test_a_form_cut_anywhere() -> None:
    form = (
        b"a preamble --AaB03x that nobody reads\r\n--AaB03\r\n"
        b"--AaB03x \t \r\n"
        b'content-disposition:form-data;name=field \r\nX-Other: "\xff"\r\n\r\n'
        b"one\r\n--AaB03\r\n--\r\n-\r\r\n"
        b"\r\n--AaB03x\r\n"
        b'Content-Disposition: form-data; name="f"; filename="a.txt"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: Binary\r\n\r\n"
        b"\r\n--AaB03x\r\n"
        b'Content-Disposition: FORM-DATA; filename=b; NAME="g";\r\n\r\n'
        b"\r\n--AaB03"
        b"\r\n--AaB03x--anything\r\n--AaB03x\r\nnot read"
    )
    expected = [
        Whole("field", None, "", b"one\r\n--AaB03\r\n--\r\n-\r\r\n"),
        Whole("f", "a.txt", "text/plain; charset=utf-8", b""),
        Whole("g", "b", "", b"\r\n--AaB03"),
    ]
    for pieces in everywhere(form):
        assert parse(pieces) == expected


def test_form_without_parts() -> None:
    for form in (b"--AaB03x--", b"--AaB03x--\r\n", b"\r\n--AaB03x--\r\n", b"x\r\n--AaB03x--"):
        for pieces in everywhere(form):
            assert parse(pieces) == []


def test_part_without_the_line_end_of_its_content() -> None:
    """RFC 2046, section 5.1: `MIME-part-headers [CRLF *OCTET]`."""
    form = b"--AaB03x\r\nContent-Disposition: form-data; name=a\r\n\r\n--AaB03x--"
    for pieces in everywhere(form):
        assert parse(pieces) == [Whole("a", None, "", b"")]


def test_content_that_looks_like_a_boundary_without_a_line_before_it() -> None:
    content = b"--AaB03"
    for pieces in everywhere(encode(("name=a", content), ("name=b", b"-" + content))):
        assert [part.content for part in parse(pieces)] == [content, b"-" + content]


def test_content_is_returned_at_once_and_uncopied() -> None:
    parser = FormParser(BOUNDARY, 1, 1000)
    parser.feed(head('Content-Disposition: form-data; name="a"').split(b"x\r\n--")[0])
    assert parser.next_event() == FormPart("a", None, "")
    for number in range(3):
        piece = bytes(100_000) + b"\r\n-x"
        parser.feed(piece)
        event = parser.next_event()
        assert event == piece
        assert event is piece or number == 0  # the blank line before it had not been reported yet
        assert parser.next_event() is None


@pytest.mark.parametrize(
    ("parameters", "name", "filename"),
    [
        ("name=a; filename=b.txt", "a", "b.txt"),
        ('name="a"; filename="b c.txt"', "a", "b c.txt"),
        ('name=""; filename=""', "", ""),
        ("name=a", "a", None),
        ('name="ü"; filename="Zürich – 東京.txt"', "ü", "Zürich – 東京.txt"),
        ('name="%22%0D%0A%0d%0a"; filename="%22a%0D%0a.txt"', '"\r\n\r\n', '"a\r\n.txt'),
        ('name="a"; filename="100%.txt"', "a", "100%.txt"),
        ('name="a"; filename="%41%2e%2F%25"', "a", "%41%2e%2F%25"),
        ('name="a"; filename="say \\"hi\\".txt"', "a", 'say "hi".txt'),
        ('name="a"; filename="a;b=c"', "a", "a;b=c"),
        ("name=a; filename=x; filename*=UTF-8''y", "a", "y"),
        ("filename*=utf-8''y; name=a; filename=x", "a", "y"),
        ("name=a; filename*=UTF-8''y", "a", "y"),
        # As .NET and PowerShell send it
        (
            "name=a; filename=\"=?utf-8?B?w7xiZXIudHh0?=\"; filename*=utf-8''%C3%BCber.txt",
            "a",
            "\u00fcber.txt",
        ),
        ("name=a; filename*=ISO-8859-1'de'%fcber%20x.txt", "a", "\u00fcber x.txt"),
        ("name=a; filename*=iso-8859-1''%80", "a", "\x80"),
        ("name=a; FILENAME*=Utf-8'en-GB'%e2%82%ac!#$&+.^_`|~-", "a", "\u20ac!#$&+.^_`|~-"),
        ("name=a; filename*=utf-8''%2522", "a", "%22"),  # decoded once
        ("name=a; filename*=utf-8''%3D%3Futf-8%3FB%3Fw7w%3D%3F%3D", "a", "=?utf-8?B?w7w=?="),
        ('name=a; filename="=?utf-8?B?w7w=?="', "a", "=?utf-8?B?w7w=?="),  # decoded never
        ("name=a; filename=x; filename*=utf-8''", "a", ""),
        ("name=a; filename*=utf-8''" + "%C3%BC" * 127, "a", "\u00fc" * 127),
        ("filename=x;name=a;;size=3", "a", "x"),
        ('name=a; filename="' + "x" * NAME_BYTES + '"', "a", "x" * NAME_BYTES),
        ('name=a; filename="' + "ü" * 127 + '"', "a", "ü" * 127),
    ],
)
def test_names(parameters: str, name: str, filename: str | None) -> None:
    assert disposition(parameters) == (name, filename, "", b"x")


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "BINARY"])
def test_encodings_that_change_nothing(encoding: str) -> None:
    form = head("Content-Disposition: form-data; name=a", f"Content-Transfer-Encoding: {encoding}")
    assert parse([form]) == [Whole("a", None, "", b"x")]


# --- malformed forms -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filename",
    [
        "C:\\x\\y.txt",
        "C:\\\\x\\\\y.txt",
        "..\\x",
        "a/b",
        "/etc/secret",
        "../x",
        "..",
        ".",
        ".hidden",
        "a/",
        "\\\\",
    ],
)
def test_refused_filenames(filename: str) -> None:
    form = encode(("name=ok; filename=ok", b"1"), (f'name="bad"; filename="{filename}"', b"2"))
    status, reason = refusal(form)
    assert status == 400
    assert "'bad'" in reason
    assert "secret" not in reason


@pytest.mark.parametrize("filename", ["x" * (NAME_BYTES + 1), "ü" * 128])
def test_filenames_that_are_too_long(filename: str) -> None:
    """A name in a form is content; 414 is for the targets of requests."""
    form = encode(("name=ok; filename=ok", b"1"), (f'name="bad"; filename="{filename}"', b"2"))
    status, reason = refusal(form)
    assert status == 400
    assert "'bad'" in reason


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Content-Type: text/plain",),
        ("Content-Disposition: form-data",),
        ("Content-Disposition: form-data; filename=a",),
        ("Content-Disposition: attachment; name=a",),
        ("Content-Disposition: name=a",),
        ("Content-Disposition:",),
        ("Content-Disposition: form-data; name=a", "Content-Disposition: form-data; name=b"),
        ("Content-Disposition: form-data; name=a; name=b",),
        ("Content-Disposition: form-data; name=a; filename=b; FileName=c",),
        *(
            (f"Content-Disposition: form-data; name=a; filename=x; filename*{rest}",)
            for rest in (
                "=b",
                "=''b",
                "=utf-8'b",
                "=utf-8''b'c",
                "=utf-16''b",
                "=us-ascii''b",
                "=utf-8'e_n'b",
                "=utf-8''%",
                "=utf-8''%4",
                "=utf-8''%4g",
                "=utf-8''a b",
                "=utf-8''a/b",
                "=utf-8''a,b",
                "=utf-8''\u00fc",
                "=utf-8''%ff",
                "=utf-8''%c3",
                "=utf-8''%ed%a0%80",  # a surrogate
                "=utf-8''%c0%ae",  # a dot, written too long
                "=utf-8''a%2Fb",
                "=utf-8''..",
                "=utf-8''.",
                "=utf-8''.hidden",
                "=utf-8''%2e%2e",
                "=utf-8''%2Fetc",
                "=utf-8''..%2F..%2Fetc",
                "=utf-8''a%00",
                "=iso-8859-1''a%2F",
                "=utf-8''" + "a" * 256,
                "=utf-8''" + "%C3%BC" * 128,
                "=utf-8''b; filename*=utf-8''b",
                "=utf-8''b; FileName*=utf-8''c",
                "0=b",
                "0*=utf-8''b",
                "1*=b",
            )
        ),
        ("Content-Disposition: form-data; name=a; filename*0=b; filename*1=c",),
        ('Content-Disposition: form-data; name="a',),
        ('Content-Disposition: form-data; name="a\\"',),
        ('Content-Disposition: form-data; name="a"b',),
        ("Content-Disposition: form-data; name=",),
        ("Content-Disposition: form-data; name",),
        ("Content-Disposition: form-data; name=a b",),
        ("Content-Disposition: form-data, name=a",),
        ("Content-Disposition: form-data; name=\xff",),
        ('Content-Disposition: form-data; name="\xff"',),
        ('Content-Disposition: form-data; name="a\0"',),
        ('Content-Disposition: form-data; name="a\rb"',),
        ('Content-Disposition: form-data; name="a\nb"',),
        ("Content-Disposition : form-data; name=a",),
        ("Content-Disposition: form-data;", " name=a"),
        ("Content-Disposition: form-data; name=a", "no colon"),
        ("Content-Disposition: form-data; name=a", ": no name"),
        ("Content-Disposition: form-data; name=a", "sp ace: x"),
        ("Content-Disposition: form-data; name=a", "\xe4: x"),
        (" Content-Disposition: form-data; name=a",),
    ],
)
def test_malformed_heads(lines: tuple[str, ...]) -> None:
    assert refusal(head(*lines))[0] == 400


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "", "binary, binary"])
def test_transfer_encodings_are_refused(encoding: str) -> None:
    form = head("Content-Disposition: form-data; name=a", f"Content-Transfer-Encoding: {encoding}")
    assert refusal(form)[0] == 415


@pytest.mark.parametrize("line", ["x", " x", "-", "-x", "\r", "\rx", "\n", " \t", "", "\0"])
def test_lines_that_only_begin_with_a_boundary(line: str) -> None:
    form = encode(("name=a", b"a" + DELIMITER + line.encode() + b"rest"))
    assert refusal(form)[0] == 400


def test_boundary_that_looks_like_a_field() -> None:
    form = b"--a:b\r\nX: y\r\n--a:b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--a:b--"
    for pieces in everywhere(form):
        with pytest.raises(ProtocolError) as caught:
            parse(pieces, boundary=b"a:b")
        assert caught.value.status == 400


def test_form_that_is_cut_off_anywhere() -> None:
    """A form is whole once its last boundary is there; no part ends before its boundary does."""
    form = encode(("name=a; filename=a", b"one"), ("name=b", b"two"))
    whole = form.index(b"--AaB03x--") + len(b"--AaB03x--")
    for end in range(whole):
        status, _ = refusal(form[:end])
        assert status == 400
    for end in range(whole, len(form) + 1):
        assert len(parse([form[:end]])) == 2


# --- limits --------------------------------------------------------------------------------------


def test_limit_of_parts() -> None:
    form = encode(*[("name=a", b"")] * 3)
    for pieces in everywhere(form):
        assert len(parse(pieces, most_parts=3)) == 3
    assert refusal(form, most_parts=2) == (413, "A form may have at most 2 parts.")


def test_limit_of_a_head() -> None:
    line = "Content-Disposition: form-data; name=a"
    form = head(line, "X: " + "y" * (100 - len(line) - 2 - 3))
    for pieces in everywhere(form):
        assert parse(pieces, head_bytes=100) == [Whole("a", None, "", b"x")]
    assert refusal(form, head_bytes=99)[0] == 413


def test_endless_head() -> None:
    begin = b"--AaB03x\r\nX: "
    assert refusal(begin + b"x" * 2000, head_bytes=1000)[0] == 413
    parser = FormParser(BOUNDARY, 1, 1000)
    parser.feed(begin)
    with pytest.raises(ProtocolError):
        for _ in range(1001):
            parser.feed(b"x")
            assert parser.next_event() is None


def test_padding() -> None:
    form = encode(("name=a", b"x"))
    padded = form.replace(b"x\r\n", b"x" + b" " * (PADDING_BYTES - 2) + b"\r\n", 1)
    for pieces in ([padded], one_by_one(padded)):
        assert parse(pieces) == [Whole("a", None, "", b"x")]
    begin = b"--AaB03x" + b" " * (PADDING_BYTES + 1)
    for pieces in ([begin], one_by_one(begin)):
        with pytest.raises(ProtocolError) as caught:
            parse(pieces)
        assert caught.value.reason.endswith("other text behind it.")


@pytest.mark.parametrize(
    "storm",
    [b"\r\n--" * 16384, b"\r" * 65536, (DELIMITER[:-1] + b"y") * 6000, DELIMITER[:-1] * 6000],
)
@pytest.mark.parametrize("begun", [False, True], ids=["preamble", "content"])
def test_storms_of_near_boundaries_take_linear_time(storm: bytes, begun: bool) -> None:
    """A million near-boundaries take time in proportion to their length."""
    parser = FormParser(BOUNDARY, 1, 1000)
    if begun:
        parser.feed(encode(("name=a", b"")).split(b"\r\n--AaB03x--")[0])
    started = time.process_time()
    fed = taken = 0
    for _ in range(64):
        parser.feed(storm)
        fed += len(storm)
        while (event := parser.next_event()) is not None:
            taken += len(event) if isinstance(event, bytes) else 0
    assert time.process_time() - started < 2  # 0.05 s here; quadratic time would be minutes
    assert taken == 0 if not begun else fed - taken < len(DELIMITER)


# --- any bytes at all ----------------------------------------------------------------------------

_FRAGMENTS = st.sampled_from(
    [
        *(b"\r", b"\n", b"\r\n", b"-", b"--", b"x", b" ", b"\t", b"A", BOUNDARY, BOUNDARY[:-1]),
        *(DELIMITER, b"--" + BOUNDARY, DELIMITER + b"\r\n", DELIMITER + b"--", b"\0\xff", b":"),
        *(b"Content-Disposition: form-data; name=a", b"\r\n\r\n", b"X: y", b"; filename=b"),
    ]
)
_BYTES = st.lists(_FRAGMENTS, max_size=25).map(b"".join)
_CUTS = st.lists(st.integers(0, 2000), max_size=12)


def reference(body: bytes) -> list[Whole]:
    """A second parser, written in terms of the whole body. Raises ValueError."""
    _, *rest = (b"\r\n" + body).split(DELIMITER)
    found: list[Whole] = []
    for text in rest:
        if text.startswith(b"--"):
            return found
        line_end = re.match(rb"[ \t]*\r\n", text)
        if line_end is None:
            raise ValueError("boundary line")
        fields, blank, content = text[line_end.end() - 2 :].partition(b"\r\n\r\n")
        if not blank:
            if not fields.endswith(b"\r\n"):
                raise ValueError("no blank line")
            fields = fields[:-2]  # the blank line belongs to the next boundary
        found.append(Whole(*reference_head(fields), content))
    raise ValueError("no end")


def reference_head(fields: bytes) -> tuple[str, str | None, str]:
    values = []
    if not fields.startswith(b"\r\n"):
        raise ValueError("no fields")
    for line in fields[2:].split(b"\r\n"):
        match = re.fullmatch(rb"([A-Za-z-]+):([\t -~\x80-\xff]*)", line)
        if match is None:
            raise ValueError("field")
        if match[1].lower() == b"content-disposition":
            values.append(match[2].strip(b" \t"))
    if len(values) != 1:
        raise ValueError("disposition")
    match = re.fullmatch(
        rb"form-data; *name=([!-:<-~]+)((?:[ \t]*; filename=[a-zA-Z0-9]+)?)(?:[ \t]*;)*", values[0]
    )
    if match is None or re.search(rb'["\\]', values[0]):
        raise ValueError("parameters")
    return match[1].decode(), match[2].decode().rpartition("=")[2] or None, ""


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(_BYTES, _CUTS)
def test_random_bytes_against_the_reference(body: bytes, places: list[int]) -> None:
    try:
        expected = reference(body)
    except ValueError:
        assert refusal(body)[0] == 400
        with pytest.raises(ProtocolError):
            parse(cut(body, places))
    else:
        for pieces in ([body], one_by_one(body), cut(body, places)):
            assert parse(pieces) == expected


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.lists(_BYTES.filter(lambda content: DELIMITER not in b"\r\n" + content), max_size=5),
    _BYTES.filter(lambda content: DELIMITER not in b"\r\n" + content + b"\r\n"),
    _BYTES,
    _CUTS,
)
def test_random_forms_are_parsed_back(
    contents: Sequence[bytes], preamble: bytes, epilogue: bytes, places: list[int]
) -> None:
    form = encode(*[(f"name=n{place}; filename=f", it) for place, it in enumerate(contents)])
    form = preamble + b"\r\n" + form + epilogue
    expected = [Whole(f"n{place}", "f", "", it) for place, it in enumerate(contents)]
    assert parse(cut(form, places)) == expected


# --- the boundary in the request's head ----------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=AaB03x", b"AaB03x"),
        ('Multipart/Form-Data;BOUNDARY="AaB03x"', b"AaB03x"),
        ("multipart/form-data; charset=utf-8; boundary=a", b"a"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryjLT8c",
            b"----WebKitFormBoundaryjLT8c",
        ),
        ("multipart/form-data; boundary=----=_Part_1_2.3", b"----=_Part_1_2.3"),
        ('multipart/form-data; boundary="a b"', b"a b"),
        ("multipart/form-data; boundary='()+_,-./:=?", b"'()+_,-./:=?"),
        ("multipart/form-data; boundary=" + "b" * 70, b"b" * 70),
    ],
)
def test_boundary(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a',
        'multipart/form-data; boundary="a "',
        'multipart/form-data; boundary="a\\"b"',
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a; boundary=a",
        "multipart/form-data; boundary=a*b",
        "multipart/form-data; boundary=\xfc",
        "multipart/form-data; boundary=" + "b" * 71,
        "multipart/form-data; boundary=a, text/plain; x",
    ],
)
def test_boundary_that_is_missing_or_malformed(content_type: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        boundary_of(content_type)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/plain", "multipart/mixed; boundary=a", "multipart/form-dat; boundary=a"),
        *("application/x-www-form-urlencoded", "multipart/form-data2; boundary=a", "; boundary=a"),
    ],
)
def test_other_types(content_type: str) -> None:
    assert boundary_of(content_type) is None


def test_a_part_has_a_limited_number_of_fields_and_parameters() -> None:
    """More would be slow to parse, and no client sends so many."""
    head = 'Content-Disposition: form-data; name="a"'
    for count, status in ((PART_FIELDS - 1, None), (PART_FIELDS, 413)):
        fields = "".join(f"\r\nX-{number}: y" for number in range(count))
        assert status_of(f"{head}{fields}") == status
    for count, status in ((MOST_PARAMETERS - 1, None), (MOST_PARAMETERS, 400)):
        parameters = "".join(f";;; x{number}=y ;" for number in range(count))
        assert status_of(f"{head}{parameters}") == status


def status_of(head: str) -> int | None:
    """The status with which a form of one part with this head is refused."""
    parser = FormParser(b"b", 10, 8192)
    parser.feed(f"--b\r\n{head}\r\n\r\ncontent\r\n--b--\r\n".encode())
    try:
        while parser.next_event() is not None:
            pass
        parser.end()
    except ProtocolError as error:
        return error.status
    return None
