"""Headers: a read-only, case-insensitive mapping over the text of a head."""

from collections.abc import Mapping

import pytest

from reactor.messages.headers import _KEYS, NAMES, Headers

TEXT = "\r\nHost: test\r\nX-A:  1 \r\naccept:\r\nx-a:\t2, 3\r\nCookie: id=secret"


@pytest.fixture
def headers() -> Headers:
    return Headers(TEXT)


def test_look_ups_take_names_in_any_case(headers: Headers) -> None:
    for name in ("host", "Host", "HOST"):
        assert headers[name] == headers.get(name) == "test"
        assert name in headers


def test_an_absent_field_raises_keyerror_or_has_the_default(headers: Headers) -> None:
    with pytest.raises(KeyError, match="X-B"):
        headers["X-B"]
    assert headers.get("x-b") == ""
    assert headers.get("x-b", "none") == "none"
    assert headers.get("x-b", None) is None
    assert headers.get_all("x-b") == []
    assert "x-b" not in headers


def test_an_empty_field_is_there(headers: Headers) -> None:
    assert headers["Accept"] == "" == headers.get("accept", "none")
    assert "accept" in headers
    assert headers.get_all("accept") == [""]


def test_values_of_several_lines_are_joined(headers: Headers) -> None:
    """RFC 9110, section 5.3."""
    assert headers["x-a"] == headers.get("X-A") == "1, 2, 3"
    assert headers.get_all("X-A") == ["1", "2, 3"]


def test_it_is_a_mapping_of_distinct_names(headers: Headers) -> None:
    joined = {"Host": "test", "X-A": "1, 2, 3", "accept": "", "Cookie": "id=secret"}
    assert isinstance(headers, Mapping)
    assert dict(headers) == {**headers} == joined
    assert list(headers) == list(headers.keys()) == list(joined)
    assert list(headers.values()) == list(joined.values())
    assert list(headers.items()) == list(joined.items())
    assert len(headers) == 4
    assert headers
    assert "HOST" in headers.keys()  # noqa: SIM118  # the view looks names up as the mapping does


def test_fields_are_the_lines_as_received(headers: Headers) -> None:
    assert list(headers.fields()) == [
        ("Host", "test"),
        ("X-A", "1"),
        ("accept", ""),
        ("x-a", "2, 3"),
        ("Cookie", "id=secret"),
    ]


def test_there_may_be_none() -> None:
    headers = Headers()
    assert not headers
    assert (len(headers), dict(headers), list(headers.fields())) == (0, {}, [])
    assert headers.get("host") == ""
    assert repr(headers) == "Headers({})"


def test_it_is_read_only(headers: Headers) -> None:
    with pytest.raises(TypeError):
        headers["host"] = "other"  # type: ignore[index]
    with pytest.raises(TypeError):
        del headers["host"]  # type: ignore[attr-defined]


def test_equality_does_not_depend_on_the_case_or_order_of_names(headers: Headers) -> None:
    other = Headers("\r\nX-A: 1, 2, 3\r\nHOST: test\r\nCookie: id=secret\r\nAccept: ")
    assert headers == other
    assert headers == {"host": "test", "x-a": "1, 2, 3", "accept": "", "cookie": "id=secret"}
    assert headers != Headers(TEXT.replace("test", "Test"))
    assert headers != Headers()
    assert headers != [("Host", "test")]


def test_a_repr_has_no_credentials() -> None:
    lines = ("Host: x", "Authorization: Basic me", "cookie: me", "Proxy-Authorization: me")
    shown = repr(Headers("".join(f"\r\n{line}" for line in (*lines, "Set-Cookie: me"))))
    assert shown == (
        "Headers({'Host': 'x', 'Authorization': '***', 'cookie': '***', "
        "'Proxy-Authorization': '***', 'Set-Cookie': '***'})"
    )


@pytest.mark.parametrize("name", ["host: t", "x-a: 1", ":", "x-a:  1 \r\naccept", "t\r\nx-a", ""])
def test_a_text_that_is_not_a_name_is_never_found(headers: Headers, name: str) -> None:
    assert name not in headers
    assert headers.get(name) == ""
    assert headers.get_all(name) == []


@pytest.mark.parametrize("name", [b"host", 1, None])
def test_a_name_is_a_str(headers: Headers, name: object) -> None:
    with pytest.raises(TypeError, match="the name of a header field is a str"):
        headers.get(name)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="the name of a header field is a str"):
        name in headers  # noqa: B015


def test_names_are_found_at_the_start_of_a_line_only() -> None:
    headers = Headers("\r\nX-Host: host: a\r\nA: Host:")
    assert "host" not in headers
    assert headers["a"] == "Host:"


def test_a_family_of_fields_is_found_by_how_its_names_begin() -> None:
    headers = Headers("\r\nHost: if-a\r\nX-If-B: c\r\nA: x,if-none-match: y\r\nIF-MATCH: *")
    for prefix in ("if-", "if-m", "if-match:", "host", "x-", "a:"):
        assert headers.has_prefix(prefix), prefix
    for prefix in ("if-n", "if-a", "b", "-", "match", "if-matches", "if:", "if-matc:"):
        assert not headers.has_prefix(prefix), prefix
    assert not Headers().has_prefix("a")


def test_folded_is_the_text_in_lower_case(headers: Headers) -> None:
    assert headers.folded() == TEXT.lower()
    assert "\r\nhost:" in headers.folded()


def test_values_keep_their_case_and_characters_of_latin_1() -> None:
    assert Headers("\r\nX: ÄÖÜßµ\r\nY: B")["y"] == "B"
    assert Headers("\r\nX: ÄÖÜßµ")["x"] == "ÄÖÜßµ"


def test_names_that_are_asked_for_are_remembered_up_to_a_number() -> None:
    headers = Headers("\r\nHost: a")
    for number in range(2 * NAMES):
        assert headers.get(f"X-{number}", None) is None
        assert headers.get("HOST") == headers["hOst"] == "a"
        assert len(_KEYS) <= NAMES
