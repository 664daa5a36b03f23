"""Preconditions against the text of RFC 9110, section 13: a table of cases, and a plain model."""

import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TypeGuard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import Headers
from reactor.web.semantics.preconditions import (
    check_read,
    check_write,
    has_conditions,
    range_applies,
)

TAG = '"abc"'
WEAK = 'W/"abc-w"'
MODIFIED = 784111777
NOW = 1_800_000_000.0
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
LONG = 256 * 1024


def headers(*lines: str) -> Headers:
    return Headers("".join(f"\r\n{line}" for line in ("Host: x", *lines)))


def read(*lines: str, tag: str = TAG) -> int | None:
    return check_read(headers(*lines), tag, MODIFIED, NOW)


def write(*lines: str, tag: str | None = TAG) -> bool:
    return check_write(headers(*lines), tag, None if tag is None else MODIFIED, NOW)


def applies(*lines: str, tag: str = TAG, now: float = NOW) -> bool:
    return range_applies(headers(*lines), tag, MODIFIED, now)


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), None),
        # If-None-Match (section 13.1.2)
        (('If-None-Match: "abc"',), 304),
        (('IF-NONE-MATCH: "abc"',), 304),
        (('If-None-Match: W/"abc"',), 304),
        (("If-None-Match: *",), 304),
        (('If-None-Match: "x", "abc"',), 304),
        (('If-None-Match: "x",W/"abc",',), 304),
        (('If-None-Match: "x"', 'If-None-Match: "abc"'), 304),
        (('If-None-Match: "abc"', 'If-None-Match: "abc"'), 304),
        (('If-None-Match: "ABC"',), None),
        (('If-None-Match: "x,"abc""',), None),
        (('If-None-Match: "x,abc"',), None),
        (('If-None-Match: "abc-gzip"',), None),  # another representation
        (("If-None-Match: abc",), None),
        (('If-None-Match: w/"abc"',), None),
        (('If-None-Match: "abc", *',), None),
        (("If-None-Match: *", "If-None-Match: *"), None),
        (('If-None-Match: "*"',), None),
        (("If-None-Match:",), None),
        # If-Modified-Since (section 13.1.3)
        ((f"If-Modified-Since: {SAME}",), 304),
        ((f"If-Modified-Since: {AFTER}",), 304),
        ((f"If-Modified-Since: {BEFORE}",), None),
        (("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",), 304),
        (("If-Modified-Since: Sunday, 06-Nov-94 08:49:36 GMT",), None),
        (("If-Modified-Since: Sun Nov  6 08:49:37 1994",), 304),
        (("If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",), 304),
        (("If-Modified-Since: tomorrow",), None),
        (("If-Modified-Since:",), None),
        ((f"If-Modified-Since: {AFTER}; length=3",), None),
        ((f"If-Modified-Since: {AFTER}", f"If-Modified-Since: {AFTER}"), None),
        # If-Match (section 13.1.1)
        (('If-Match: "abc"',), None),
        (("If-Match: *",), None),
        (('If-Match: "x", "abc"',), None),
        (('If-Match: "x"', 'If-Match: "abc"'), None),
        (('If-Match: W/"abc"',), 412),
        (('If-Match: "x"',), 412),
        (('If-Match: "abc-gzip"',), 412),
        (("If-Match: abc",), 412),
        (("If-Match:",), 412),
        (('If-Match: "abc", x',), 412),
        (('If-Match: "abc", *',), 412),
        # If-Unmodified-Since (section 13.1.4)
        ((f"If-Unmodified-Since: {SAME}",), None),
        ((f"If-Unmodified-Since: {AFTER}",), None),
        ((f"If-Unmodified-Since: {BEFORE}",), 412),
        (("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT",), 412),
        (("If-Unmodified-Since: yesterday",), None),
        (("If-Unmodified-Since:",), None),
        ((f"If-Unmodified-Since: {BEFORE}", f"If-Unmodified-Since: {BEFORE}"), None),
        # Precedence (section 13.2.2)
        (('If-None-Match: "x"', f"If-Modified-Since: {AFTER}"), None),
        (("If-None-Match: x", f"If-Modified-Since: {AFTER}"), None),
        (("If-None-Match:", f"If-Modified-Since: {AFTER}"), None),
        (('If-None-Match: "abc"', f"If-Modified-Since: {BEFORE}"), 304),
        (('If-Match: "abc"', f"If-Unmodified-Since: {BEFORE}"), None),
        (('If-Match: "x"', f"If-Unmodified-Since: {AFTER}"), 412),
        (("If-Match:", f"If-Unmodified-Since: {AFTER}"), 412),
        (('If-Match: "x"', 'If-None-Match: "abc"'), 412),
        (('If-Match: "abc"', 'If-None-Match: "abc"'), 304),
        (('If-Match: "abc"', f"If-Modified-Since: {AFTER}"), 304),
        ((f"If-Unmodified-Since: {BEFORE}", 'If-None-Match: "abc"'), 412),
        ((f"If-Unmodified-Since: {AFTER}", f"If-Modified-Since: {AFTER}"), 304),
        # Fields that are no preconditions
        (('If-Range: "x"', 'If: "x"', 'If-None-Matches: "abc"', 'X-If-Match: "x"'), None),
    ],
)
def test_preconditions_of_reads(lines: tuple[str, ...], status: int | None) -> None:
    assert read(*lines) == status


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((f"If-None-Match: {WEAK}",), 304),
        (('If-None-Match: "abc-w"',), 304),
        (('If-None-Match: "x", "abc-w"',), 304),
        (('If-None-Match: "abc"',), None),
        ((f"If-Match: {WEAK}",), 412),  # the strong comparison needs two strong tags
        (('If-Match: "abc-w"',), 412),
        (("If-Match: *",), None),
    ],
)
def test_reads_of_a_young_file(lines: tuple[str, ...], status: int | None) -> None:
    assert read(*lines, tag=WEAK) == status


