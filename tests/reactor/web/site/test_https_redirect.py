"""Redirects to HTTPS, as a handler and by the command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor import Headers
from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.web.semantics.hosts import Hosts
from reactor.web.site.https_redirect import HttpsRedirect
from tests.support.authority import write_pair
from tests.support.paths import ROOT
from tests.support.raw_client import TIMEOUT, Client, SecureAddress, request

HOSTS = Hosts(["example.com", "*.example.org", "192.0.2.1"], local=True)


def asked(target: str, host: str) -> BaseRequest:
    return BaseRequest("GET", target, "", "", 1, Headers(), host=host)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("example.com", "/", "https://example.com:8443/"),
        ("Example.COM.:80", "/a/b?c=d&e=%2F", "https://example.com:8443/a/b?c=d&e=%2F"),
        ("a.example.org:8080", "//evil.test/", "https://a.example.org:8443//evil.test/"),
        ("localhost", "/\\evil.test", "https://localhost:8443/\\evil.test"),
        ("[::1]:80", "/x", "https://[::1]:8443/x"),
        ("192.0.2.1", "http://192.0.2.1/x?y", "https://192.0.2.1:8443/x?y"),
        ("example.com", "http://example.com", "https://example.com:8443/"),
        ("example.com", "http://example.com?a=b", "https://example.com:8443/?a=b"),
        ("example.com", "*", "https://example.com:8443/"),
    ],
)
def test_the_same_path_at_the_same_host(host: str, target: str, location: str) -> None:
    response = HttpsRedirect(HOSTS, 8443)(asked(target, host))
    assert response.status == 308
    assert dict(response.headers)["Location"] == location


def test_the_port_of_https_is_not_named() -> None:
    response = HttpsRedirect(HOSTS, 443)(asked("/a", "example.com:80"))
    assert dict(response.headers)["Location"] == "https://example.com/a"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.test", 421),
        ("example.com.evil.test", 421),
        ("example.com@evil.test", 421),
        ("evil.test/.example.org", 421),
        ("192.0.2.2", 421),
        ("", 400),
    ],
)
def test_no_other_host_is_redirected(host: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        HttpsRedirect(HOSTS, 443)(asked("/", host))
    assert caught.value.status == status


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "a.txt").write_text("hello")
    return directory


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(params=[(), ("--reload",)], ids=["alone", "reload"])
def started(
    request: pytest.FixtureRequest, site: Path, tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """`python -m reactor` with HTTPS, plain HTTP beside it and a redirect; its three ports."""
    pair = write_pair(tmp_path, "localhost", "127.0.0.1", "*.example.com")
    ports = free_ports(3)
    what = [str(site)] if not request.param else ["handlers:app"]
    command = [
        *(sys.executable, "-m", "reactor", *request.param, *what, "--port", str(ports[0])),
        *("--tls-cert", pair.certificate, "--tls-key", pair.key, "--hsts", "60"),
        *("--bind-http", f"127.0.0.1:{ports[1]}", "--redirect-http", str(ports[2])),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    yield process, ports
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert "Traceback" not in errors
    assert process.returncode == 0


def wait_for(port: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")


@pytest.mark.system
def test_three_roles_of_a_command_line(started: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, (secure, plain, redirect) = started
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert lines[0] == f"reactor: Requests to http://127.0.0.1:{redirect}/ are redirected\n"
    assert f"https://127.0.0.1:{secure}/ and http://127.0.0.1:{plain}/ serve" in lines[1]
    for _ in range(2):
        with Client(SecureAddress(("127.0.0.1", secure))) as client:
            response = client.ask("/")
            assert response.status == 200
            assert response.get("strict-transport-security") == "max-age=60"
        with Client(("127.0.0.1", plain)) as client:
            response = client.ask("/")
            assert response.status == 200
            assert response.get("strict-transport-security") is None
        with Client(("127.0.0.1", redirect)) as client:
            response = client.ask("/a.txt?b")
            assert response.status == 308
            assert response.get("location") == f"https://localhost:{secure}/a.txt?b"
            client.send(request("/c").replace(b"localhost", b"www.example.com"))
            location = client.read_response().get("location")
            assert location == f"https://www.example.com:{secure}/c"
            client.send(request("/c").replace(b"localhost", b"example.net"))
            assert client.read_response().status == 421
        os.kill(process.pid, signal.SIGHUP)  # loads certificates, or starts a new child
        time.sleep(0.1)
        wait_for(secure)


@pytest.mark.system
def test_a_port_that_is_taken_is_one_sentence(site: Path, tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "localhost")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    command = [sys.executable, "-m", "reactor", str(site), "--port", "0", "--redirect-http"]
    command += [str(port), "--tls-cert", pair.certificate, "--tls-key", pair.key]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=ROOT)
    taken.close()
    assert ended.returncode == 1
    assert ended.stderr == (
        f"reactor: Cannot listen on 127.0.0.1, port {port}: address already in use\n"
    )
