"""Loads an application by its name: `package.module:name` becomes a handler.

An import runs the application's code, which may fail in any way. The error is one sentence that
says where; the traceback is logged with the level debug.
"""

import importlib
import logging
import os
import pkgutil
import sys
from itertools import dropwhile
from operator import attrgetter
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb
from typing import Any, Final, cast

from reactor.errors import all_but_interrupts
from reactor.http.context import Handler

PACKAGE: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")

log = logging.getLogger("reactor")


class LoadError(Exception):
    """The application cannot be loaded; `str` is a sentence for the operator."""


def load(where: str) -> Handler:
    """The callable that `where` names; its module is looked for in the current directory first.

    Raises LoadError for a module that cannot be imported, and for a name that is not callable.
    """
    module_name, _, path = where.partition(":")
    module = _import(module_name)
    try:
        found = attrgetter(path)(module)
    except AttributeError as error:
        raise LoadError(f"Cannot use {where!r}: {error}") from error
    if not callable(found):
        kind = type(found).__name__
        raise LoadError(f"Cannot use {where!r}: a handler is callable, and this is of type {kind}")
    return cast(Handler, found)


def trace(error: Exception) -> str:
    """The traceback of the cause through the application, as Python prints it.

    "" if it did not run at all. For a SyntaxError this is the wrong line.
    """
    cause = error.__cause__
    if cause is None:
        return ""
    shown = TracebackException.from_exception(cause)
    frames = [frame for frame in shown.stack if not _imports(frame)]
    frames = list(dropwhile(lambda frame: frame.filename.startswith(PACKAGE), frames))
    if frames:
        shown.stack = StackSummary.from_list(frames)
        return "".join(shown.format())
    return "".join(shown.format_exception_only()) if isinstance(cause, SyntaxError) else ""


def _import(name: str) -> Any:
    here = os.path.abspath(os.curdir)
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return pkgutil.resolve_name(name + ":")
    except all_but_interrupts() as error:
        log.debug("importing %s failed", name, exc_info=error)
        if isinstance(error, ModuleNotFoundError) and _is_part(error.name, name):
            sentence = f"there is no module {error.name!r}"
        else:
            sentence = f"{type(error).__name__}: {error}{_place(error)}"
        raise LoadError(f"Cannot import {name!r}: {sentence}") from error


def _is_part(missing: str | None, name: str) -> bool:
    """Whether the missing module is the application's own or a package around it."""
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _place(error: BaseException) -> str:
    """The place in the application where it happened; "" if it did not run at all."""
    last = extract_tb(error.__traceback__)[-1]
    if _imports(last):
        return ""
    return f" ({last.filename}, line {last.lineno})"


def _imports(frame: FrameSummary) -> bool:
    return frame.filename.startswith("<frozen") or frame.filename in _IMPORTING


_IMPORTING = {__file__, pkgutil.__file__, importlib.__file__}