def test_tag_of_a_young_file_stops_matching() -> None:
    assert read(f"If-None-Match: {WEAK}") is None
    assert read('If-None-Match: "abc-w"') is None


# --- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "there", "not_there"),
    [
        ((), True, True),
        (("If-Match: *",), True, False),
        (('If-Match: "abc"',), True, False),
        (('If-Match: "x", "abc"',), True, False),
        (('If-Match: "abc-gzip"',), True, False),
        (('If-Match: "abc-br"',), True, False),
        (('If-Match: "abc-zstd"',), True, False),
        (('If-Match: "x"', 'If-Match: "abc-zstd"'), True, False),
        (('If-Match: "abc-gzip-1f"',), True, False),  # with the version of a sibling
        (('If-Match: W/"abc-gzip-1f"',), False, False),
        (('If-Match: "abc-gzipped"',), False, False),
        (('If-Match: "abcd-gzip"',), False, False),
        (('If-Match: "-gzip"',), False, False),
        (('If-Match: "abc-identity"',), False, False),
        (('If-Match: "abc-w"',), False, False),
        (('If-Match: W/"abc"',), False, False),
        (('If-Match: "x"',), False, False),
        (("If-Match: abc",), False, False),
        (("If-Match:",), False, False),
        (('If-Match: "abc",*',), False, False),
        (("If-Match: *, *",), False, False),
        (("If-None-Match: *",), False, True),
        (('If-None-Match: "abc"',), False, True),
        (('If-None-Match: W/"abc"',), False, True),
        (('If-None-Match: "abc-gzip"',), False, True),
        (('If-None-Match: W/"abc-gzip-1f"',), False, True),
        (('If-None-Match: "x"',), True, True),
        (('If-None-Match: W/"x", "y"',), True, True),
        (("If-None-Match:",), True, True),
        (("If-None-Match: x",), False, True),  # malformed
        (('If-None-Match: "x", *',), False, True),
        (("If-None-Match: *", "If-None-Match: *"), False, True),
        ((f"If-Unmodified-Since: {SAME}",), True, True),
        ((f"If-Unmodified-Since: {AFTER}",), True, True),
        ((f"If-Unmodified-Since: {BEFORE}",), False, True),
        (("If-Unmodified-Since: yesterday",), True, True),
        ((f"If-Unmodified-Since: {BEFORE}", 'If-Match: "abc"'), True, False),
        ((f"If-Unmodified-Since: {AFTER}", 'If-Match: "x"'), False, False),
        ((f"If-Modified-Since: {AFTER}",), True, True),  # applies to GET and HEAD only
        (('If-Match: "abc"', 'If-None-Match: "abc"'), False, False),
        (('If-Match: "abc"', 'If-None-Match: "x"'), True, False),
        (("If-Match: *", "If-None-Match: *"), False, False),
        ((f"If-Unmodified-Since: {AFTER}", "If-None-Match: *"), False, True),
    ],
)
def test_preconditions_of_writes(lines: tuple[str, ...], there: bool, not_there: bool) -> None:
    assert write(*lines) is there
    assert write(*lines, tag=None) is not_there


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"If-Match: {WEAK}", False),
        ('If-Match: "abc-w"', False),
        ('If-Match: "abc-w-gzip"', False),
        ("If-Match: *", True),
        (f"If-None-Match: {WEAK}", False),
        ('If-None-Match: W/"abc-w-gzip"', False),
        ("If-None-Match: *", False),
        ('If-None-Match: "abc"', True),
    ],
)
def test_writes_over_a_young_file(line: str, expected: bool) -> None:
    assert write(line, tag=WEAK) is expected


