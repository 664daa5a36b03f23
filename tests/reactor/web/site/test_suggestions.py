"""Slips of the command line that name no application, and the sentence that mends them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reactor.web.site.suggestions import application_names, source_hint, suggestion
from tests.support.paths import ROOT
from tests.support.program import Program
from tests.support.raw_client import TIMEOUT

TODO = """
import reactor
from reactor import Application
raise SystemExit("this file is read, and never run")
typed: Application = Application()
other = made = reactor.Application(redirect_slashes=True)
declared: Application
count = len("x")
def make():
    inner = Application()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pkg").mkdir()
    for name in ("todo.py", "pkg/web.py", "pkg/__init__.py"):
        (tmp_path / name).write_text(TODO)
    (tmp_path / "plain.py").write_text("app = make_app()\n")
    return tmp_path


def test_the_names_of_applications_are_read_without_running_the_file() -> None:
    assert application_names("todo.py") == ["typed", "other", "made"]
    assert application_names("plain.py") == []
    assert application_names("nothing.py") == []


@pytest.mark.parametrize(
    "text", ["def (", "\0", "x = " + "(" * 100_000, "\ufeff" * 3, "é".encode("latin-1")]
)
def test_a_file_that_is_no_python_has_none(here: Path, text: str | bytes) -> None:
    path = here / "odd.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert application_names(str(path)) == []
    assert suggestion("odd") == "; did you mean the application odd:app?"


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("todo", "todo:typed or todo:other or todo:made"),
        ("./todo", "todo:typed or todo:other or todo:made"),
        ("todo.app", "todo:typed or todo:other or todo:made"),
        ("todo.py:app", "todo:typed or todo:other or todo:made"),
        ("plain", "plain:app"),
        ("plain.site", "plain:site"),
        ("plain.py:site", "plain:app"),
        ("pkg/web", "pkg.web:typed or pkg.web:other or pkg.web:made"),
        ("pkg.web", "pkg.web:typed or pkg.web:other or pkg.web:made"),
        ("pkg.web.site", "pkg.web:typed or pkg.web:other or pkg.web:made"),
        ("pkg.", "pkg:typed or pkg:other or pkg:made"),
        ("nothing", ""),
        ("nothing:app", ""),
        ("../todo", ""),
        ("", ""),
        (".", ""),
        ("todo\0", ""),
    ],
)
def test_the_application_that_is_meant(what: str, meant: str) -> None:
    assert suggestion(what) == (f"; did you mean the application {meant}?" if meant else "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("what", "status", "sentence"),
    [
        (
            "two:app",
            2,
            "Cannot use 'two:app': module 'two' has no attribute 'app'; "
            "did you mean the application two:first or two:second?",
        ),
        (
            "todo",
            1,
            "Cannot use the directory 'todo': no such file or directory; "
            "did you mean the application todo:typed or todo:other or todo:made?",
        ),
        ("nothing", 1, "Cannot use the directory 'nothing': no such file or directory"),
    ],
)
def test_the_command_line_asks(here: Path, what: str, status: int, sentence: str) -> None:
    text = "from reactor import Application\nfirst = Application()\nsecond = Application()\n"
    (here / "two.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "reactor", "--port", "0", what],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (status, f"reactor: {sentence}\n")


@pytest.mark.system
def test_the_log_warns_of_a_module_that_is_served_as_a_file(here: Path) -> None:
    program = Program(
        ["-m", "reactor", "--port", "0", "todo.py"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert program.process.stderr is not None
    assert "WARNING reactor: todo.py is served as a file" in program.process.stderr.readline()
    program.close()


def test_a_module_that_is_served_as_a_file() -> None:
    assert source_hint("todo.py") == (
        "todo.py is served as a file, source and all; the application in it is todo:typed"
    )
    assert source_hint("plain.py") == source_hint("nothing.py") == source_hint("pkg") == ""
