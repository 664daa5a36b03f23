"""The landing page says what is served; every command on it works in each configuration."""

import html
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from handlers.app import make_app
from reactor.testing import Client
from tests.support.chromium import Page
from tests.support.program import Program
from tests.support.raw_client import RawResponse

Start = Callable[..., Program]

ENDPOINTS = ["/echo/{text}", "/user-agent", "/news"]
LOGIN = ["-u", "ann:secret"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("--directory", "DIR")`: the demo, beside a directory with a file."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/notes.txt").write_text("notes")
    (tmp_path / "other").mkdir()
    running: list[Program] = []

    def start_one(*options: str) -> Program:
        given = [one.replace("DIR", str(tmp_path / "files")) for one in options]
        given = [one.replace("OTHER", str(tmp_path / "other")) for one in given]
        running.append(Program(["-m", "handlers", "--port", "0", *given]))
        return running[-1]

    yield start_one
    for one in running:
        one.close()


def landing_page(program: Program, login: bool) -> RawResponse:
    with program.connect() as client:
        host = f"127.0.0.1:{program.address[1]}"
        fields = ["Authorization: Basic YW5uOnNlY3JldA=="] if login else []
        data = "\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *fields, "", ""])
        client.send(data.encode())
        return client.read_response()


def names(page: str) -> list[str]:
    found = re.findall(r"<dt>(.*?)</dt>", page)
    return [html.unescape(re.sub("<.*?>", "", one)) for one in found]


def commands(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r"<code>(.*?)</code>", page)]


def links(page: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(r'<a href="(.*?)"', page)]


def status_of(command: str, directory: Path) -> int:
    """The status that the command gets, run as somebody who copies it would run it."""
    program, *arguments = shlex.split(command)
    assert program == "curl"
    if "ann" in arguments:
        arguments[arguments.index("ann")] = "ann:secret"  # it asks for the password
    limit = "2" if "-N" in arguments else "20"  # events have no end
    options = ["-sS", "--max-time", limit, "-w", "\n%{http_code}"]
    run = subprocess.run(
        ["curl", *options, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 or (run.returncode == 28 and "-N" in arguments), run.stderr
    return int(run.stdout.rpartition("\n")[2])


CONFIGURATIONS = [
    ([], [], []),
    (["--directory", "DIR"], ["/files/"], ["Accept", "-T", "-O"]),
    (["--directory", "DIR", "--allow-delete"], ["/files/"], ["Accept", "-T", "-O", "DELETE"]),
    (["--directory", "DIR", "--read-only"], ["/files/"], ["Accept"]),
    (["--directory", "DIR", "--no-listing"], ["/files/"], ["-T", "-O"]),
    (["--directory", "DIR", "--read-only", "--no-listing"], ["/files/"], []),
    (["--static", "/docs/=DIR"], ["/docs/"], ["Accept"]),
    (["--static", "/docs/=OTHER", "--directory", "DIR"], ["/docs/", "/files/"], ["-T", "-O"]),
    (["--directory", "DIR", "--auth", "ann:secret"], ["/files/"], ["-T", "-O", "-u ann"]),
]
WORDS = {"Accept", "-T", "-O", "DELETE", "-u ann"}


@pytest.mark.system
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize(("options", "directories", "shown"), CONFIGURATIONS)
def test_each_command_works(
    start: Start, tmp_path: Path, options: list[str], directories: list[str], shown: list[str]
) -> None:
    program = start(*options)
    login = "--auth" in options
    response = landing_page(program, login)
    assert response.status == 200
    page = response.body.decode()
    assert names(page) == [*ENDPOINTS, *directories]
    listed = " ".join(commands(page))
    assert {word for word in WORDS if word in listed} >= set(shown)
    if "--static" not in options and "--auth" not in options:
        assert {word for word in WORDS if word in listed} == set(shown)
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    for command in commands(page):
        assert f"http://127.0.0.1:{program.address[1]}/" in command
        assert status_of(command, tmp_path) in (200, 201, 204), command
    assert (tmp_path / "files/photo.jpg").exists() is ("-T" in shown and "DELETE" not in shown)
    for link in links(page):
        assert not link.startswith("/")  # a proxy may have removed a prefix
        url = urljoin(f"http://127.0.0.1:{program.address[1]}/", link)
        user = ("-u ann " if login else "") + shlex.quote(url)
        assert status_of(f"curl {user}", tmp_path) == 200, link


@pytest.mark.parametrize("host", ["a.example", "[::1]:80", "x;y&z", "a'b$(c)"])
def test_the_host_is_that_of_the_request_and_cannot_do_harm(host: str) -> None:
    with Client(make_app()) as client:
        response = client.get("/", headers={"Host": host})
        if response.status != 200:
            return  # no host
        for command in commands(response.text):
            assert shlex.split(command)[-1].startswith(f"http://{host}/")
        assert "<script" not in response.text


def test_a_request_without_a_host_gets_commands_for_this_machine() -> None:
    with Client(make_app()) as client:
        assert "http://testserver/" in client.get("/").text


@pytest.mark.system
def test_the_page_fits_a_phone(start: Start, page: Page) -> None:
    program = start("--directory", "DIR", "--allow-delete")
    for width in (1280, 390):
        page.show(width, 700, "light")
        page.go(f"http://127.0.0.1:{program.address[1]}/")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.complaints == []
