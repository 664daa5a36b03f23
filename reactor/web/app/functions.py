"""The functions of an author: their names and places for error messages, and how they are called.

An error that is found when an application is composed, or in the result of a function, names the
function with its file and line: the traceback of such an error has only lines of this package.
"""

import inspect
from functools import partial
from typing import Any


def is_asynchronous(function: Any) -> bool:
    """Whether calling it returns a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def describe(function: Any) -> str:
    """The name of a function or the class of an object, with the file and line if known."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None and not isinstance(function, type):
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)  # noqa: B004
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else name


def takes_first(function: Any) -> bool:
    """Whether the function takes an argument by place, as far as Python can look into it."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):
        return True
    return first is not None and first.kind not in (first.KEYWORD_ONLY, first.VAR_KEYWORD)


def is_generator_function(function: Any) -> bool:
    """Whether calling it returns a generator of either kind."""
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            return True
    return False


def misfit(function: Any, *names: str) -> str:
    """How the function differs from one that is called with these arguments; "" where it fits.

    `names` are shown; the arguments are given by place.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # Python cannot look into a built-in
        return ""
    try:
        signature.bind(*names)
    except TypeError as error:
        return f"it is called with ({', '.join(names)}), and takes {signature}: {error}"
    return ""
