"""Names of callbacks for the log: from the owner's own description, or function, file and line.

An owner that knows better than its function's name what it is doing has a method `describe`: a
connection knows its request, a task its coroutine.
"""

from functools import partial

from reactor.errors import all_but_interrupts


def describe(callback: object) -> str:
    """The name of a function, a method, a partial, a coroutine, or an object with `describe`."""
    while isinstance(callback, partial):
        callback = callback.func
    owner = getattr(callback, "__self__", callback)
    try:
        describe = getattr(owner, "describe", None)
        if describe is not None and not isinstance(owner, type):
            return str(describe())
    except all_but_interrupts():
        pass  # it is a program's object, and its `describe` may be for something else
    function = getattr(callback, "__func__", callback)
    code = getattr(function, "__code__", None) or getattr(callback, "cr_code", None)
    if code is None:
        return safe_repr(callback)
    frame = getattr(callback, "cr_frame", None)  # a coroutine's, until it ends: where it waits
    line = code.co_firstlineno if frame is None else frame.f_lineno
    return f"{code.co_qualname} ({code.co_filename}, line {line})"


def safe_repr(value: object) -> str:
    """The repr of an object, or that of any object where its own raises."""
    try:
        return repr(value)
    except all_but_interrupts():
        return object.__repr__(value)
