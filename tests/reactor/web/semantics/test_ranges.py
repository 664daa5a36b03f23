"""Ranges against sets of bytes, and multipart/byteranges against the email module's parser."""

import email
import email.policy
import io
import os
import re
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reactor import File, FileRegion, ProtocolError
from reactor.files.region import MultiRegion
from reactor.web.semantics.ranges import Unsatisfiable, content_range, multipart, parse_ranges

MOST = 32
LONG = 256 * 1024

Spec: TypeAlias = tuple[int | None, int | None]  # first and last; (None, n): the last n
Found: TypeAlias = list[tuple[int, int]] | int | None  # 416, or None: ignored


def parse(value: str, size: int = 1000, most: int = MOST) -> Found:
    try:
        return parse_ranges(value, size, most)
    except Unsatisfiable as error:
        return error.status


# --- cases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 500)]),
        ("bytes=500-1000", [(500, 500)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=999-999", [(999, 1)]),
        ("bytes=999-", [(999, 1)]),
        ("bytes=0-", [(0, 1000)]),
        ("bytes=-1", [(999, 1)]),
        ("bytes=-1000", [(0, 1000)]),
        ("bytes=-1001", [(0, 1000)]),
        ("bytes=0-0,-1", [(0, 1), (999, 1)]),
        ("BYTES=0-1", [(0, 2)]),
        ("bYtEs=0-1", [(0, 2)]),
        ("bytes=0000-0001", [(0, 2)]),
        ("bytes=-0001", [(999, 1)]),
        ("bytes=00-0", [(0, 1)]),
        ("bytes=9-10", [(9, 2)]),  # longer digits are not smaller
        # White space and empty members (sections 5.6.1.2 and 14.1.2, erratum 7306)
        ("bytes= 0-99, 450-549, -100", [(0, 100), (450, 100), (900, 100)]),
        ("bytes=\t0-1\t,\t5-6\t", [(0, 2), (5, 2)]),
        ("bytes=,0-1", [(0, 2)]),
        ("bytes=0-1,", [(0, 2)]),
        ("bytes= , ,0-1,, ,5-6 , ", [(0, 2), (5, 2)]),
        # No byte of the range exists
        ("bytes=1000-", 416),
        ("bytes=1000-1000", 416),
        ("bytes=-0", 416),
        ("bytes=-000", 416),
        ("bytes=-0,1000-,2000-3000", 416),
        # Some bytes of the range exist
        ("bytes=1000-,0-0", [(0, 1)]),
        ("bytes=0-0,-0", [(0, 1)]),
        ("bytes=0-0,5000-6000,5-5", [(0, 1), (5, 1)]),
        # The client's order is kept where nothing touches
        ("bytes=-1,0-0", [(999, 1), (0, 1)]),
        ("bytes=10-19,0-8", [(10, 10), (0, 9)]),
        # Merged: overlapping, within, equal, adjacent
        ("bytes=0-9,5-14", [(0, 15)]),
        ("bytes=5-14,0-9", [(0, 15)]),
        ("bytes=0-99,10-19", [(0, 100)]),
        ("bytes=10-19,0-99", [(0, 100)]),
        ("bytes=0-9,0-9", [(0, 10)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=10-19,0-9", [(0, 20)]),
        ("bytes=0-9,11-19", [(0, 10), (11, 9)]),
        ("bytes=500-600,601-999", [(500, 500)]),
        ("bytes=500-700,601-999", [(500, 500)]),
        ("bytes=0-,-1", [(0, 1000)]),
        ("bytes=900-999,0-9,5-14", [(0, 15), (900, 100)]),
        ("bytes=0-0,2-2,1-1", [(0, 3)]),
        # Another unit, or no range at all
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes= ", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=1", None),
        ("bytes=1-2-3", None),
        ("bytes=1--2", None),
        ("bytes=2-1", None),
        ("bytes=10-9", None),
        ("bytes=010-9", None),
        ("bytes=0-1,2-1", None),
        ("bytes=2000-1999", None),
        ("bytes=1-0", None),
        ("bytes=a-b", None),
        ("bytes=0x0-0x1", None),
        ("bytes=+0-1", None),
        ("bytes=0-+1", None),
        ("bytes=0_0-1", None),
        ("bytes=0-1.5", None),
        ("bytes=0 - 1", None),
        ("bytes=0- 1", None),
        ("bytes=0 -1", None),
        ("bytes =0-1", None),
        (" bytes=0-1", None),
        ("bytes:0-1", None),
        ("bytes 0-1", None),
        ("bytes=0-1;2-3", None),
        ("bytes=0-1 2-3", None),
        ("bytes=0-1, bytes=2-3", None),  # two lines, joined
        ("bytes=0-1,x", None),
        ("bytes=x,0-1", None),
        ("bytes=0-1\n", None),
        ("bytes=\u0660-\u0661", None),  # digits, but not these
        ("bytes=\xb2-\xb3", None),
        ("byte=0-1", None),
        ("bytess=0-1", None),
        ("items=0-1", None),
        ("seconds=1-2", None),
        ("0-1", None),
        ("=0-1", None),
    ],
)
def test_parsing_of_ranges(value: str, expected: Found) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-", 416),
        ("bytes=0-0", 416),
        ("bytes=5-9", 416),
        ("bytes=-0", 416),
        ("bytes=-1", None),  # satisfiable, but there is no Content-Range for it
        ("bytes=0-,-1", None),
        ("bytes=1-0", None),
        ("bytes=-", None),
    ],
)
def test_ranges_of_an_empty_file(value: str, expected: Found) -> None:
    assert parse(value, size=0) == expected


