"""Which files the imports of an application depend on, told before each of them is read.

A finder that goes before all others, and asks them, learns of every module at the moment of its
import: also of one that then fails, that hangs, or that takes the process with it. Of a module that
nobody finds it tells where it would be, so that whoever watches notices when it appears. And it
goes on telling: a handler may import something hours later.

The standard library and what is installed do not change while somebody works, and are left out; but
the package of the application counts wherever it is.

Compiled modules are kept by Python under a time in whole seconds and a size, so what is changed
twice within a second, to the same length, would be taken for what it was before. A file that is as
young as that is read, and nothing is kept of it.
"""

import os
import site
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any, Final

YOUNG_SECONDS: Final = 2.0  # the time that compiled modules know may be off by one


class FreshLoader(SourceFileLoader):
    """Reads what is there, and trusts compiled modules only where they cannot be wrong."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raises OSError for a young file, which means: neither use nor keep a compiled one."""
        found = super().path_stats(path)
        if time.time() - found["mtime"] < YOUNG_SECONDS:
            raise OSError(f"{path} is too young")
        return found


class Finder:
    """Goes before the other finders. `tell` is called with each path, on the importing thread."""

    def __init__(self, application: str, tell: Callable[[str], None]) -> None:
        """The application is `package.module:name`."""
        self._package = _top(application.partition(":")[0])
        self._tell = tell
        self._libraries = tuple(_libraries())

    def install(self) -> None:
        """Tell what has been imported already, and then what is."""
        for name, module in tuple(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and self._matters(name, path):
                self._tell(os.path.abspath(path))
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the others find. See importlib.abc.MetaPathFinder."""
        for finder in tuple(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    self._found(name, spec)
                    return spec
        for place in sys.path if path is None else path:
            if isinstance(place, str) and self._matters(name, place):
                below = os.path.join(os.path.abspath(place), name.rpartition(".")[2])
                self._tell(f"{below}.py")
                self._tell(os.path.join(below, "__init__.py"))
        return None

    def _found(self, name: str, spec: ModuleSpec) -> None:
        path = spec.origin
        if path is None or not spec.has_location or not self._matters(name, path):
            return
        self._tell(os.path.abspath(path))
        if type(spec.loader) is SourceFileLoader:
            spec.loader = FreshLoader(name, path)

    def _matters(self, name: str, path: str) -> bool:
        return _top(name) == self._package or not _folder(path).startswith(self._libraries)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _folder(path: str) -> str:
    """With a slash at its end, for comparing."""
    return os.path.join(os.path.realpath(path), "")


def _libraries() -> Iterable[str]:
    """Folders of the standard library and of what is installed."""
    for kind in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield _folder(sysconfig.get_path(kind))
    for path in (*site.getsitepackages(), site.getusersitepackages()):
        yield _folder(path)
