"""The page "A whole application": its two files, run as the page says, and used in a browser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.test_docs import BLOCK
from tests.support.chromium import PROGRAM, Browser, Page
from tests.support.paths import ROOT
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT

pytestmark = pytest.mark.system

TEXT = (ROOT / "docs/whole-application.md").read_text()
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TODO_SECRET": "0123456789abcdef" * 4}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with todo.py and test_todo.py."""
    application, heading, tests = TEXT.partition("\n## Tests\n")
    assert heading
    for name, part in (("todo.py", application), ("test_todo.py", tests)):
        (tmp_path / name).write_text("\n\n".join(one[1] for one in BLOCK.finditer(part)))
    return tmp_path


def test_its_tests_pass(files: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=files,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^7 passed", done.stdout, re.M), done.stdout


def test_it_uses_public_names_alone() -> None:
    modules = set(re.findall(r"^from (reactor[\w.]*) import", TEXT, re.M))
    assert modules == {"reactor", "reactor.web.middlewares", "reactor.testing"}


@pytest.fixture
def program(files: Path) -> Iterator[Program]:
    arguments = ["-m", "reactor", "todo:app", "--port", "0", "--shutdown-timeout", "1000"]
    program = Program(arguments, cwd=files, env=environment())
    yield program
    program.close()


@needs_browser
def test_it_works_in_a_browser(files: Path, program: Program, browser: Browser, page: Page) -> None:
    host, port = program.address
    page.go(f"http://{host}:{port}/")
    beside = page.beside()
    beside.go(f"http://{host}:{port}/")
    page.evaluate("document.querySelector('input').value = 'Buy <milk>'")
    page.follow("form button")
    page.wait_until("document.querySelector('li span').textContent == 'Buy <milk>'")
    beside.wait_until("document.querySelector('li span')?.textContent == 'Buy <milk>'")
    beside.follow("li button")
    page.wait_until("document.querySelector('li span').className == 'done'")
    assert (page.complaints, beside.complaints) == ([], [])
    beside.evaluate("document.querySelector('input').value = 'Water the plants'")
    beside.follow("form button")
    page.wait_until("document.querySelectorAll('li').length == 2")
    if where := os.environ.get("TODO_PICTURES"):  # docs/todo.png is the one of 640
        for width, scheme in ((1280, "light"), (1280, "dark"), (640, "light"), (390, "dark")):
            page.show(width, 300, scheme)
            Path(where, f"todo-{width}-{scheme}.png").write_bytes(page.picture())
    program.signal()
    assert program.wait()[0] == 0
    assert "Buy <milk>" in (files / "todos.json").read_text()
