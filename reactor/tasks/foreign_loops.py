"""Errors of code that expects another event loop, mostly asyncio's, explained.

Handlers run on the loop of this package. asyncio's functions, and libraries on top of it, find no
loop of their own there, and say so in words that name nobody: "no running event loop". `explain`
adds a note to such an error, which logs and debug pages show: the function that was called, the
place, and what to use instead. EQUIVALENTS is the table of docs/streaming.md.
"""

import gc
import inspect
from types import FrameType, TracebackType
from typing import Any, Final

from reactor.errors import all_but_interrupts

# Names of asyncio, and the names to use instead.
EQUIVALENTS: Final = {
    ("sleep",): "`await reactor.sleep(seconds)`",
    ("to_thread", "run_in_executor"): "`await reactor.in_pool(function, *arguments)`",
    ("gather", "TaskGroup"): "`await reactor.gather(*awaitables)`",
    ("wait_for", "timeout", "timeout_at"): "`await reactor.timeout(seconds, awaitable)`",
    ("wait", "as_completed"): "`await reactor.first_of(one, two)` or `await reactor.gather(...)`",
    ("create_task", "ensure_future"): (
        "`await reactor.gather(*awaitables)`, or `reactor.Request.after` for work after the "
        "response, or `reactor.Application.every` for periodic work"
    ),
    ("Future", "create_future", "Event"): (
        "`reactor.Future()`, several tasks may await it; or `reactor.in_pool` for a blocking call"
    ),
    ("Lock", "Semaphore", "BoundedSemaphore"): "`reactor.WeightedSemaphore`",
    ("Queue", "Condition"): "`reactor.Broadcast`",
    ("shield",): "`reactor.SingleFlight`",
    ("CancelledError",): "`reactor.Cancelled`",
    ("open_connection", "create_connection", "create_subprocess_exec", "create_subprocess_shell"): (
        "a blocking client in `await reactor.in_pool(function, *arguments)`"
    ),
    ("get_running_loop", "get_event_loop", "current_task"): (
        "the functions of `reactor` that wait, such as `reactor.sleep`: they find their loop alone"
    ),
}
LIBRARIES: Final = (
    "a library that blocks (`urllib.request`, `httpx.Client`, `psycopg`) in "
    "`await reactor.in_pool(function, *arguments)`"
)

_BY_NAME: Final = {name: use for names, use in EQUIVALENTS.items() for name in names}
_SIGNS: Final = ("no running event loop", "no current event loop", "'create_future'")
# Errors of sniffio and anyio, on which httpx stands.
_ERROR_NAMES: Final = frozenset({"AsyncLibraryNotFoundError", "NoEventLoopError"})
# Methods that wait, and the classes that have them.
_CLASSES: Final = {"acquire": "Lock", "get": "Queue", "put": "Queue", "wait": "Event"}


def explain(error: BaseException) -> None:
    """Add a note to an error that says that there is no loop of asyncio. Nothing for any other."""
    foreign = type(error).__name__ in _ERROR_NAMES
    if not foreign and not isinstance(error, RuntimeError | AttributeError):
        return
    try:
        text = str(error)
    except all_but_interrupts():
        return
    if foreign or any(sign in text for sign in _SIGNS):
        place, called = _call_of(error.__traceback__)
        if foreign or called or "event loop" in text:
            _add(error, _note(called, place))


def explain_await(error: BaseException, awaited: Any, yielded: Any) -> None:
    """Add a note to the error of awaiting an object of asyncio; `awaited` is the coroutine."""
    inner, place = awaited, ""
    while inner is not None:
        inner = _generator_of(inner)
        frame: FrameType | None = _part(inner, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            break
        if _module(frame).startswith("asyncio"):
            name = frame.f_code.co_name
            _add(error, _note(name.removeprefix("__").removesuffix("0"), place))
            return
        place = _place(frame, frame.f_lineno)
        inner = _part(inner, "cr_await", "gi_yieldfrom", "ag_await")
    kind = type(yielded)
    if kind.__module__.partition(".")[0] in ("asyncio", "_asyncio"):
        called = {"_GatheringFuture": "gather", "Task": "create_task"}.get(kind.__name__, "Future")
        _add(error, _note(called, place))


def _generator_of(awaitable: Any) -> Any:
    """The asynchronous generator behind the awaitable of one of its steps; else the awaitable."""
    if type(awaitable).__name__.startswith(("async_generator_", "anext_awaitable")):
        for one in gc.get_referents(awaitable):
            if inspect.isasyncgen(one) or inspect.isawaitable(one):
                return _generator_of(one)
    return awaitable


def _part(awaitable: Any, *names: str) -> Any:
    """The first of these attributes that the awaitable has, or None."""
    return next((one for name in names if (one := getattr(awaitable, name, None))), None)


def _note(called: str, place: str) -> str:
    """The sentences, for a function of asyncio or for a library (its name with a dot), or ""."""
    where = f" in {place}" if place else ""
    if called.endswith("."):
        begin, use = f"{called[:-1]} was called{where}. It needs", LIBRARIES
    elif called:
        begin = f"asyncio.{called} was used{where}. It needs"
        use = _BY_NAME.get(called, "") or "a function of reactor that waits"
    else:
        begin, use = f"The code{where} needs", "the functions of reactor that wait"
    return (
        f"{begin} asyncio's event loop, but handlers run on reactor's own. Use instead: {use}. "
        'The section "From asyncio" in docs/streaming.md has a table.'
    )


def _call_of(traceback: TracebackType | None) -> tuple[str, str]:
    """The place that has called asyncio, or a library on it, and the name of what it called."""
    caller: TracebackType | None = None
    called = ""
    while traceback is not None:
        frame = traceback.tb_frame
        if _module(frame).startswith("asyncio"):
            name = frame.f_code.co_name
            if name == "_get_loop" or (name.startswith("__") and not called):
                name = type(frame.f_locals.get("self")).__name__
            return _place_in(caller), called or _CLASSES.get(name, name)
        if called.endswith(".") or (caller is not None and _is_library(frame)):
            called = called or _module(frame).partition(".")[0] + "."
        else:
            caller = traceback
        traceback = traceback.tb_next
    if not called and caller is not None and not _is_own(caller.tb_frame):
        called = "get_running_loop"
    return _place_in(caller), called


def _is_library(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return "site-packages" in path or "dist-packages" in path


def _is_own(frame: FrameType) -> bool:
    return _module(frame).partition(".")[0] == "reactor"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _place_in(traceback: TracebackType | None) -> str:
    return "" if traceback is None else _place(traceback.tb_frame, traceback.tb_lineno)


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}, line {line})"


def _add(error: BaseException, note: str) -> None:
    if not getattr(error, "__notes__", None):  # once
        error.add_note(note)
