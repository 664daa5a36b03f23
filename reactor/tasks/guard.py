"""Methods that rely on being alone: nothing to do on the loop, a guard among threads.

Everything here is written for the loop: one callback runs at a time, and a coroutine is alone from
one await to the next. The same handlers can also be served by several threads (loadtest.threaded
does so for comparison), and then objects that connections share, like a cache of open files, need a
guard that restores that promise. So a class of such objects derives from Shared and marks the
methods that connections call with @exclusive.

On the loop this changes nothing: a marked method is the plain method, and a call of it costs what
it costs without the mark. Where `Shared.guard` is set, each object made from then on has its marked
methods wrapped by it.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Guard: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_MARK = "is_exclusive"


def exclusive(method: F) -> F:
    """Mark a method of a Shared class. Its class relies on being alone in it.

    For a coroutine method that means: in each step, from one await to the next.
    """
    setattr(method, _MARK, True)
    return method


class Shared:
    """Base class of objects whose methods are called for many connections."""

    guard: ClassVar[Guard | None] = None  # wraps each marked method of objects made from now on

    def __init__(self) -> None:
        guard = Shared.guard
        if guard is not None:
            for name in exclusive_methods(type(self)):
                setattr(self, name, guard(getattr(self, name)))


def exclusive_methods(owner: type) -> list[str]:
    """The names of the methods of a class that are marked."""
    return [name for name in dir(owner) if getattr(getattr(owner, name), _MARK, False)]
