"""The Vary field: names are added once, and nothing else is lost."""

import pytest

from reactor.web.semantics.vary import fields_with_vary, vary_with


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "Accept"),
        ("TE", "TE, Accept"),
        ("accept , TE", "accept , TE"),
        ("*", "*"),
        ("Accept-Encoding", "Accept-Encoding, Accept"),
    ],
)
def test_a_name_is_added_once(given: str, expected: str) -> None:
    assert vary_with(given, "Accept") == expected
    assert vary_with(expected, "Accept") == expected


def test_fields_have_one_vary() -> None:
    fields = (("Vary", "TE"), ("Allow", "GET"), ("vary", "Origin"))
    assert fields_with_vary(fields, "Accept") == (("Allow", "GET"), ("Vary", "TE, Origin, Accept"))
    assert fields_with_vary((), "Accept") == (("Vary", "Accept"),)
