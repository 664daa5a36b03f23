"""Hooks of locust: our options, the choice of users, and the exit status.

The exit status is 1 if more requests failed than `--most-failures` allows, if the 99th percentile
of all is above `--most-p99`, or if there was no request at all. A run within these limits ends with
0, even if single requests failed. In a distributed run the master decides, with the statistics of
all workers.
"""

import logging
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent
from locust import User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.scenarios.open_loop import OpenLoop
from loadtest.scenarios.outcome import Recorder
from loadtest.scenarios.schedule import CONSTANT, POISSON
from loadtest.scenarios.shapes import SHAPES

DEFAULT_RATE: Final = 100.0  # requests a second
MOST_FAILURES: Final = 0.01  # share of all requests, 0 to 1
MOST_P99: Final = 1.0  # seconds

_log = logging.getLogger(__name__)


def register() -> None:
    """Add the hooks to locust."""
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(on_init)
    events.test_start.add_listener(seed)
    events.quitting.add_listener(judge)


def add_options(parser: LocustArgumentParser) -> None:
    """Add our options.

    They are in no group, since only options of the parser itself are on locust's page.
    """
    add = parser.add_argument
    add("--seed", type=int, default=1, help="seed of all random choices")
    add("--rate", type=float, default=DEFAULT_RATE, help="OpenLoop: requests a second")
    add("--arrivals", choices=[POISSON, CONSTANT], default=POISSON, help="OpenLoop: their moments")
    add("--open-seconds", type=float, default=0.0, help="OpenLoop: duration (0: until the end)")
    add("--shape", choices=list(SHAPES), help="users over time", include_in_web_ui=False)
    add("--shape-speed", type=float, default=1.0, help="how many times as fast")
    add("--most-failures", type=float, default=MOST_FAILURES, help="share of requests, 0 to 1")
    add("--most-p99", type=float, default=MOST_P99, help="seconds")
    add(
        "--announce",
        action="store_true",
        help="OpenLoop: print a line when the window opens, and one when it is over",
        include_in_web_ui=False,
    )
    add("--outcome", help="write histograms to this file", include_in_web_ui=False)


def on_init(environment: Environment, **others: Any) -> None:
    """Choose users and shape, and record the outcome."""
    # Timers count from when the loop last read its clock, which was before the imports: without
    # this the run would end too early by the duration of the imports.
    gevent.get_hub().loop.update_now()
    if not isinstance(environment.runner, WorkerRunner):  # a worker gets its users from the master
        _choose_users(environment)
        _choose_shape(environment)
    _record(environment)


def _choose_users(environment: Environment) -> None:
    """Remove OpenLoop unless it is named, and the users without any task with these tags."""
    options = environment.parsed_options
    assert options is not None
    if (
        not options.user_classes
        and not options.class_picker
        and OpenLoop in environment.user_classes
    ):
        environment.user_classes.remove(OpenLoop)
    wanted, unwanted = set(options.tags or ()), set(options.exclude_tags or ())
    environment.user_classes = [
        one for one in environment.user_classes if _has_task(one, wanted, unwanted)
    ]
    if not environment.user_classes:
        sys.exit(f"No user has a task with the tags {sorted(wanted)}, without {sorted(unwanted)}.")


def _has_task(user: type[User], wanted: set[str], unwanted: set[str]) -> bool:
    tags: list[set[str]] = [getattr(task, "locust_tag_set", set()) for task in user.tasks]
    return any((not wanted or one & wanted) and not one & unwanted for one in tags)


def _choose_shape(environment: Environment) -> None:
    options = environment.parsed_options
    assert options is not None
    shapes: dict[str, Any] = {shape.__name__: shape() for shape in SHAPES.values()}
    environment.available_shape_classes = shapes  # for the page's picker
    if options.shape:
        environment.shape_class = shapes[SHAPES[options.shape].__name__]
        environment.shape_class.runner = environment.runner


def seed(environment: Environment, **others: Any) -> None:
    """Make the random choices of users repeatable; their moments depend on the responses."""
    options = environment.parsed_options
    assert options is not None
    random.seed(f"{options.seed} {getattr(environment.runner, 'worker_index', 0)}")


def _record(environment: Environment) -> None:
    """Record the outcome: in every worker, for its master, and otherwise with --outcome."""
    options = environment.parsed_options
    assert options is not None
    recorder = Recorder()
    hooks = environment.events
    if isinstance(environment.runner, WorkerRunner):
        hooks.request.add_listener(recorder.on_request)
        hooks.report_to_master.add_listener(recorder.on_report_to_master)
    elif options.outcome:
        path, start = Path(options.outcome), time.monotonic()

        def write(**others: Any) -> None:
            recorder.write(path, time.monotonic() - start, options.open_seconds)

        hooks.request.add_listener(recorder.on_request)
        hooks.worker_report.add_listener(recorder.on_worker_report)
        hooks.quitting.add_listener(write)


def judge(environment: Environment, **others: Any) -> None:
    """Set the exit status, and log the limits that are not met."""
    if isinstance(environment.runner, WorkerRunner):
        return
    options, total = environment.parsed_options, environment.stats.total
    assert options is not None
    p99 = total.get_response_time_percentile(0.99) / 1000
    problems = []
    if not total.num_requests:
        problems.append("there was no request")
    if total.fail_ratio > options.most_failures:
        problems.append(f"{total.fail_ratio:.2%} failed, of {options.most_failures:.2%} allowed")
    if p99 > options.most_p99:
        problems.append(f"p99 is {p99:.3f} s, of {options.most_p99:g} s allowed")
    for problem in problems:
        _log.error("limit: %s", problem)
    environment.process_exit_code = 1 if problems else 0