def test_ranges_of_one_byte() -> None:
    for value in ("bytes=0-", "bytes=0-0", "bytes=0-1", "bytes=-1", "bytes=-2", "bytes=0-,-1"):
        assert parse(value, size=1) == [(0, 1)]
    assert parse("bytes=1-", size=1) == 416


@pytest.mark.parametrize("digits", [19, 20, 4300, 4301, LONG])
def test_numbers_of_any_length(digits: int) -> None:
    """int() accepts at most 4,300 digits (section 14.1.2 warns of such numbers)."""
    nines, zeros = "9" * digits, "0" * digits
    assert parse(f"bytes=1-{nines}") == [(1, 999)]
    assert parse(f"bytes=-{nines}") == [(0, 1000)]
    assert parse(f"bytes={nines}-") == 416
    assert parse(f"bytes={nines}-{nines}") == 416
    assert parse(f"bytes={nines}-{nines[1:]}8") is None
    assert parse(f"bytes={nines[1:]}8-{nines}") == 416
    assert parse(f"bytes={nines}-{nines[1:]}") is None
    assert parse(f"bytes={zeros}1-{zeros}2") == [(1, 2)]
    assert parse(f"bytes={zeros}2-{zeros}1") is None
    assert parse(f"bytes=-{zeros}") == 416
    assert parse(f"bytes=-{zeros}1") == [(999, 1)]


def test_ranges_of_the_largest_file() -> None:
    size = 2**63 - 1
    assert parse(f"bytes={size - 1}-", size) == [(size - 1, 1)]
    assert parse(f"bytes={size}-", size) == 416
    assert parse("bytes=-1", size) == [(size - 1, 1)]
    assert parse("bytes=1-99999999999999999999", size) == [(1, size - 1)]
    assert parse("bytes=-99999999999999999999", size) == [(0, size)]


def test_limit_of_ranges() -> None:
    value = "bytes=" + ",".join(f"{2 * i}-{2 * i}" for i in range(MOST))
    found = parse(value)
    assert found == [(2 * i, 1) for i in range(MOST)]
    assert parse(f"{value},") == found
    assert parse(f"{value},900-900") is None
    assert parse(f"{value},0-0") is None  # before any are merged
    assert parse(f"{value},5000-") is None
    assert parse(value, most=MOST - 1) is None
    assert parse("bytes=0-0", most=1) == [(0, 1)]
    assert parse("bytes=0-0,1-1", most=1) is None
    assert parse("bytes=" + "9999-," * (MOST + 1)) is None


def test_unsatisfiable_is_a_response() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_ranges("bytes=1000-", 1000, MOST)
    assert caught.value.status == 416
    assert list(caught.value.headers) == [("Content-Range", "bytes */1000")]
    assert caught.value.reason.endswith(".")


