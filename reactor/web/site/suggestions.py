"""Suggestions for an argument of the command line that names no application, or the wrong one.

`reactor todo` beside a todo.py, `reactor todo.py:app` or `reactor todo:application` is a slip that
one sentence mends. A file is read, and never run, to find its applications: names at the top of a
module to which a call of something named `...Application` is assigned.
"""

import ast
import os
import sys
from collections.abc import Iterable
from typing import Final

from reactor.config import types
from reactor.web.app.application import Application

LONGEST_FILE: Final = 1024 * 1024  # bytes of a file that is read for its applications
NAME: Final = "app"  # that is suggested where none is found
NAMES_MOST: Final = 5  # applications that a sentence names


def suggestion(what: str) -> str:
    """A question to put behind an error: is this application meant? "" where there is none.

    `what` is the name of a directory or a file that is not there, or of an application that cannot
    be loaded.
    """
    if not types.names_application(what):
        found = _of_path(what)
    elif what.partition(":")[0] in sys.modules:
        found = _in_module(what.partition(":")[0])
    else:
        found = _of_path(what.partition(":")[0])
    found = [one for one in found if one != what]
    if not found:
        return ""
    return f"; did you mean the application {' or '.join(found[:NAMES_MOST])}?"


def source_hint(path: str) -> str:
    """A sentence about a Python file that is served as a file, though it makes an application."""
    names = application_names(path) if path.endswith(".py") else []
    if not names:
        return ""
    application = f"{_module_of(path)}:{names[0]}"
    return f"{path} is served as a file, source and all; the application in it is {application}"


def application_names(path: str) -> list[str]:
    """The names of the applications that a module makes at its top, in their order.

    A file that cannot be read, is no Python, or is longer than LONGEST_FILE yields none.
    """
    try:
        if os.path.getsize(path) > LONGEST_FILE:
            return []
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [name for statement in tree.body for name in _assigned(statement)]


def _of_path(what: str) -> list[str]:
    """Applications in the module that a path without `.py`, or with dots for slashes, stands for.

    The last part of a name with dots may be that of the application: `todo.app` is `todo:app`.
    """
    path = os.path.normpath(what)
    dotted = path.replace(".", os.sep)
    parent, _, last = path.rpartition(".")
    candidates = {path: NAME, f"{path}.py": NAME, f"{dotted}.py": NAME}
    candidates[os.path.join(dotted, "__init__.py")] = NAME
    candidates.setdefault(f"{parent.replace('.', os.sep)}.py", last)
    for candidate, name in candidates.items():
        module = _module_of(candidate)
        is_module = candidate.endswith(".py") and os.path.isfile(candidate)
        if is_module and types.names_application(f"{module}:{name}"):
            return [f"{module}:{one}" for one in application_names(candidate) or [name]]
    return []


def _in_module(module: str) -> list[str]:
    """The applications in a module that is loaded."""
    members = vars(sys.modules[module]).items()
    return [f"{module}:{name}" for name, one in members if isinstance(one, Application)]


def _module_of(path: str) -> str:
    """The name by which a file below the current directory is imported."""
    parts = os.path.normpath(path).removesuffix(".py").split(os.sep)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _assigned(statement: ast.stmt) -> Iterable[str]:
    """The names to which a statement assigns an application."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return []
    if not isinstance(value, ast.Call):
        return []
    called = value.func.attr if isinstance(value.func, ast.Attribute) else None
    called = value.func.id if isinstance(value.func, ast.Name) else called
    if called is None or not called.endswith("Application"):
        return []
    return [target.id for target in targets if isinstance(target, ast.Name)]
