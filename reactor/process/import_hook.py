"""Reports the files that the imports of an application depend on, before each of them is read.

A finder that stands before all others, and asks them, sees every module at the moment of its
import, also a module whose import then fails, hangs or ends the process. For a module that does not
exist it reports the paths where it would be, so that the parent notices when it appears. It goes on
for as long as the process runs: a handler may import something hours later.

The standard library and installed packages do not change during development, and are left out. The
package of the application counts wherever it is.

Python keeps compiled modules under a time in whole seconds and a size. A file that is changed twice
within a second, to the same length, would be taken for the file before. So a young file is read
anew, and its compiled module is not kept.
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

YOUNG_SECONDS: Final = 2.0  # the time in a compiled module may be off by one


class FreshLoader(SourceFileLoader):
    """Uses a compiled module only where it cannot be wrong; a young file is read anew."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raises OSError for a young file: then Python neither uses nor keeps a compiled module."""
        found = super().path_stats(path)
        if time.time() - found["mtime"] < YOUNG_SECONDS:
            raise OSError(f"{path} is too young")
        return found


class Finder:
    """Stands before the other finders; calls `report` with each path, on the importing thread."""

    def __init__(self, application: str, report: Callable[[str], None]) -> None:
        """`application` is `package.module:name`."""
        self._package = _top(application.partition(":")[0])
        self._report = report
        self._libraries = tuple(_libraries())

    def install(self) -> None:
        """Report the modules that are imported already, and then each one that is imported."""
        for name, module in tuple(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and self._matters(name, path):
                self._report(os.path.abspath(path))
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The result of the other finders. See importlib.abc.MetaPathFinder."""
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
                self._report(f"{below}.py")
                self._report(os.path.join(below, "__init__.py"))
        return None

    def _found(self, name: str, spec: ModuleSpec) -> None:
        path = spec.origin
        if path is None or not spec.has_location or not self._matters(name, path):
            return
        self._report(os.path.abspath(path))
        if type(spec.loader) is SourceFileLoader:
            spec.loader = FreshLoader(name, path)

    def _matters(self, name: str, path: str) -> bool:
        return _top(name) == self._package or not _directory(path).startswith(self._libraries)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _directory(path: str) -> str:
    """The real path with a slash at its end, for comparisons."""
    return os.path.join(os.path.realpath(path), "")


def _libraries() -> Iterable[str]:
    """The directories of the standard library and of installed packages."""
    for kind in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield _directory(sysconfig.get_path(kind))
    for path in (*site.getsitepackages(), site.getusersitepackages()):
        yield _directory(path)
