"""What locust is told beyond its users: options, who takes part, and how a run is judged.

All of it hangs on locust's event hooks. The exit status is 1 if more requests failed than
`--most-failures` allows, if the 99th percentile of all is above `--most-p99`, or if there was no
request at all; a run that meets the limits ends with 0 even if single requests failed. In a
distributed run the master judges, over the statistics of all workers.
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
MOST_FAILURES: Final = 0.01  # of all requests, 0 to 1
MOST_P99: Final = 1.0  # seconds

_log = logging.getLogger(__name__)


def register() -> None:
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(on_init)
    events.test_start.add_listener(seed)
    events.quitting.add_listener(judge)


def add_options(parser: LocustArgumentParser) -> None:
    """Not in a group: only the parser itself knows which of them locust's page shows."""
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of all that is left to chance")
    add("--rate", type=float, default=DEFAULT_RATE, help="OpenLoop: requests a second")
    add("--arrivals", choices=[POISSON, CONSTANT], default=POISSON, help="OpenLoop: their moments")
    add("--open-seconds", type=float, default=0.0, help="OpenLoop: for so long (0: until the end)")
    add("--shape", choices=list(SHAPES), help="users over time", include_in_web_ui=False)
    add("--shape-speed", type=float, default=1.0, help="how many times as fast")
    add("--most-failures", type=float, default=MOST_FAILURES, help="share of requests, 0 to 1")
    add("--most-p99", type=float, default=MOST_P99, help="seconds")
    add(
        "--announce",
        action="store_true",
        help="OpenLoop: a line when what counts begins, and when it is over",
        include_in_web_ui=False,
    )
    add("--outcome", help="write histograms to this file", include_in_web_ui=False)


def on_init(environment: Environment, **others: Any) -> None:
    # Timers count from when the loop last looked at its clock, which was before the imports: the
    # run would end too early by as long as they took.
    gevent.get_hub().loop.update_now()
    if not isinstance(environment.runner, WorkerRunner):  # which runs whom its master names
        _choose_users(environment)
        _choose_shape(environment)
    _record(environment)


def _choose_users(environment: Environment) -> None:
    """OpenLoop runs where it is named only; who has no task left with these tags does not run."""
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
        sys.exit(
            f"no user has a task with these tags: {sorted(wanted)}, without {sorted(unwanted)}"
        )


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
    """As repeatable as a closed loop can be: what users do by chance is the same."""
    options = environment.parsed_options
    assert options is not None
    random.seed(f"{options.seed} {getattr(environment.runner, 'worker_index', 0)}")


def _record(environment: Environment) -> None:
    """In every worker, as only its master knows who wants it; else where there is a file for it."""
    options = environment.parsed_options
    assert options is not None
    recorder = Recorder()
    hooks = environment.events
    if isinstance(environment.runner, WorkerRunner):
        hooks.request.add_listener(recorder.on_request)
        hooks.report_to_master.add_listener(recorder.on_report_to_master)
    elif options.outcome:
        path, began = Path(options.outcome), time.monotonic()

        def write(**others: Any) -> None:
            recorder.write(path, time.monotonic() - began, options.open_seconds)

        hooks.request.add_listener(recorder.on_request)
        hooks.worker_report.add_listener(recorder.on_worker_report)
        hooks.quitting.add_listener(write)


def judge(environment: Environment, **others: Any) -> None:
    """Sets the exit status, and says why."""
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