def test_a_short_year_is_near_the_time_of_day() -> None:
    now = time.time()
    year = time.gmtime(now).tm_year
    for years, expected in ((-10, False), (40, True), (60, False)):
        line = f"If-Unmodified-Since: Friday, 01-Jan-{(year + years) % 100:02} 00:00:00 GMT"
        assert check_write(headers(line), TAG, int(now), now) is expected


# --- If-Range ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), True),
        (('If-Range: "abc"',), True),
        ((f"If-Range: {SAME}",), True),
        (("If-Range: Sunday, 06-Nov-94 08:49:37 GMT",), True),
        (("If-Range: Sun Nov  6 08:49:37 1994",), True),
        ((f"If-Range: {AFTER}",), False),
        ((f"If-Range: {BEFORE}",), False),
        (('If-Range: W/"abc"',), False),
        (('If-Range: "x"',), False),
        (('If-Range: "abc-gzip"',), False),
        (('If-Range: "abc", "x"',), False),  # one tag, not a list
        (('If-Range: "abc"', 'If-Range: "abc"'), False),
        (("If-Range: *",), False),
        (("If-Range: abc",), False),
        (("If-Range:",), False),
        (('If-None-Match: "x"',), True),
    ],
)
def test_if_range(lines: tuple[str, ...], expected: bool) -> None:
    assert applies(*lines) is expected


def test_if_range_never_matches_a_weak_tag() -> None:
    assert not applies(f"If-Range: {WEAK}", tag=WEAK)
    assert not applies('If-Range: "abc-w"', tag=WEAK)
    assert applies(tag=WEAK)


def test_if_range_with_a_date_of_the_current_second() -> None:
    assert not applies(f"If-Range: {SAME}", now=MODIFIED)
    assert not applies(f"If-Range: {SAME}", now=MODIFIED + 0.999)
    assert applies(f"If-Range: {SAME}", now=MODIFIED + 1)
    assert applies(f"If-Range: {TAG}", now=MODIFIED)


# --- whether there are any -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["If-Match", "if-none-match", "IF-MODIFIED-SINCE", "If-Unmodified-Since"]
)
def test_fields_that_are_preconditions(name: str) -> None:
    assert has_conditions(headers(f"{name}: x"))
    assert has_conditions(headers(f"{name}:"))


