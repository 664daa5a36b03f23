"""The fields of a response, and its Vary field."""

import pytest

from reactor import Response
from reactor.web.middlewares.fields import has_field, varying


def test_a_field_is_found_in_any_case() -> None:
    response = Response(404, b"x", [("A", "1"), ("x-B", "2")])
    assert has_field(response, "a")
    assert has_field(response, "x-b")
    assert not has_field(response, "b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "Origin"),
        ([("Vary", "Accept")], "Accept, Origin"),
        ([("vary", "Accept"), ("Vary", "TE")], "Accept, TE, Origin"),
        ([("Vary", "accept , ORIGIN")], "accept , ORIGIN"),
        ([("Vary", "*")], "*"),
        ([("Vary", "Original")], "Original, Origin"),
    ],
)
def test_the_vary_field(given: list[tuple[str, str]], expected: str) -> None:
    response = Response(200, b"", [("A", "1"), *given])
    found = varying(response, "Origin")
    values = [value for name, value in found.headers if name.lower() == "vary"]
    assert values == [expected]
    assert ("A", "1") in found.headers
    assert len(response.headers) == 1 + len(given)