@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + "," * LONG,
        "bytes=" + "," * LONG + "x",
        "bytes=" + " " * LONG + "x",
        "bytes=" + "0-1," * (LONG // 4),
        "bytes=" + "0-1," * (LONG // 4) + "x",
        "bytes=" + "0-1 " * (LONG // 4),
        "bytes=0-1" + " " * LONG + "x",
        "bytes=0-1" + " ," * LONG + "x",
        "bytes=" + "0" * LONG,
        "bytes=" + "-" * LONG,
        "bytes=" + "1-" * LONG,
        "bytes=" + "9" * LONG + "-" + "9" * LONG + "x",
        "bytes=" * LONG,
        "b" * LONG,
    ],
    ids=lambda value: value[:12],
)
def test_long_values_take_linear_time(value: str) -> None:
    began = time.process_time()
    assert parse(value) is None
    assert time.process_time() - began < 1


# --- against sets of bytes -----------------------------------------------------------------------


def bytes_of(spec: Spec, size: int) -> set[int]:
    """The positions that section 14.1.2 selects, one by one."""
    first, last = spec
    everything = range(size)
    if first is None:
        assert last is not None
        return {position for position in everything if size - position <= last}
    return {p for p in everything if p >= first and (last is None or p <= last)}


def model(specs: list[Spec], size: int, most: int) -> Found:
    if len(specs) > most:
        return None
    for first, last in specs:
        if first is not None and last is not None and last < first:
            return None
    wanted = [part for spec in specs if (part := bytes_of(spec, size))]
    if not wanted:
        suffix = any(first is None and last for first, last in specs)
        return None if suffix else 416
    runs = []
    # Positions in a row have the same distance from their place in the sorted list.
    for _, run in groupby(enumerate(sorted(set().union(*wanted))), lambda pair: pair[1] - pair[0]):
        positions = [position for _, position in run]
        runs.append((positions[0], len(positions)))
    if len(runs) < len(wanted):
        return runs
    return [(min(part), len(part)) for part in wanted]


NUMBERS = st.integers(0, 24)
SPECS = st.one_of(
    st.tuples(NUMBERS, st.none()),
    st.tuples(st.none(), NUMBERS),
    # A last before the first is rare: it makes the whole field invalid.
    st.tuples(NUMBERS, st.integers(-1, 12)).map(lambda one: (one[0], max(0, sum(one)))),
)
GAPS = st.sampled_from([",", ", ", " ,", ",,", "\t,\t,", " , , "])


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(SPECS, min_size=1, max_size=6), st.integers(0, 20), st.integers(4, 6), st.data())
@example([(None, 1)], 0, 4, None)
def test_ranges_against_a_model(
    specs: list[Spec], size: int, most: int, data: st.DataObject | None
) -> None:
    value = "bytes="
    for first, last in specs:
        value += f"{'' if first is None else first}-{'' if last is None else last}"
        value += "," if data is None else data.draw(GAPS)
    assert parse(value, size, most) == model(specs, size, most)


def model_syntax(value: str) -> list[Spec] | None:
    """Section 14.1.1 without a regular expression: split, then examine the rest."""
    unit, equals, members = value.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    specs: list[Spec] = []
    for member in members.split(","):
        text = member.strip(" \t")
        if not text:
            continue
        first, dash, last = text.partition("-")
        digits = set(first + last)
        if not dash or not first + last or digits - set("0123456789"):
            return None
        specs.append((int(first) if first else None, int(last) if last else None))
    return specs or None


PIECES = [
    "bytes=",
    "Bytes=",
    "0",
    "1",
    "7",
    "19",
    "-",
    "0-5",
    "-3",
    "9-",
    ",",
    ", ",
    " ",
    "\t",
    "x",
]


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.booleans())
def test_grammar_against_a_model(text: str, begun: bool) -> None:
    value = f"bytes={text}" if begun else text
    specs = model_syntax(value)
    assert parse(value, 20) == (None if specs is None else model(specs, 20, MOST))


# --- multipart/byteranges ------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    opened = File(os.open(path, os.O_RDONLY), len(CONTENT))
    yield opened
    opened.release()
    assert opened.closed


def content_of(pieces: list[bytes | FileRegion]) -> bytes:
    return b"".join(
        piece if isinstance(piece, bytes) else piece.file.load(piece.offset, piece.length)
        for piece in pieces
    )


