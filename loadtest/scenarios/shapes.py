"""The load shapes for locust: in steps, with a spike, or constant for an hour.

A shape has stages (see load_stages.py), each with a share of the peak. `-u` is the number of users
at the peak, `-r` how many start or stop in a second, and `--shape-speed 10` makes the shape ten
times as fast. The shape is chosen with `--shape`, or on the page with its picker of classes; a
shape class in the locustfile, locust's own way, would leave no choice.
"""

from typing import ClassVar, Final

from locust import LoadTestShape

from loadtest.scenarios.load_stages import STAGES, Stage, share_at

DEFAULT_PEAK: Final = 50  # users
DEFAULT_SPAWN_RATE: Final = 20.0  # users a second


class Shape(LoadTestShape):
    """A shape of locust that follows its stages, and ends the run after the last."""

    abstract: ClassVar[bool] = True
    use_common_options: ClassVar[bool] = True
    stages: ClassVar[tuple[Stage, ...]] = ()

    def tick(self) -> tuple[int, float] | None:
        """The number of users now, and how many start in a second; None at the end."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        share = share_at(self.stages, self.get_run_time() * options.shape_speed)
        if share is None:
            return None
        users = max(1, round((options.num_users or DEFAULT_PEAK) * share))
        return users, options.spawn_rate or DEFAULT_SPAWN_RATE


class Steps(Shape):
    """From a fifth of the peak to all of it: at which step does the server get slow?"""

    stages = STAGES["steps"]


class Spike(Shape):
    """Calm, ten times as many at once, and calm again: how soon does the server recover?"""

    stages = STAGES["spike"]


class Soak(Shape):
    """An hour with the same number after a slow beginning: does memory grow?"""

    stages = STAGES["soak"]


SHAPES: Final = {"steps": Steps, "spike": Spike, "soak": Soak}
