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


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("127.0.0.1", "127.0.0.1", None),
        ("localhost", "localhost", None),
        ("localhost:0", "localhost", 0),
        (":8080", "", 8080),
        ("", "", None),
        ("*", "", None),
        ("*:80", "", 80),
        ("[::1]:8080", "::1", 8080),
        ("[::1]", "::1", None),
        ("::1", "::1", None),
        ("::", "::", None),
        ("[::]:0", "::", 0),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", None),
        ("a.b-c_d.example:65535", "a.b-c_d.example", 65535),
    ],
)
def test_places(text: str, host: str, port: int | None) -> None:
    assert types.place(text) == types.ListenPlace(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("http://localhost:80", "localhost/", "localhost:80/", "user@localhost", "a b", "a\nb"),
        *("[::1", "::1]", "[::1]80", "[::1]:", "[::1]:x", "[localhost]:80", "[]:80", "[127.0.0.1]"),
        *("localhost:", "localhost:x", "localhost:65536", "localhost:-1", "localhost:+1", ":"),
        *("unix:/run/socket", "a:b:c", "1:2:3", "[::1]:80:80", "\0", "127.0.0.1:\u0664"),
    ],
)
def test_texts_that_are_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        types.place(text)


@pytest.mark.parametrize("text", ["::1:8080", "2001:db8::1:80", "fe80::1:0"])
def test_ipv6_addresses_that_may_have_a_port(text: str) -> None:
    head, _, tail = text.rpartition(":")
    with pytest.raises(ValueError, match="is ambiguous: write ") as caught:
        types.place(text)
    assert str(caught.value).endswith(f"write [{text}] or [{head}]:{tail}")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        *(("localhost", "localhost"), ("::1", "::1"), ("[::1]", "::1"), ("", ""), ("*", "")),
        *(("2001:db8::1:80", "2001:db8::1:80"), ("192.0.2.1", "192.0.2.1"), ("a..b", "a..b")),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert types.host(text) == host


@pytest.mark.parametrize("text", ["localhost:80", "[localhost]", "[::1]:80", "a b", "a/b", "[]"])
def test_texts_that_are_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="is not a name or an address, as in localhost or ::1"):
        types.host(text)
