"""The options --auth and --auth-file: users, wrong values that stay secret, and what is guarded."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.app import make_app
from reactor import Headers, Limits, ProtocolError, Request, Response
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.site.opening import SiteError
from reactor.web.site.options import SiteOptions, parse_arguments
from reactor.web.site.site import Site
from reactor.web.site.users import FILE_BYTES, digests, read_users, user
from tests.support.program import Program


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


HEX = hashlib.sha256(b"secret").hexdigest()
SECRET = hashlib.sha256(b"secret").digest()


@pytest.mark.parametrize(
    ("text", "name", "password"),
    [
        ("ann:secret", "ann", "secret"),
        (f"ann:sha256:{HEX}", "ann", "secret"),
        (f"ann:sha256:{HEX.upper()}", "ann", "secret"),
        ("ann:a:b: c ", "ann", "a:b: c "),
        ("ann:sha256", "ann", "sha256"),
        ("a b:x", "a b", "x"),
        ("jürgen:wo\u0308rd", "jürgen", "wörd"),  # in NFC, as it is compared
        ("ann:" + "x" * 1020, "ann", "x" * 1020),
    ],
)
def test_users(text: str, name: str, password: str) -> None:
    assert user(text) == (name, hashlib.sha256(password.encode()).digest())


WRONG = [
    ("hunter2", "USER:PASSWORD"),
    (":hunter2", "USER:PASSWORD"),
    ("ann:", "USER:PASSWORD"),
    ("", "USER:PASSWORD"),
    ("ann:hunter2\n", "control character"),
    ("a\0nn:hunter2", "control character"),
    ("ann:hunter2" + "x" * 1020, "more than 1023 bytes"),
    ("ann:sha256:hunter2", "'ann' is not 64 hexadecimal digits"),
    (f"ann:sha256:{HEX}0", "64 hexadecimal digits"),
    ("ann:sha256:", "64 hexadecimal digits"),
    ("ann:$2y$05$hunter2", "USER:sha256:HEX"),
    ("ann:$apr1$hunter2", "USER:sha256:HEX"),
    ("ann:{SHA}hunter2", "USER:sha256:HEX"),
    ("ann:hunter2\udcff", "not UTF-8"),
]


@pytest.mark.parametrize(("text", "named"), WRONG)
def test_a_wrong_user_is_refused_and_its_password_stays_secret(
    text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        user(text)
    assert named in str(caught.value)
    assert "hunter" not in str(caught.value)
    with pytest.raises(SystemExit):
        parse_arguments(["--auth", text])
    said = capsys.readouterr().err
    assert "argument --auth: " in said
    assert "hunter" not in said


# --- a file --------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.touch(0o600)
    return path


def test_a_file_of_users(file: Path) -> None:
    file.write_text(f"\ufeff# ours\n\nann:secret\r\n  \nbob:sha256:{HEX}\n#c:d\neve: # x", "utf-8")
    users, warning = read_users(str(file))
    assert digests(users) == {
        "ann": SECRET,
        "bob": SECRET,
        "eve": hashlib.sha256(b" # x").digest(),
    }
    assert warning == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_a_warning(file: Path, mode: int) -> None:
    file.write_text("ann:secret")
    file.chmod(mode)
    _, warning = read_users(str(file))
    assert "chmod 600" in warning
    assert repr(str(file)) in warning


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "names no user"),
        (b"# nobody\n\n", "names no user"),
        (b"ann:x\nhunter2\n", "line 2: a user is USER:PASSWORD"),
        (b"ann:sha256:hunter2", "line 1: the digest"),
        (b"ann:$2y$05$hunter2", "line 1: the password"),
        (b"ann:hunter2\xff", "is not UTF-8"),
        (b"ann:hunter2\n" * (FILE_BYTES // 12 + 1), "is larger than"),
    ],
)
def test_a_wrong_file(file: Path, data: bytes, named: str) -> None:
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r".") as caught:
        read_users(str(file))
    assert named in str(caught.value)
    assert str(file) in str(caught.value)
    assert "hunter" not in str(caught.value).replace(str(file), "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, named in ((tmp_path / "none", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ValueError, match=named):
            read_users(str(path))
        with pytest.raises(SiteError, match=named):
            Site(SiteOptions(auth_file=str(path)), Limits())
    with pytest.raises(SiteError, match="no such file"):
        Site(SiteOptions(auth_file=""), Limits())


def test_a_user_that_comes_twice(file: Path) -> None:
    file.write_text("ann:other")
    with pytest.raises(SiteError, match="'ann' is named twice"):
        Site(SiteOptions(auth=[("ann", SECRET)], auth_file=str(file)), Limits())


# --- the site ------------------------------------------------------------------------------------


def site(application: Any = None, **options: Any) -> Site:
    return Site(SiteOptions(auth=[("ann", SECRET)], **options), Limits(), application)


def plain_handler(request: BaseRequest) -> Response:
    assert isinstance(request, Request)
    return Response(200, str(request.state["user"]).encode())


def own_application() -> Application:
    app = Application()
    app.get("/")(lambda request: request.state["user"])
    return app


PATHS = ["/", "/a.txt", "/none", "/files/", "/files/a.txt", "/files/none", "/metrics", "/static/"]


@pytest.mark.parametrize("make", [lambda: None, make_app, own_application, lambda: plain_handler])
def test_all_is_guarded_but_health(tmp_path: Path, make: Any) -> None:
    (tmp_path / "a.txt").write_text("a")
    options: dict[str, Any] = {"directory": str(tmp_path), "deletes": True, "health": True}
    options |= {"metrics": True, "static": [("/static/", str(tmp_path))]}
    handler = site(make(), **options).handler
    with Client(handler) as client:
        for path in PATHS:
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
                for auth in (None, ("ann", "Secret"), ("bob", "secret"), ("ann", HEX)):
                    content = b"x" if method in ("PUT", "POST", "PATCH") else None
                    response = client.request(method, path, content=content, auth=auth)
                    assert response.status == 401, (method, path)
                    assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
        assert client.get("/healthz").status == client.get("/readyz").status == 200
        for path in (
            "/healthz/",
            "/healthz%2F",
            "/healthz%00",
            "//healthz",
            "/healthz/../files/a.txt",
        ):
            assert client.get(path).status == 401
        ann = ("ann", "secret")
        assert client.get("/files/a.txt", auth=ann).text == "a"
        assert client.get("/static/a.txt", auth=ann).text == "a"
        assert client.get("/metrics", auth=ann).status == 200
        assert client.put("/files/new", content=b"new", auth=ann).status == 201
        assert client.delete("/files/new", auth=ann).status == 204
        if make is own_application or handler is plain_handler:
            assert client.get("/", auth=ann).text == "ann"


def test_a_refusal_is_a_page_in_a_browser(tmp_path: Path) -> None:
    made = site(static=[("/", str(tmp_path))])
    headers = Headers("\r\nAccept: text/html\r\n")
    request = Request("GET", "/", "/", "", 1, headers, Limits())
    with pytest.raises(ProtocolError) as caught:
        made.handler(request)
    response = made.error_response(request, caught.value)
    assert isinstance(response.body, bytes)
    assert b"<h1>Unauthorized</h1>" in response.body


def test_a_wrong_host_is_refused_before_the_password(tmp_path: Path) -> None:
    made = site(static=[("/", str(tmp_path))])
    made.admit_hosts((), ("127.0.0.1",))
    with Client(made.handler, "http://evil.example") as client:
        assert client.get("/").status == 421
    with Client(made.handler, "http://localhost") as client:
        assert client.get("/").status == 401


def test_a_warning_beyond_loopback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = site(static=[("/", str(tmp_path))])
    made.admit_hosts((), ("127.0.0.1", "::1"))
    assert not caplog.records
    made.admit_hosts((), ("127.0.0.1", "0.0.0.0"))
    assert "unencrypted" in caplog.text


# --- the process ---------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, file: Path) -> Iterator[Program]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/a.txt").write_text("a")
    file.write_text("bob:other\n")
    options = ["--port", "0", "--upload", "--auth", f"ann:sha256:{HEX}", "--auth-file", str(file)]
    running = Program(["-m", "reactor", *options, str(tmp_path / "site")])
    yield running
    running.close()


@pytest.mark.system
def test_a_share_with_passwords(program: Program, tmp_path: Path) -> None:
    assert "at /, with uploads, for users with a password;" in program.line
    with program.connect() as client:
        response = client.ask("/a.txt", "Accept: application/json")
        assert response.status == 401
        assert json.loads(response.body)["title"] == "Unauthorized"
        assert client.ask("/a.txt", f"Authorization: {basic('ann:secret')}").body == b"a"
        assert client.ask("/a.txt", f"Authorization: {basic('bob:other')}").body == b"a"
        field = f"Authorization: {basic('bob:other')}"
        assert client.ask("/new", field, method="PUT", body=b"new").status == 201
        # Refused before the body is read.
        assert client.ask("/no", "Expect: 100-continue", method="PUT", body=b"x").status == 401
    assert sorted(os.listdir(tmp_path / "site")) == ["a.txt", "new"]
