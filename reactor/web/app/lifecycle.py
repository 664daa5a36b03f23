"""The functions of an application beside its requests: at its start and end, and periodic ones.

The functions are collected here, in the order of their registration, and called by the server (see
server/lifecycle.py). A mounted application is a place in that order.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from reactor.server.lifecycle import Step, StepKind
from reactor.web.app.functions import describe

S = TypeVar("S", bound=Callable[[], Any])


class LifecycleSteps:
    """The functions of one application. `state` is a dict for what they make, and others need."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self._steps: list[Step | LifecycleSteps] = []

    def on_start(self, function: S) -> S:
        """Call the function when a server starts, before a client is accepted; a decorator.

            @app.on_start
            async def connect():
                app.state["database"] = await open_database()

        It takes no argument, and is a `def` or an `async def`. Functions are called in the order of
        their registration, each when the one before has ended, within `Limits.start_timeout`. An
        error ends the start: the server calls the functions of `on_stop` that were registered
        behind a success, and exits with a sentence. A plain function runs on the loop: one that
        takes long is an `async def` that awaits `in_pool`.
        """
        return self._add_step(StepKind.START, function)

    def on_stop(self, function: S) -> S:
        """Call the function when a server ends, behind the last request; a decorator.

        The functions are called in the reverse order of their registration, each within
        `Limits.stop_timeout`; they may wait. Register each behind the `on_start` whose work it
        undoes: where a start fails, those before it are called. An error is logged, and the other
        functions are called all the same.
        """
        return self._add_step(StepKind.STOP, function)

    def every(self, seconds: float) -> Callable[[S], S]:
        """Return a decorator: call the function every `seconds`, from the start to the end.

            @app.every(60)
            async def refresh():
                app.state["rates"] = await in_pool(load_rates)

        The first run is `seconds` after the functions of `on_start` have ended, the others at whole
        multiples of that. A run that takes longer skips the times that it misses: the function
        never runs twice at once. An error is logged, and the next run comes at its time. Before the
        functions of `on_stop` the task is cancelled. Raises ValueError for 0 seconds or less.
        """
        if not isinstance(seconds, int | float):
            raise TypeError(f"`every` takes a number of seconds, as in every(60), not {seconds!r}")
        if not 0 < seconds < float("inf"):
            raise ValueError(f"a periodic task needs more than 0 seconds, not {seconds!r}")
        return lambda function: self._add_step(StepKind.EVERY, function, seconds)

    def lifecycle(self) -> Iterator[Step]:
        """The functions of this application and those mounted in it, in their order."""
        for one in self._steps:
            if isinstance(one, Step):
                yield one
            else:
                yield from one.lifecycle()

    def _add_step(self, kind: StepKind, function: S, seconds: float = 0.0) -> S:
        """Add the function, and return it. Raises TypeError for one that cannot be called so."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{describe(function)} is a generator, and must be a function")
        try:
            inspect.signature(function).bind()
        except TypeError as error:
            raise TypeError(f"{describe(function)} must take no argument: {error}") from None
        self._steps.append(Step(kind, function, seconds))
        return function
