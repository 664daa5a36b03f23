"""Names of callbacks for the log: from the owner's own description, or function, file and line.

An owner that knows better than its function's name what it is doing has a method `describe`: a
connection knows its request, a task its coroutine.
"""

from functools import partial


def describe(callback: object) -> str:
    """The name of a function, a method, a partial, a coroutine, or an object with `describe`."""
    while isinstance(callback, partial):
        callback = callback.func
    owner = getattr(callback, "__self__", callback)
    describe = getattr(owner, "describe", None)
    if describe is not None and not isinstance(owner, type):
        return str(describe())
    function = getattr(callback, "__func__", callback)
    code = getattr(function, "__code__", None) or getattr(callback, "cr_code", None)
    if code is None:
        return repr(callback)
    frame = getattr(callback, "cr_frame", None)  # a coroutine's, until it ends: where it waits
    line = code.co_firstlineno if frame is None else frame.f_lineno
    return f"{code.co_qualname} ({code.co_filename}, line {line})"