def test_fields_that_are_no_preconditions() -> None:
    assert not has_conditions(Headers())
    assert not has_conditions(headers('If-Range: "x"', 'X-If-Match: "a"', "A: If-Match: *"))


# --- against a model -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Tag:
    """A tag as section 8.8.3 describes it; `opaque` is without quotes."""

    weak: bool
    opaque: str

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


@dataclass(frozen=True)
class Field:
    """The value of a field: `*`, a list, a date, or malformed (None), and its text."""

    meaning: str | list[Tag] | int | None
    lines: tuple[str, ...]


class Date(Field):
    meaning: int


OF_FILES = ["a", "b", "a,b", "", "\xe9", "*", "W/"]  # no coding's name ends one
ENCODED = ["a-gzip", "a-br", "a-zstd", "a-br-7", "a-gzip-br", "-gzip", "a-gzipped", "a-deflate"]
CURRENT = st.builds(Tag, st.booleans(), st.sampled_from(OF_FILES))
TAGS = st.builds(Tag, st.booleans(), st.sampled_from(OF_FILES + ENCODED))
GAPS = st.sampled_from([",", ", ", " ,", ",,", "\t,\t,", " , , "])


@st.composite
def lists(draw: st.DrawFn) -> Field:
    """A well-formed list, over one line or two."""
    tags = draw(st.lists(TAGS, max_size=4))
    text = draw(st.sampled_from(["", ",", " , "]))
    for one in tags:
        text += f"{one}{draw(GAPS)}"
    if draw(st.booleans()):
        text = text.rstrip(" \t,")
    if len(tags) > 1 and draw(st.booleans()):
        return Field(tags, (str(tags[0]), ", ".join(map(str, tags[1:]))))
    return Field(tags, (text,))


MALFORMED = st.sampled_from(["a", '"a" "b"', 'w/"a"', '"a', "*, *", '"a", *', 'W/ "a"', "'a'", ";"])
TAG_FIELDS = st.one_of(
    st.none(),
    st.just(Field("*", ("*",))),
    lists(),
    lists(),
    MALFORMED.map(lambda text: Field(None, (text,))),
)
DATE_FIELDS = st.one_of(
    st.none(),
    st.integers(998, 1002).map(lambda date: Field(date, (formatdate(date, usegmt=True),))),
    st.sampled_from(["", "x", "1000", "Thu, 01 Jan 1970 00:16:40"]).map(
        lambda text: Field(None, (text,))
    ),
    st.just(Field(None, (formatdate(1000, usegmt=True),) * 2)),
)


def is_date(field: Field | None) -> TypeGuard[Date]:
    """Whether the field is a precondition: present and with a date."""
    return field is not None and isinstance(field.meaning, int)


def strongly(one: Tag, other: Tag) -> bool:
    return not one.weak and not other.weak and one.opaque == other.opaque


def weakly(one: Tag, other: Tag) -> bool:
    return one.opaque == other.opaque


def if_match(field: Field, current: list[Tag]) -> bool:
    """Section 13.1.1; `current` is empty where there is no file."""
    if field.meaning == "*":
        return bool(current)
    if isinstance(field.meaning, list):
        return any(strongly(one, other) for one in field.meaning for other in current)
    return False


def if_none_match(field: Field, current: list[Tag], malformed: bool) -> bool:
    """Section 13.1.2; malformed values are not modelled."""
    if field.meaning == "*":
        return not current
    if isinstance(field.meaning, list):
        return not any(weakly(one, other) for one in field.meaning for other in current)
    return malformed


def request(**fields: Field | None) -> Headers:
    lines = ["Host: x"]
    for name, field in fields.items():
        if field is not None:
            lines += [f"{name.replace('_', '-')}: {line}" for line in field.lines]
    return Headers("".join(f"\r\n{line}" for line in lines))


