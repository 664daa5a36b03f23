"""Entity tags and dates: made from a file, and parsed by the grammar."""

import os
import time
from email.utils import formatdate
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor.protocol.dates import parse_date
from reactor.web.semantics.validators import (
    CODINGS,
    encoded_tag,
    entity_tag,
    identity_tag,
    last_modified,
    parse_tags,
)

NS = 10**9
NOW = 1_800_000_000.0  # 15 January 2027
LONG = 256 * 1024


def status(
    mtime: float = NOW - 100, ctime: float = NOW - 100, size: int = 5, ino: int = 7
) -> os.stat_result:
    """The fields that validators may use; the float times follow from them, as in the kernel's
    status.
    """
    fields = (0o100644, ino, 1, 1, 0, 0, size, 0, int(mtime), int(ctime))
    return os.stat_result(
        fields,
        {
            "st_mtime": mtime,
            "st_ctime": ctime,
            "st_mtime_ns": int(mtime * NS),
            "st_ctime_ns": int(ctime * NS),
        },
    )


# --- tags ----------------------------------------------------------------------------------------


def test_a_tag_is_strong_after_one_second() -> None:
    assert entity_tag(status(ctime=NOW - 1), NOW).startswith('"')
    assert entity_tag(status(ctime=NOW - 0.999), NOW).startswith('W/"')
    assert entity_tag(status(ctime=NOW), NOW).startswith('W/"')


def test_a_file_that_was_changed_in_the_future_is_young() -> None:
    """The clock was set back, or is another machine's: nothing says when the second is over."""
    assert entity_tag(status(ctime=NOW + 3600), NOW).startswith("W/")


def test_an_mtime_that_was_set_is_not_the_age() -> None:
    assert entity_tag(status(mtime=NOW - 10**6, ctime=NOW), NOW).startswith("W/")
    assert entity_tag(status(mtime=NOW + 10**6, ctime=NOW - 10), NOW).startswith('"')


@pytest.mark.parametrize(
    "other",
    [
        status(mtime=NOW - 99),
        status(ctime=NOW - 99),
        status(size=6),
        status(ino=8),
        status(mtime=-1),
        status(mtime=0),
    ],
)
def test_any_change_of_the_file_changes_the_tag(other: os.stat_result) -> None:
    assert entity_tag(other, NOW) != entity_tag(status(), NOW)


def test_a_nanosecond_is_enough() -> None:
    tags = set()
    for mtime, ctime in product((1, 2), (1, 2)):
        fields = {"st_mtime_ns": mtime, "st_ctime_ns": ctime, "st_ctime": 0.0}
        tags.add(entity_tag(os.stat_result((0,) * 10, fields), NOW))
    assert len(tags) == 4


def test_digits_do_not_move_from_one_number_to_the_next() -> None:
    assert entity_tag(status(size=0x11, ino=0x1), NOW) != entity_tag(
        status(size=0x1, ino=0x11), NOW
    )


def test_a_weak_tag_never_validates_a_later_state() -> None:
    """The same status, examined while the file may still change and when it cannot any more."""
    young, old = entity_tag(status(ctime=NOW), NOW), entity_tag(status(ctime=NOW), NOW + 1)
    assert young.startswith('W/"')
    assert old.startswith('"')
    assert young.removeprefix("W/") != old


def test_the_same_state_has_the_same_tag() -> None:
    assert entity_tag(status(), NOW) == entity_tag(status(), NOW + 10**6)
    assert entity_tag(status(ctime=NOW), NOW) == entity_tag(status(ctime=NOW), NOW + 0.5)


def test_tags_of_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    first = path.stat()
    tag = entity_tag(first, first.st_ctime + 2)
    assert parse_tags(tag) == [tag]
    os.utime(path, ns=(first.st_atime_ns, first.st_mtime_ns))  # cp -p: only ctime changes
    other = path.stat()
    while other.st_ctime_ns == first.st_ctime_ns:  # within one tick
        os.utime(path, ns=(first.st_atime_ns, first.st_mtime_ns))
        other = path.stat()
    assert other.st_mtime_ns == first.st_mtime_ns
    assert entity_tag(other, other.st_ctime + 2) != tag


def test_a_coding_has_a_tag_of_its_own() -> None:
    assert encoded_tag('"abc"', "gzip") == '"abc-gzip"'
    assert encoded_tag('W/"abc"', "br") == 'W/"abc-br"'
    assert encoded_tag('""', "zstd") == '"-zstd"'
    assert encoded_tag('"abc"', "identity") == '"abc"'
    assert CODINGS == ("gzip", "br", "zstd")


@pytest.mark.parametrize(
    ("tag", "file"),
    [
        ('"abc"', '"abc"'),
        ('"abc-gzip"', '"abc"'),
        ('W/"abc-br"', 'W/"abc"'),
        ('"abc-w-zstd"', '"abc-w"'),
        ('"abc-gzip-12-3"', '"abc"'),  # with the version of a file beside it
        ('"abc-gzip-br"', '"abc"'),
        ('"-gzip"', '""'),
        ('""', '""'),
        ('"abc-deflate"', '"abc-deflate"'),
        ('"abc-gzipped"', '"abc-gzipped"'),
        ('"abc-gzipped-br"', '"abc-gzipped"'),
        ('"gzip"', '"gzip"'),
        ('"abc-GZIP"', '"abc-GZIP"'),
    ],
)
def test_the_tag_of_the_file_behind_an_encoded_tag(tag: str, file: str) -> None:
    assert identity_tag(tag) == file


