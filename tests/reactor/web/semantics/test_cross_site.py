"""Which site's page sent a request, as far as the browser says."""

import pytest

from reactor import Headers, ProtocolError
from reactor.messages.request import BaseRequest
from reactor.web.semantics.cross_site import refuse_foreign


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
