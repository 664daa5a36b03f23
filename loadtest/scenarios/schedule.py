"""The requests of an open loop, and when each is due: fixed before the first is sent.

The mix is that of a browser's visits: pages, with the files and texts that belong to them, many of
which are requested conditionally. The moments are those of independent clients (a Poisson process),
or evenly spaced. Both come from a seed, so two servers get the same requests at the same moments.
This module does not import locust.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

from loadtest.scenarios import checks

POISSON: Final = "poisson"
CONSTANT: Final = "constant"


@dataclass(frozen=True)
class Kind:
    """A kind of request, and the check of its response."""

    name: str
    path: str
    share: int  # percent of all requests
    wrong: Callable[[bytes], str]  # the check of the body
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def conditional(self) -> bool:
        """Whether the request needs the file's entity tag, which the server knows."""
        return self.status == 304


MIX: Final = (
    Kind("/page", "/page", 30, checks.of_page),
    Kind("/text", "/text", 5, checks.of_packed_text, fields={"Accept-Encoding": "gzip"}),
    Kind("/files/1k", checks.SMALL, 25, partial(checks.of_file, checks.SMALL)),
    Kind("/files/1k again", checks.SMALL, 15, checks.of_nothing, 304),
    Kind("/files/100k", checks.LARGE, 10, partial(checks.of_file, checks.LARGE)),
    Kind("/files/100k again", checks.LARGE, 15, checks.of_nothing, 304),
)


class Due(NamedTuple):
    """A request and its moment, in seconds since the start."""

    at: float
    kind: Kind


def schedule(rate: float, seconds: float, seed: int, arrivals: str = POISSON) -> Iterator[Due]:
    """`rate` requests of MIX a second, for `seconds`; `arrivals` is POISSON or CONSTANT."""
    kinds, gaps = Random(f"kinds {seed}"), Random(f"gaps {seed}")
    shares = list(accumulate(kind.share for kind in MIX))
    at = 0.0
    while True:
        at += gaps.expovariate(rate) if arrivals == POISSON else 1.0 / rate
        if at >= seconds:
            return
        yield Due(at, kinds.choices(MIX, cum_weights=shares)[0])