@given(
    st.integers(-(2**62), 2**62),
    st.integers(-(2**62), 2**62),
    st.integers(0, 2**62),
    st.integers(0, 2**64 - 1),
    st.sampled_from(["identity", *CODINGS]),
    st.booleans(),
)
def test_tags_fit_the_grammar(
    mtime: int, ctime: int, size: int, ino: int, coding: str, young: bool
) -> None:
    fields = {"st_mtime_ns": mtime, "st_ctime_ns": ctime, "st_ctime": ctime / NS}
    looked = os.stat_result((0, ino, 0, 0, 0, 0, size, 0, 0, 0), fields)
    tag = encoded_tag(entity_tag(looked, ctime / NS + (0 if young else 2)), coding)
    assert parse_tags(tag) == [tag]
    assert tag.isascii()
    assert tag.startswith("W/") is young
    assert identity_tag(tag) == entity_tag(looked, ctime / NS + (0 if young else 2))
    assert "," not in tag
    assert " " not in tag


# --- dates that are made -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mtime", "date"),
    [
        (NOW - 100, NOW - 100),
        (NOW - 99.001, NOW - 100),  # a second that is not over does not count
        (NOW, NOW),
        (NOW + 0.4, NOW),
        (NOW + 10**9, NOW),
        (0.0, 0),
        (-0.5, 0),
        (-(10.0**9), 0),
    ],
)
def test_last_modified(mtime: float, date: float) -> None:
    made = last_modified(status(mtime=mtime), NOW)
    assert made == date
    assert isinstance(made, int)


def test_last_modified_is_never_after_now() -> None:
    assert last_modified(status(mtime=NOW + 0.9), NOW + 0.5) == NOW


@pytest.mark.parametrize("mtime", [-(2**63), 2**63 - 1])
def test_last_modified_can_always_be_written_down(mtime: int) -> None:
    """tmpfs lets a file have any date, and one of them would overflow time.gmtime()."""
    looked = os.stat_result((0,) * 10, {"st_mtime_ns": mtime})
    assert parse_date(formatdate(last_modified(looked, NOW), usegmt=True), NOW) is not None


# --- lists of tags -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        ("", []),
        (" ", []),
        (",", []),
        (" ,\t, ", []),
        ('"a"', ['"a"']),
        ('""', ['""']),
        ('W/"a"', ['W/"a"']),
        ('W/""', ['W/""']),
        ('"a","b"', ['"a"', '"b"']),
        ('"a" \t,\t "b"', ['"a"', '"b"']),
        (',"a",,W/"b", ,', ['"a"', 'W/"b"']),
        ('"a, b"', None),  # a space is no etagc
        ('"a,b"', ['"a,b"']),
        ('"a","b",c"', None),
        ('"W/"', ['"W/"']),
        ('"*"', ['"*"']),
        ('"\\"', ['"\\"']),  # no escapes in an opaque tag
        ('"\\""', None),
        ('"!#~\x80\xff"', ['"!#~\x80\xff"']),
        ('"\x7f"', None),
        ('"\x20"', None),
        ('"\t"', None),
        ("*", None),
        ('"a", *', None),
        ("a", None),
        ("'a'", None),
        ('"a', None),
        ('a"', None),
        ('"a" "b"', None),
        ('"a""b"', None),
        ('"a"; "b"', None),
        ('w/"a"', None),
        ('W/ "a"', None),
        ('W"a"', None),
        ('W/W/"a"', None),
        ("W/", None),
        ("W/a", None),
        ('"a",W/', None),
        ('"a"\n', None),
    ],
)
def test_lists_of_tags(value: str, tags: list[str] | None) -> None:
    assert parse_tags(value) == tags


def model_tags(value: str) -> list[str] | None:
    """Character by character: outside of a tag, after a tag, or inside of one."""
    tags: list[str] = []
    begun: str | None = None
    separated = True
    position = 0
    while position < len(value):
        one = value[position]
        position += 1
        if begun is not None:
            begun += one
            if one == '"':
                tags.append(begun)
                begun, separated = None, False
            elif ord(one) < 0x21 or ord(one) == 0x7F:
                return None
        elif one == ",":
            separated = True
        elif one == '"' and separated:
            begun = one
        elif value[position - 1 : position + 2] == 'W/"' and separated:
            begun = 'W/"'
            position += 2
        elif one not in " \t":
            return None
    return tags if begun is None else None


TAG_PIECES = [
    '"a"',
    'W/"b,c"',
    '""',
    '"',
    "W/",
    "w/",
    ",",
    ", ",
    " ",
    "\t",
    "x",
    "\x7f",
    "\xe9",
    "*",
]


@pytest.mark.slow
@settings(max_examples=400)
@given(st.lists(st.sampled_from(TAG_PIECES), max_size=12).map("".join))
def test_lists_of_tags_against_a_model(value: str) -> None:
    assert parse_tags(value) == model_tags(value)


@pytest.mark.parametrize(
    "value",
    [
        "," * LONG,
        " " * LONG + "x",
        '"' * LONG,
        '"' * (LONG + 1),
        '"a",' * (LONG // 4),
        '"a" ' * (LONG // 4),
        '"a", ' * (LONG // 5) + "x",
        'W/"' * (LONG // 3),
        '"' + "a" * LONG,
        '"' + "a" * LONG + '"',
        "W/" * LONG,
        '"a"' + " " * LONG + "x",
        '"a"' + " ," * LONG + "x",
    ],
    ids=lambda value: value[:6],
)
def test_long_lists_of_tags_take_linear_time(value: str) -> None:
    began = time.process_time()
    assert parse_tags(value) == model_tags(value)
    parse_tags(value)
    assert time.process_time() - began < 2
