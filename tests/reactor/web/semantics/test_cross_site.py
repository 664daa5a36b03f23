"""Which site's page sent a request, as far as the browser says."""

import pytest

from reactor import Headers, ProtocolError
from reactor.messages.request import BaseRequest
from reactor.web.semantics.cross_site import origin_of, refuse_foreign


def ask(host: str, *fields: str) -> BaseRequest:
    lines = "".join(f"\r\n{field}" for field in fields)
    request = BaseRequest("POST", "/files/a", "/files/a", "", 1, Headers(lines))
    request.host = host
    return request


@pytest.mark.parametrize(
    "fields",
    [
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: Cross-Site",),
        ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
        ("Sec-Fetch-Site: cross-site", "Origin: http://example.com"),
        ("Sec-Fetch-Site: same-site", "Origin: http://example.com"),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: ",),
        ("Sec-Fetch-Site: same-origin, cross-site",),
        ("Sec-Fetch-Site: nonesuch", "Origin: http://example.com"),
        ("Sec-Fetch-Site: same-site", "Origin: http://www.example.com"),
        ("Origin: http://evil.example",),
        ("Origin: null",),
        ("Origin: ",),
        ("Origin: http://",),
        ("Origin: http://example.com:8080",),
        ("Origin: http://example.com:443",),
        ("Origin: https://example.com:80",),
        ("Origin: http://example.com.evil.example",),
        ("Origin: http://evil.example/example.com",),
        ("Origin: http://evil.example://example.com",),
        ("Origin: http://example.com@evil.example",),
        ("Origin: ftp://example.com",),
        ("Origin: example.com",),
        ("Origin: http://example.com, http://evil.example",),
        ("Origin: http://example.com", "Origin: http://evil.example"),
    ],
)
def test_requests_from_another_site_are_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError) as caught:
        refuse_foreign(ask("example.com", *fields))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("example.com", ()),
        ("", ()),
        ("example.com", ("Origin: http://example.com",)),
        ("Example.com", ("origin: http://EXAMPLE.com",)),
        ("example.com:80", ("Origin: http://example.com",)),
        ("example.com", ("Origin: http://example.com:80",)),
        ("example.com", ("Origin: https://example.com",)),
        ("example.com:443", ("Origin: https://example.com",)),
        ("localhost:4221", ("Origin: http://localhost:4221",)),
        ("[::1]:80", ("Origin: http://[::1]",)),
        ("example.com", ("Sec-Fetch-Site: same-origin", "Origin: http://example.com")),
        ("example.com", ("Sec-Fetch-Site: none",)),
        ("example.com", ("Sec-Fetch-Site: Same-Origin",)),
        # A proxy has replaced Host by its own name; the page hides its origin.
        ("backend:4221", ("Sec-Fetch-Site: same-origin", "Origin: https://example.com")),
        ("example.com", ("Sec-Fetch-Site: same-origin", "Origin: null")),
        ("example.com", ("Sec-Fetch-Site: none", "Origin: null")),
    ],
)
def test_requests_from_our_own_site_are_allowed(host: str, fields: tuple[str, ...]) -> None:
    refuse_foreign(ask(host, *fields))


@pytest.mark.parametrize("origin", ["http://:80", "http://", "https://:443", "null"])
def test_origin_without_any_host(origin: str) -> None:
    with pytest.raises(ProtocolError):
        refuse_foreign(ask("", f"Origin: {origin}"))


