"""Items of Structured Fields, with parameters of every type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.web.semantics.structured_fields import boolean_item, integer_item

PARAMETERS = [
    "",
    ";a",
    "; a;  b;*c",
    ";a=1;b=-1.5;c=999999999999999",
    ';a=""',
    ';a="b;c"',
    ';a="b,c"; d',
    r';a="\";?1"',
    r';a="\\";b="c;d=\"e\""',
    ";a=token;b=*to/k:en!#$",
    ";a=:aGk=:;b=::",
    ";a=?0;b=?1",
    ";a=@1659578233;b=@-1",
    ';a=%"f%c3%bc;,"',
    ";a_-.*1=x",
    ';a="b%ff"',
]
MALFORMED = [
    ";",
    ";;a",
    ";A",
    ";1",
    ";=1",
    ";a=",
    ";a =1",
    ";a= 1",
    ";\ta",
    " ;a",
    ';a="b',
    ';a="b"c',
    r';a="\b"',
    ';a="\t"',
    ';a="\xe9"',
    ";a=1.",
    ";a=1.2345",
    ";a=1234567890123.1",
    ";a=1234567890123456",
    ";a=--1",
    ";a=?2",
    ";a=:%:",
    ";a=:YQ==",
    ";a=@1.5",
    ';a=%"%C3%BC"',
    ';a=%"%ff"',
    ';a="%";b=%"%c3"',
    ";a=(1)",
    ", ?1",
]


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_parameters_are_ignored(parameters: str) -> None:
    assert boolean_item(f"?0{parameters}") is False
    assert boolean_item(f"  ?1{parameters}  ") is True
    assert integer_item(f"12{parameters}") == 12
    assert integer_item(f"-3{parameters}") == -3


@pytest.mark.parametrize("parameters", MALFORMED)
def test_malformed_parameters_make_the_field_malformed(parameters: str) -> None:
    assert boolean_item(f"?0{parameters}") is None
    assert integer_item(f"1{parameters}") is None


@given(st.lists(st.sampled_from(PARAMETERS)), st.sampled_from(["", *MALFORMED]))
def test_any_number_of_parameters(parts: list[str], end: str) -> None:
    value = "".join(parts) + end
    assert boolean_item(f"?0{value}") is (None if end else False)


@given(st.text('?01;ab= ",\\%:@.-', max_size=12))
def test_a_value_that_is_taken_begins_with_its_item(text: str) -> None:
    value = boolean_item(text)
    if value is not None:
        assert text.strip(" ")[:2] == f"?{int(value)}"
        assert text.strip(" ")[2:3] in ("", ";")
