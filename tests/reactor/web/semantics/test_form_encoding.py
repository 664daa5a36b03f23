"""Names and values of forms and queries: what urllib decodes, in a hundredth of its time."""

from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.web.semantics.form_encoding import decode_component

SIGNS = [
    "%%",
    "%41",
    "%C3%A9",
    "%25",
    "%3D",
    "%3d",
    "%0A",
    "%2B",
    "%f0",
    "%ff",
    "%FE",
    "%fd",
    "%fC",
]
PIECES = st.lists(
    st.sampled_from([*"%3dDfFeE=+a\n\r_é&\t.\ud7ff\U0001f600", *SIGNS]), max_size=12
).map("".join)


def expected(text: str) -> str | None:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        return None


def decoded(text: str) -> str | None:
    try:
        return decode_component(text)
    except UnicodeDecodeError:
        return None


@given(PIECES)
def test_it_decodes_as_urllib_does(text: str) -> None:
    assert decoded(text) == expected(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_text_comes_back(text: str) -> None:
    assert decode_component(quote_plus(text)) == text
    assert decode_component(quote_plus(text).lower()) == unquote_plus(quote_plus(text).lower())


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_in_either_case(byte: int) -> None:
    for text in (
        f"%{byte:02x}",
        f"%{byte:02X}",
        f"%%{byte:02x}",
        f"a%C3%{byte:02x}=",
        f"{byte:02x}%",
    ):
        assert decoded(text) == expected(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("a+b", "a b"),
        ("%2B+%20", "+  "),
        ("100%", "100%"),
        ("%", "%"),
        ("%%%", "%%%"),
        ("%%41", "%A"),
        ("%4", "%4"),
        ("%zz", "%zz"),
        ("%2541", "%41"),
        ("a=b%3Dc", "a=b=c"),
        ("line%0D%0Aline\r\n%\n%", "line\r\nline\r\n%\n%"),
        ("=41", "=41"),
    ],
)
def test_signs_that_are_no_escapes_stand_for_themselves(text: str, value: str) -> None:
    assert decode_component(text) == value


@pytest.mark.parametrize("text", ["%ff", "a%FE", "%fd%fc", "%80", "%c3", "%ed%a0%80", "%f8%88"])
def test_bytes_that_are_not_utf_8_are_refused(text: str) -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_component(text)