@pytest.mark.slow
@settings(max_examples=400)
@given(TAGS, st.integers(998, 1002), TAG_FIELDS, DATE_FIELDS, TAG_FIELDS, DATE_FIELDS)
def test_reads_against_the_steps_of_the_rfc(
    tag: Tag,
    modified: int,
    match: Field | None,
    unmodified: Field | None,
    none_match: Field | None,
    since: Field | None,
) -> None:
    fields = request(
        If_None_Match=none_match,
        If_Unmodified_Since=unmodified,
        If_Modified_Since=since,
        If_Match=match,
    )

    def expected() -> int | None:
        # 1. and 2.
        if match is not None:
            if not if_match(match, [tag]):
                return 412
        elif is_date(unmodified) and not modified <= unmodified.meaning:
            return 412
        # 3. and 4.
        if none_match is not None:
            if not if_none_match(none_match, [tag], True):
                return 304
        elif is_date(since) and not modified > since.meaning:
            return 304
        return None

    assert check_read(fields, str(tag), modified, NOW) == expected()
    given_any = any(one is not None for one in (match, unmodified, none_match, since))
    assert has_conditions(fields) is given_any


@pytest.mark.slow
@settings(max_examples=400)
@given(
    st.none() | CURRENT, st.integers(998, 1002), TAG_FIELDS, DATE_FIELDS, TAG_FIELDS, DATE_FIELDS
)
def test_writes_against_the_steps_of_the_rfc(
    tag: Tag | None,
    modified: int,
    match: Field | None,
    unmodified: Field | None,
    none_match: Field | None,
    since: Field | None,
) -> None:
    fields = request(
        If_Match=match,
        If_Unmodified_Since=unmodified,
        If_None_Match=none_match,
        If_Modified_Since=since,
    )
    current = (
        []
        if tag is None
        else [
            Tag(tag.weak, tag.opaque + ending)
            for ending in ("", "-gzip", "-br", "-zstd", "-br-7", "-gzip-br")
        ]
    )

    def expected() -> bool:
        if match is not None:
            if not if_match(match, current):
                return False
        elif is_date(unmodified) and tag is not None and modified > unmodified.meaning:
            return False
        return none_match is None or if_none_match(none_match, current, tag is None)

    if tag is None:
        assert check_write(fields, None, None, NOW) is expected()
    else:
        assert check_write(fields, str(tag), modified, NOW) is expected()


@pytest.mark.slow
@settings(max_examples=300)
@given(
    TAGS,
    st.integers(998, 1002),
    st.sampled_from([998.0, 1000.0, 1001.0, 1001.5, 1003.0, NOW]),
    st.none() | TAGS | st.integers(998, 1002),
)
def test_if_range_against_a_model(
    tag: Tag, modified: int, now: float, asked: Tag | int | None
) -> None:
    match asked:
        case None:
            fields, expected = headers(), True
        case Tag():
            fields, expected = headers(f"If-Range: {asked}"), strongly(asked, tag)
        case _:
            fields = headers(f"If-Range: {formatdate(asked, usegmt=True)}")
            expected = asked == modified and now >= modified + 1
    assert range_applies(fields, str(tag), modified, now) is expected


# --- long values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        '"a",' * (LONG // 4),
        'W/"a",' * (LONG // 6),
        '"' * LONG,
        "," * LONG,
        '"a"' + " " * LONG + "x",
        "*," * (LONG // 2),
        "Sun, " * (LONG // 5),
        '"' + "\xff" * LONG + '"',
    ],
    ids=lambda value: value[:6],
)
@pytest.mark.parametrize(
    "name",
    ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"],
)
def test_long_values_take_linear_time(name: str, value: str) -> None:
    fields = headers(f"{name}: {value}")
    began = time.process_time()
    check_read(fields, TAG, MODIFIED, NOW)
    check_write(fields, TAG, MODIFIED, NOW)
    range_applies(fields, TAG, MODIFIED, NOW)
    assert time.process_time() - began < 2
