"""Applications by name: what is found, and what is said of what is not."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor.process.loader import LoadError, load, trace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory that is not on sys.path; what is imported is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))


def complaint(where: str) -> str:
    with pytest.raises(LoadError) as caught:
        load(where)
    return str(caught.value)


def test_a_callable_of_a_module(here: Path) -> None:
    write(here / "first_app.py", "def handler(request): return request")
    found: Any = load("first_app:handler")
    assert found("x") == "x"


def test_a_module_of_a_package_and_a_path_of_attributes(here: Path) -> None:
    code = """
        from .helper import number
        class Site:
            def serve(self, request): return number
        site = Site()
        """
    write(here / "second_app/inner/web.py", code)
    write(here / "second_app/inner/helper.py", "number = 7")
    found: Any = load("second_app.inner.web:site.serve")
    assert found(None) == 7


def test_a_package_itself(here: Path) -> None:
    write(here / "third_app/__init__.py", "handler = print")
    found: Any = load("third_app:handler")
    assert found is print


def test_the_current_directory_comes_first(here: Path) -> None:
    write(here / "colorsys.py", "handler = print")  # there is one in the standard library
    found: Any = load("colorsys:handler")
    assert found is print
    assert sys.path[0] == str(here)


def test_a_module_that_is_not_there(here: Path) -> None:
    assert complaint("no_app:x") == "Cannot import 'no_app': there is no module 'no_app'"
    write(here / "fourth_app/__init__.py", "")
    assert complaint("fourth_app.web:x").endswith("there is no module 'fourth_app.web'")
    assert complaint("no_app.a.b:x").endswith("there is no module 'no_app'")


def test_a_module_that_misses_another_one(here: Path) -> None:
    write(here / "fifth_app.py", "import os\nimport no_such_thing")
    said = complaint("fifth_app:x")
    assert said.startswith("Cannot import 'fifth_app': ModuleNotFoundError: No module named")
    assert "'no_such_thing'" in said
    assert said.endswith(f" ({here}/fifth_app.py, line 2)")


def test_a_module_that_fails(here: Path) -> None:
    write(here / "sixth_app.py", "def run():\n    return 1 / 0\nrun()")
    expected = f"ZeroDivisionError: division by zero ({here}/sixth_app.py, line 2)"
    assert complaint("sixth_app:x") == f"Cannot import 'sixth_app': {expected}"


def test_a_module_that_is_no_python(here: Path) -> None:
    write(here / "seventh_app.py", "handler = 1\nhandler = (")
    said = complaint("seventh_app:x")
    assert "SyntaxError" in said
    assert said.endswith("(seventh_app.py, line 2)")


def test_a_module_that_ends_the_process(here: Path) -> None:
    write(here / "eighth_app.py", "import sys\nsys.exit('enough')")
    assert "SystemExit: enough" in complaint("eighth_app:x")


def test_a_name_that_is_not_there(here: Path) -> None:
    write(here / "ninth_app.py", "class A: pass")
    assert "'ninth_app' has no attribute 'b'" in complaint("ninth_app:b")
    assert "'A' has no attribute 'b'" in complaint("ninth_app:A.b")


def test_a_name_that_cannot_be_called(here: Path) -> None:
    write(here / "tenth_app.py", "number = 7")
    said = complaint("tenth_app:number")
    assert said == "Cannot use 'tenth_app:number': a handler is callable, and this is of type int"


def test_an_import_error_without_a_name(here: Path) -> None:
    write(here / "eleventh_app.py", "raise ModuleNotFoundError('gone')")
    assert "ModuleNotFoundError: gone" in complaint("eleventh_app:x")


def way(where: str) -> str:
    """The traceback that is printed for a failed import."""
    with pytest.raises(LoadError) as caught:
        load(where)
    return trace(caught.value)


def test_the_way_through_the_application(here: Path) -> None:
    write(here / "twelfth_app.py", "import twelfth_part")
    write(here / "twelfth_part.py", "def run():\n    return 1 / 0\nrun()")
    shown = way("twelfth_app:x")
    files = [line.split('"')[1] for line in shown.splitlines() if line.startswith("  File")]
    part = f"{here}/twelfth_part.py"
    assert files == [f"{here}/twelfth_app.py", part, part]
    assert shown.endswith("\nZeroDivisionError: division by zero\n")


def test_the_line_that_is_no_python(here: Path) -> None:
    write(here / "thirteenth_app.py", "handler = 1\nhandler = (")
    assert way("thirteenth_app:x").splitlines()[:2] == [
        f'  File "{here}/thirteenth_app.py", line 2',
        "    handler = (",
    ]


def test_no_way_where_nothing_ran(here: Path) -> None:
    write(here / "fourteenth_app.py", "number = 7")
    assert way("no_app:x") == ""
    assert way("fourteenth_app:number") == ""
    assert way("fourteenth_app:none") == ""
