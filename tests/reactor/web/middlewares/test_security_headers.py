"""SecurityHeaders: fields that are added unless the response has them."""

from typing import Any

import pytest

from reactor import Headers, Response
from reactor.testing import Client
from reactor.web.app.requests import Request
from reactor.web.middlewares import SecurityHeaders
from tests.support.middleware_app import PATHS, SHARED, STATUSES, application, served

DEFAULTS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
}
HSTS = "strict-transport-security"


def after(middleware: SecurityHeaders, scheme: str, headers: Any = ()) -> dict[str, str]:
    request = Request("GET", "/", "/", "", 1, Headers())
    request.scheme = scheme
    response = middleware.after(request, Response(200, b"", headers))
    found = {name.lower(): value for name, value in response.headers}
    assert len(found) == len(response.headers)
    return found


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_the_fields(path: str) -> None:
    with served(SecurityHeaders()) as client:
        response = client.get(path)
        assert response.status == STATUSES[path]
        for name, value in DEFAULTS.items():
            assert response.headers.get_all(name) == [value]
        assert HSTS not in response.headers
        assert "permissions-policy" not in response.headers


def test_a_shared_response_is_not_changed() -> None:
    with served(SecurityHeaders()) as client:
        client.get("/shared")
        assert len(client.get("/shared").headers.get_all("referrer-policy")) == 1
    assert len(SHARED.headers) == 1


def test_fields_of_the_response_are_kept() -> None:
    app = application(SecurityHeaders())
    own = [("referrer-POLICY", "no-referrer"), ("Content-Security-Policy", "default-src 'self'")]
    app.add("GET", "/own", lambda request: Response(200, b"", own))
    with Client(app) as client:
        headers = client.get("/own").headers
        assert headers.get_all("referrer-policy") == ["no-referrer"]
        assert headers.get_all("content-security-policy") == ["default-src 'self'"]
        assert headers.get_all("x-frame-options") == ["DENY"]


def test_strict_transport_security_is_sent_over_https_only() -> None:
    year = "max-age=31536000"
    assert HSTS not in after(SecurityHeaders(), "http")
    assert after(SecurityHeaders(), "https")[HSTS] == year
    assert after(SecurityHeaders(hsts_always=True), "http")[HSTS] == year
    assert after(SecurityHeaders(), "https", [(HSTS, "max-age=0")])[HSTS] == "max-age=0"
    assert HSTS not in after(SecurityHeaders(hsts_seconds=0, hsts_always=True), "https")
    middleware = SecurityHeaders(hsts_seconds=63072000, hsts_subdomains=True, hsts_preload=True)
    assert after(middleware, "https")[HSTS] == "max-age=63072000; includeSubDomains; preload"


@pytest.mark.parametrize(
    ("frames", "policy", "expected"),
    [
        ("SAMEORIGIN", "", ("SAMEORIGIN", "frame-ancestors 'self'")),
        ("DENY", "default-src 'self'; ", ("DENY", "default-src 'self'; frame-ancestors 'none'")),
        ("DENY", "Frame-Ancestors 'self'", ("DENY", "Frame-Ancestors 'self'")),
        ("", "default-src 'self'", (None, "default-src 'self'")),
        ("", "", (None, None)),
        ("", "; ", (None, None)),
        ("DENY", " ", ("DENY", "frame-ancestors 'none'")),
    ],
)
def test_frames_are_limited_by_two_fields(frames: Any, policy: str, expected: Any) -> None:
    found = after(SecurityHeaders(frames=frames, content_security_policy=policy), "http")
    assert (found.get("x-frame-options"), found.get("content-security-policy")) == expected


def test_empty_fields_are_left_out() -> None:
    bare = SecurityHeaders(referrer_policy="", frames="", opener_policy="", hsts_seconds=0)
    assert after(bare, "https") == {"x-content-type-options": "nosniff"}
    middleware = SecurityHeaders(permissions_policy="camera=()")
    assert after(middleware, "http")["permissions-policy"] == "camera=()"


@pytest.mark.parametrize(
    "options",
    [
        {"frames": "ALLOW"},
        {"referrer_policy": "a\r\nSet-Cookie: b"},
        {"permissions_policy": "é"},
        {"content_security_policy": "a\nb"},
        {"referrer_policy": " "},
        {"hsts_seconds": -1},
        {"hsts_preload": True},
        {"hsts_preload": True, "hsts_subdomains": True, "hsts_seconds": 3600},
    ],
)
def test_options(options: Any) -> None:
    with pytest.raises(ValueError):
        SecurityHeaders(**options)
