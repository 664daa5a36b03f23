"""Reports of imports: the files that matter, before they are read, whether they exist or not."""

import importlib
import importlib.util
import os
import py_compile
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from reactor.process.import_hook import YOUNG_SECONDS, Finder, FreshLoader

Install = Callable[[str], list[str]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("app:handler")`: the list of reported files; in an empty current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)

    def install_one(application: str) -> list[str]:
        reported: list[str] = []
        Finder(application, reported.append).install()
        reported.clear()  # modules that this process has imported
        importlib.invalidate_caches()
        return reported

    yield install_one
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str = "", age: float = 0.0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return str(path)


def test_modules_and_packages_in_their_order(install: Install, tmp_path: Path) -> None:
    reported = install("im_a:handler")
    files = [
        write(tmp_path / "im_a.py", "import json, im_b.c.d"),
        write(tmp_path / "im_b/__init__.py"),
        # im_b.c has no file: it is a namespace
        write(tmp_path / "im_b/c/d.py"),
    ]
    importlib.import_module("im_a")
    assert reported == files


def test_a_module_is_reported_before_it_runs(install: Install, tmp_path: Path) -> None:
    """So one that fails, hangs or ends the process has been reported as well."""
    reported = install("im_e:handler")
    files = [
        write(tmp_path / "im_e.py", "import im_f"),
        write(tmp_path / "im_f.py", "import im_g"),
        write(tmp_path / "im_g.py", "x = ("),
    ]
    with pytest.raises(SyntaxError):
        importlib.import_module("im_e")
    assert reported == files


def test_where_a_module_would_be(install: Install, tmp_path: Path) -> None:
    reported = install("im_h:handler")
    write(tmp_path / "im_i/__init__.py")
    write(
        tmp_path / "im_h.py",
        """
try:
    import im_none
except ImportError:
    import im_i.none
""",
    )
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("im_h")
    for name in ("im_none", "im_i/none"):
        assert f"{tmp_path}/{name}.py" in reported
        assert f"{tmp_path}/{name}/__init__.py" in reported
    with pytest.raises(ImportError):
        exec("from im_i import other", {})
    assert f"{tmp_path}/im_i/other.py" in reported


def test_an_installed_package_does_not_matter(install: Install) -> None:
    reported = install("im_j:handler")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("json.im_none")
    for name in (
        "colorsys",
        "wave",
    ):  # a module of the standard library that pytest has not imported
        sys.modules.pop(name, None)
        importlib.import_module(name)
    assert reported == []


def test_the_application_matters_wherever_it_is(install: Install) -> None:
    reported = install("colorsys:rgb_to_hsv")
    sys.modules.pop("colorsys", None)
    module = importlib.import_module("colorsys")
    assert reported == [module.__file__]


def test_modules_that_were_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    reported: list[str] = []
    Finder("im_k:handler", reported.append).install()
    assert __file__ in reported
    assert os.__file__ not in reported
    assert pytest.__file__ not in reported


def test_finders_of_others_are_asked(install: Install, tmp_path: Path) -> None:
    """As those of editable installations."""
    path = write(tmp_path / "elsewhere/im_l.py", "x = 1")

    class Other:
        @staticmethod
        def find_spec(name: str, path_: object, target: object = None) -> ModuleSpec | None:
            if name == "im_l":
                return importlib.util.spec_from_file_location(name, path)
            return None

    reported = install("im_l:x")
    sys.meta_path.append(Other)
    assert importlib.import_module("im_l").x == 1
    assert reported == [path]


def test_a_file_that_changes_twice_in_a_second(install: Install, tmp_path: Path) -> None:
    """To the same length: Python itself would not notice."""
    install("im_m:x")
    path = tmp_path / "im_m.py"
    write(path, "x = 1")
    py_compile.compile(str(path))  # the compiled module that is wrong in a moment exists already
    now = os.stat(path).st_mtime
    for number in (2, 3):
        write(path, f"x = {number}")
        os.utime(path, (now, now))
        sys.modules.pop("im_m", None)
        assert importlib.import_module("im_m").x == number


def test_an_older_file_is_kept_compiled(install: Install, tmp_path: Path) -> None:
    install("im_n:x")
    path = write(tmp_path / "im_n.py", "x = 1", age=YOUNG_SECONDS + 1)
    module = importlib.import_module("im_n")
    assert isinstance(module.__loader__, FreshLoader)
    compiled = Path(importlib.util.cache_from_source(path))
    before = compiled.stat().st_mtime_ns
    del sys.modules["im_n"]
    importlib.import_module("im_n")
    assert compiled.stat().st_mtime_ns == before


def test_a_young_file_leaves_nothing_compiled(install: Install, tmp_path: Path) -> None:
    install("im_o:x")
    path = write(tmp_path / "im_o.py", "x = 1", age=-5)  # a clock that goes wrong
    importlib.import_module("im_o")
    assert not Path(importlib.util.cache_from_source(path)).exists()