TRUSTED = frozenset({"http://files.lan:8080", "https://app.example", "http://[::1]:3000"})


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        # A proxy on plain HTTP has replaced Host, or its port is lost.
        ("127.0.0.1:4221", ("Origin: http://files.lan:8080",)),
        ("files.lan", ("Origin: http://files.lan:8080",)),
        ("files.lan", ("Origin: HTTP://Files.LAN:8080",)),
        ("", ("Origin: https://app.example",)),
        ("files.lan", ("Origin: https://app.example:443",)),
        ("files.lan", ("Origin: http://[::1]:3000",)),
        ("files.lan", ("Origin: http://files.lan", "Origin: https://app.example")),
        ("files.lan", ("Sec-Fetch-Site: same-site", "Origin: https://app.example")),
        ("files.lan", ("Sec-Fetch-Site: cross-site", "Origin: https://app.example")),
    ],
)
def test_pages_of_trusted_origins_are_allowed(host: str, fields: tuple[str, ...]) -> None:
    refuse_foreign(ask(host, *fields), TRUSTED)
    with pytest.raises(ProtocolError):
        refuse_foreign(ask(host, *fields))


@pytest.mark.parametrize(
    "fields",
    [
        ("Origin: http://files.lan:8081",),
        ("Origin: http://files.lan:80800",),
        ("Origin: https://files.lan:8080",),
        ("Origin: http://files.lan:8080/",),
        ("Origin: http://files.lan:8080.evil.example",),
        ("Origin: http://files.lan:8080@evil.example",),
        ("Origin: http://evil.example, http://files.lan:8080",),
        ("Origin: http://files.lan:8080", "Origin: http://evil.example"),
        ("Origin: http://app.example",),
        ("Origin: https://app.example:80",),
        ("Origin: https://xapp.example",),
        ("Origin: https://app.example.",),
        ("Origin: null",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: cross-site", "Origin: null"),
        ("Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:4221"),
        ("Sec-Fetch-Site: cross-site", "Origin: https://app.example", "Origin: http://evil"),
    ],
)
def test_pages_of_other_origins_are_refused_beside_trusted_ones(fields: tuple[str, ...]) -> None:
    with pytest.raises(ProtocolError):
        refuse_foreign(ask("127.0.0.1:4221", *fields), TRUSTED)


def test_the_refusal_names_the_origin_and_the_option() -> None:
    for host, field, named in (
        ("127.0.0.1:4221", "Origin: http://files.lan:8080", "'http://files.lan:8080'"),
        ("", "Sec-Fetch-Site: cross-site", "an unnamed origin"),
    ):
        with pytest.raises(ProtocolError) as caught:
            refuse_foreign(ask(host, field))
        assert caught.value.reason == (
            "Pages of other sites may not send this request. It comes from a page of "
            f"{named}; the option --trusted-origins URL,… names origins whose pages may send it."
        )


def test_the_refusal_repeats_little_of_a_long_or_strange_origin() -> None:
    with pytest.raises(ProtocolError) as caught:
        refuse_foreign(ask("h" * 9000, "Origin: http://<b>\xff" + "x" * 9000))
    assert len(caught.value.reason) < 500
    assert caught.value.reason.isprintable()
    assert "\xff" not in caught.value.reason


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://files.lan:8080", "http://files.lan:8080"),
        ("http://files.lan", "http://files.lan"),
        ("http://files.lan/", "http://files.lan"),
        ("HTTPS://Files.Lan:443", "https://files.lan"),
        ("http://files.lan:80/", "http://files.lan"),
        ("http://files.lan:443", "http://files.lan:443"),
        ("http://127.0.0.1:4221", "http://127.0.0.1:4221"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[2001:DB8::5]", "http://[2001:db8::5]"),
        ("moz-extension://0a1b", "moz-extension://0a1b"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    assert origin_of(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "*", "files.lan", "files.lan:8080", "//files.lan", "http://", "http:///"),
        *("http://a/b", "http://a?b", "http://a#b", "http://u@a", "http://a:", "http://a:x"),
        *("http://*.a", "http://a b", "http://.a", "http://a..b", "http://[::1", "http://\u00e9"),
        *("http://a:65536", "http://a:808080", "http://a:0x50", "http://a\n"),
    ],
)
def test_no_origins(text: str) -> None:
    with pytest.raises(ValueError, match=r"scheme://host or scheme://host:port"):
        origin_of(text)
