"""`python -m handlers` in a process of its own: the command line of reactor, and files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import Program

pytestmark = pytest.mark.system


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "hello.txt").write_text("hello")
    options = ["--port", "0", "--directory", str(tmp_path), "--allow-delete", "--health"]
    running = Program(["-m", "handlers", *options])
    yield running
    running.close()


def test_the_endpoints_and_the_files(program: Program, tmp_path: Path) -> None:
    line = f" serves handlers:app and {tmp_path} at /files/, with uploads and deletes;"
    assert line in program.line
    with program.connect() as client:
        assert client.ask("/").status == 200
        assert client.ask("/echo/a%20b").body == b"a b"
        assert client.ask("/user-agent", "User-Agent: me").body == b"me"
        assert client.ask("/files/hello.txt").body == b"hello"
        assert client.ask("/files").get("location") == "files/"
        listing = json.loads(client.ask("/files/", "Accept: application/json").body)
        assert "hello.txt" in json.dumps(listing)
        assert client.ask("/files/new", method="PUT", body=b"new").status == 201
        assert client.ask("/files/new", method="DELETE").status == 204
        assert client.ask("/healthz").body == b"ok\n"
        assert client.ask("/nowhere").status == 404
    program.signal()
    assert program.wait()[0] == 0
