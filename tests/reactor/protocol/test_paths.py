"""Decoded paths: what is decoded, what stays, and that no two paths look the same."""

from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.protocol.paths import decode_path

DECODED = {
    "/": "/",
    "/a%20b": "/a b",
    "/%61dmin": "/admin",
    "/W%C3%B6rld": "/Wörld",
    "/a%2Fb": "/a%2Fb",
    "/a%2fb": "/a%2Fb",
    "/100%25": "/100%25",
    "/a%252Fb": "/a%252Fb",
    "/%25%32%46": "/%252F",
    "/%2525": "/%2525",
    "/%ff": "/%FF",
    "/%C3%28": "/%C3(",
    "/%c0%af": "/%C0%AF",  # an overlong slash
    "/%ed%a0%80": "/%ED%A0%80",  # half of a surrogate pair
    "/%2e%2E/": "/../",
    "/%00%0d%0A": "/\0\r\n",
    "/%5C": "/\\",
    "/%3Fa%23": "/?a#",
}


@pytest.mark.parametrize("sent", DECODED)
def test_a_path_is_decoded_but_for_what_would_be_ambiguous(sent: str) -> None:
    assert decode_path(sent) == DECODED[sent]


@pytest.mark.parametrize("sent", ["/%", "/%6", "/%zz", "/%61%", "/%%32F", "/%252%", "/%u0061"])
def test_a_malformed_path_stays_as_it_came(sent: str) -> None:
    assert decode_path(sent) == sent


def bytes_of_segments(path: str) -> list[bytes]:
    return [unquote_to_bytes(segment) for segment in path.split("/")]


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"%2F", b"/", b"%", b"\xff/%25"])))
def test_the_segments_of_a_path_survive(segments: list[bytes]) -> None:
    """So two paths look the same if, and only if, they have the same segments."""
    sent = "/".join(["", *(quote_from_bytes(one, safe="") for one in segments)])
    decoded = decode_path(sent)
    decoded.encode()  # it is text
    assert bytes_of_segments(decoded) == bytes_of_segments(sent)
    assert decoded.upper().count("%") == sum(
        decoded.count(f"%{byte:02X}") for byte in (0x25, 0x2F, *range(0x80, 0x100))
    )


@given(st.text("/%0123456789abcdefABCDEF.", max_size=12))
def test_no_text_makes_an_encoded_slash_out_of_other_escapes(text: str) -> None:
    decoded = decode_path(f"/{text}")
    if decoded != f"/{text}":
        assert bytes_of_segments(decoded) == bytes_of_segments(f"/{text}")
