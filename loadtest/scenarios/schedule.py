"""Which requests an open loop sends, and when each is due: known before the first is sent.

The mix is what a browser's visits come to: pages, and the files and texts that belong to them, of
which it has many already and asks whether they have changed. The moments are those of clients that
do not know of each other (a Poisson process), or evenly spaced. Both come from a seed, so two
servers get the same requests at the same moments. Nothing here knows locust, or what is answered.
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
    """A request, and what its answer must be."""

    name: str
    path: str
    share: int  # of all requests, in percent
    wrong: Callable[[bytes], str]  # of the answer's body
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def conditional(self) -> bool:
        """Whether it needs the file's tag, which only the server can tell."""
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
    """`rate` requests a second for so many seconds, of MIX; `arrivals` is POISSON or CONSTANT."""
    kinds, gaps = Random(f"kinds {seed}"), Random(f"gaps {seed}")
    shares = list(accumulate(kind.share for kind in MIX))
    at = 0.0
    while True:
        at += gaps.expovariate(rate) if arrivals == POISSON else 1.0 / rate
        if at >= seconds:
            return
        yield Due(at, kinds.choices(MIX, cum_weights=shares)[0])