def response_of(file: File, ranges: list[tuple[int, int]], kind: str) -> tuple[str, bytes]:
    """Content-Type and body, as a response would be sent."""
    content_type, pieces = multipart(
        ranges,
        len(CONTENT),
        kind,
        lambda offset, length: FileRegion(file.hold(), offset, length),
        "b0undary",
    )
    parts = MultiRegion(pieces)
    body = content_of(pieces)
    assert len(parts) == len(body)
    parts.release()
    return content_type, body


def test_content_range() -> None:
    assert content_range(0, 500, 1234) == "bytes 0-499/1234"
    assert content_range(7, 1, 8) == "bytes 7-7/8"


def test_byteranges_byte_by_byte(file: File) -> None:
    content_type, body = response_of(file, [(0, 3), (1020, 4)], "text/plain; charset=utf-8")
    assert content_type == "multipart/byteranges; boundary=b0undary"
    assert body == (
        b"\r\n--b0undary\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Range: bytes 0-2/1024\r\n"
        b"\r\n"
        b"\x00\x01\x02\r\n"
        b"--b0undary\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Range: bytes 1020-1023/1024\r\n"
        b"\r\n"
        b"\xfc\xfd\xfe\xff\r\n"
        b"--b0undary--\r\n"
    )


def test_byteranges_without_a_type(file: File) -> None:
    _, body = response_of(file, [(0, 1), (5, 1)], "")
    assert b"Content-Type" not in body
    assert body.startswith(b"\r\n--b0undary\r\nContent-Range: bytes 0-0/1024\r\n\r\n\x00\r\n--b")


def test_one_range_as_a_multipart(file: File) -> None:
    """Section 15.3.7.2: several ranges were requested and one remains."""
    _, body = response_of(file, [(4, 2)], "a/b")
    assert body.count(b"--b0undary") == 2
    assert body.endswith(b"\r\n\r\n\x04\x05\r\n--b0undary--\r\n")


def test_regions_are_requested_in_order(file: File) -> None:
    asked = []

    def region(offset: int, length: int) -> FileRegion:
        asked.append((offset, length))
        return FileRegion(file, offset, length)

    _, pieces = multipart([(9, 1), (0, 2)], len(CONTENT), "a/b", region, "x")
    assert asked == [(9, 1), (0, 2)]
    assert [type(piece) for piece in pieces] == [bytes, FileRegion, bytes, FileRegion, bytes]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, 300)), min_size=1, max_size=5
    )
)
def test_byteranges_by_another_parser(file: File, asked: list[tuple[int, int]]) -> None:
    ranges = [(offset, min(length, len(CONTENT) - offset)) for offset, length in asked]
    content_type, body = response_of(file, ranges, "application/octet-stream")
    message = email.message_from_bytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    assert not message.defects
    assert message.is_multipart()
    found = []
    for part in message.iter_parts():
        assert part.get_content_type() == "application/octet-stream"
        numbers = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/1024", part["Content-Range"])
        assert numbers is not None
        first, last = int(numbers[1]), int(numbers[2])
        content = part.get_payload(decode=True)
        assert content == CONTENT[first : last + 1]
        found.append((first, last - first + 1))
    assert found == ranges


def parts_as_zsync_reads_them(content_type: str, body: bytes) -> Found:
    """The ranges that zsync 0.6.2 finds: before each boundary it drops one line, unseen."""
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    lines = io.BytesIO(body)
    found: list[tuple[int, int]] = []
    while True:
        lines.readline()
        line = lines.readline()
        if not line.startswith(boundary):
            return None
        if line.startswith(boundary + b"--"):
            return found
        while line.strip():
            numbers = re.match(rb"content-range: bytes ([0-9]+)-([0-9]+)/", line.lower())
            if numbers is not None:
                first, last = int(numbers[1]), int(numbers[2])
            line = lines.readline()
        assert lines.read(last - first + 1) == CONTENT[first : last + 1]
        found.append((first, last - first + 1))


@pytest.mark.parametrize("kind", ["application/octet-stream", ""])
@pytest.mark.parametrize("ranges", [[(0, 3), (1020, 4)], [(8, 1)], [(9, 2), (0, 4), (13, 300)]])
def test_byteranges_as_zsync_reads_them(
    file: File, ranges: list[tuple[int, int]], kind: str
) -> None:
    assert parts_as_zsync_reads_them(*response_of(file, ranges, kind)) == ranges
