"""Values of options: what is taken, in which form, and the sentence for what is not."""

import pytest

from reactor.config import types


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("app:handler", True),
        ("package.module:name", True),
        ("package.module:name.attribute", True),
        ("_a1:_b2", True),
        ("m\u00f6bel:t\u00fcr", True),
        ("./a:b", False),
        ("a:b/", False),
        ("a/b:c", False),
        ("app", False),
        ("app:", False),
        (":app", False),
        ("app:1", False),
        ("a:b:c", False),
        ("a..b:c", False),
        (".a:b", False),
        ("a:b.", False),
        ("a-b:c", False),
        ("a :b", False),
        ("", False),
        (":", False),
    ],
)
def test_texts_that_name_an_application(text: str, is_one: bool) -> None:
    assert types.names_application(text) is is_one


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("100", 100), ("-5", -5), ("+5", 5), ("007", 7)]
)
def test_whole_numbers(text: str, number: int) -> None:
    assert types.whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1_0", "1.5", "1e3", "0x1", "\u0664", "9" * 5000, "-", "1\n"]
)
def test_texts_that_are_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number, as in 100"):
        types.whole_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("2.5", 2.5), ("-1", -1), ("1.", 1), ("1e3", 1000), ("1e-3", 0.001)],
)
def test_numbers(text: str, number: float) -> None:
    assert types.number(text) == number


@pytest.mark.parametrize(
    "text", ["", ".", "nan", "inf", "-inf", "1_0", "1e999", "\u0664", "9" * 5000, "1,5", "1 "]
)
def test_texts_that_are_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number, as in 2\.5"):
        types.number(text)


@pytest.mark.parametrize(("text", "port"), [("0", 0), ("80", 80), ("65535", 65535)])
def test_ports(text: str, port: int) -> None:
    assert types.port(text) == port


@pytest.mark.parametrize("text", ["", "-1", "65536", "8_0", "x", "9" * 30, "\u0664\u0662", "80 "])
def test_texts_that_are_no_port(text: str) -> None:
    with pytest.raises(ValueError, match="is not a port: a number from 0 to 65535"):
        types.port(text)


def test_a_choice_of_words() -> None:
    parse = types.one_of(("loud", "quiet"))
    assert parse("loud") == "loud"
    with pytest.raises(ValueError, match="'Loud' is not one of loud, quiet"):
        parse("Loud")


def test_the_server_field() -> None:
    assert types.server_header(" mine/1.0\t") == "mine/1.0"
    assert types.server_header("") == ""
    for text in ("a\nb", "\u20ac", "\x7f", "a\0"):
        with pytest.raises(ValueError, match="is not a value of a field"):
            types.server_header(text)
