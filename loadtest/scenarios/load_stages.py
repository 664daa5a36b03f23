"""The number of users over time, without locust, so that any program can use it."""

from typing import Final, NamedTuple

STEP_SECONDS: Final = 30.0
STEPS: Final = 5
CALM_SECONDS: Final = 40.0
CALM_SHARE: Final = 0.1  # share of the peak
SPIKE_SECONDS: Final = 20.0
RAMP_SECONDS: Final = 60.0
SOAK_SECONDS: Final = 3600.0


class Stage(NamedTuple):
    """A number of users, and how long it lasts."""

    seconds: float
    share: float  # share of the peak


STAGES: Final = {
    "steps": tuple(Stage(STEP_SECONDS, (number + 1) / STEPS) for number in range(STEPS)),
    "spike": (
        Stage(CALM_SECONDS, CALM_SHARE),
        Stage(SPIKE_SECONDS, 1.0),
        Stage(CALM_SECONDS, CALM_SHARE),
    ),
    "soak": (Stage(RAMP_SECONDS, 0.5), Stage(SOAK_SECONDS, 1.0)),
}


def share_at(stages: tuple[Stage, ...], seconds: float) -> float | None:
    """The share of the peak after `seconds`; None after the last stage."""
    for stage in stages:
        if seconds < stage.seconds:
            return stage.share
        seconds -= stage.seconds
    return None


def duration(shape: str) -> float:
    """The duration of a shape, in seconds."""
    return sum(stage.seconds for stage in STAGES[shape])
