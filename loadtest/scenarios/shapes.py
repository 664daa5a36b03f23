"""The shapes that locust follows: in steps, with a spike, or the same for long.

A shape is stages (see stages.py), each with a share of the peak. `-u` says how many users the peak
is, `-r` how many come or go in a second, and `--shape-speed 10` has all of it in a tenth of the
time. The shape is chosen with `--shape`, or on the page with its picker of classes; locust's own
way, a shape class in the locustfile, would leave no choice.
"""

from typing import ClassVar, Final

from locust import LoadTestShape

from loadtest.scenarios.load_stages import STAGES, Stage, share_at

DEFAULT_PEAK: Final = 50  # users
DEFAULT_SPAWN_RATE: Final = 20.0  # users a second


class Shape(LoadTestShape):
    """Follows its stages, and ends the run after the last."""

    abstract: ClassVar[bool] = True
    use_common_options: ClassVar[bool] = True
    stages: ClassVar[tuple[Stage, ...]] = ()

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        share = share_at(self.stages, self.get_run_time() * options.shape_speed)
        if share is None:
            return None
        users = max(1, round((options.num_users or DEFAULT_PEAK) * share))
        return users, options.spawn_rate or DEFAULT_SPAWN_RATE


class Steps(Shape):
    """From a fifth of the peak to the whole: at which step does it get slow?"""

    stages = STAGES["steps"]


class Spike(Shape):
    """Calm, ten times as many at once, and calm again: does it recover, and how soon?"""

    stages = STAGES["spike"]


class Soak(Shape):
    """An hour of the same after a slow beginning: does anything grow?"""

    stages = STAGES["soak"]


SHAPES: Final = {"steps": Steps, "spike": Spike, "soak": Soak}
