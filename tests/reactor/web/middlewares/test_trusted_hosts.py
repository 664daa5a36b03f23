"""TrustedHosts: hosts that are accepted, and hosts that are refused."""

from typing import Any

import pytest

from reactor.web.middlewares import RequestId, TrustedHosts
from tests.support.middleware_app import PATHS, STATUSES, served

HOSTS = ["example.com", "*.Example.org", "127.0.0.1", "::1", "[2001:db8:0::5]", "localhost."]


@pytest.mark.parametrize(
    "host",
    [
        *("example.com", "EXAMPLE.com", "example.com:8000", "example.com.", "example.com.:80"),
        *("a.example.org", "a.b.example.org", "A.EXAMPLE.ORG:1", "example.com:"),
        *("127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:4221", "[0:0:0:0:0:0:0:1]"),
        *("[2001:DB8::5]:443", "localhost", "localhost:1"),
    ],
)
def test_hosts_that_are_trusted(host: str) -> None:
    with served(TrustedHosts(HOSTS)) as client:
        assert client.get("/plain", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("example.net", "xexample.com", "example.com.evil.net", "example.comx", "a.example.com"),
        *("example.org", "aexample.org", ".example.org.evil", "example.com..", "evil:example.com"),
        *("127.0.0.2", "[::2]", "[::ffff:7f00:1]", "::1", "", ":80", "0x7f.1", "[::1%25a]"),
        *(
            "example.com:80:80",
            "[::1]example.com",
            ".example.org",
            "a..example.org",
            "*.example.org",
        ),
        *("evil%2f.example.org", "evil%2f.a.example.org", "-%2d.example.org", "%00.example.org"),
        *("a.example.org%2f", "evil.net,a.example.org", "evil.net;a.example.org", "@a.example.org"),
    ],
)
def test_hosts_that_are_not_trusted(host: str) -> None:
    with served(TrustedHosts(HOSTS)) as client:
        assert client.get("/plain", headers={"Host": host}).status == 400


@pytest.mark.parametrize("path", PATHS)
def test_the_refusal_comes_before_everything_else(path: str) -> None:
    with served(RequestId(), TrustedHosts(["testserver"])) as client:
        assert client.get(path).status == STATUSES[path]
        headers = {"Host": "evil.net", "Accept": "application/json"}
        response = client.get(path, headers=headers)
        assert response.json() == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The request is for a host that is not served here.",
        }
        assert response.headers["x-request-id"]


def test_every_host_and_a_single_host() -> None:
    with served(TrustedHosts("*")) as client:
        assert client.get("/plain", headers={"Host": "any"}).status == 200
    with served(TrustedHosts("testserver")) as client:
        assert client.get("/plain").status == 200


@pytest.mark.parametrize(
    "hosts",
    [
        *([], [""], ["a:80"], ["http://a"], ["a/b"], ["a.*"], ["*a"], ["*."], ["a..b"], ["é.de"]),
        *(["a b"], ["**.a"], [":"]),
    ],
)
def test_options(hosts: Any) -> None:
    with pytest.raises(ValueError):
        TrustedHosts(hosts)
