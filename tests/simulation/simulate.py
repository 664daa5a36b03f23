"""Plays many seeds of the simulation, or one of them with its trace.

python -m tests.simulation.simulate --seeds 10000          on all processors; 1 when a seed fails
python -m tests.simulation.simulate --seed 7 --trace       the history of one seed
"""

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator

from reactor.simulator import Violation, swimlanes
from tests.simulation.scenario import play

TAIL_LINES = 60  # the end of a failing seed's trace


def failure_of(seed: int, whole_trace: bool = False) -> str | None:
    """A text about the failure of the seed; None without one."""
    try:
        play(seed)
    except Violation as violation:
        trace = violation.network.trace
        tail = trace if whole_trace else trace[-TAIL_LINES:]
        reason = "".join(traceback.format_exception(violation)) if violation.__cause__ else ""
        return (
            f"{swimlanes(tail)}\n{reason}\nseed {seed}: {violation}\n"
            f"replay: python -m tests.simulation.simulate --seed {seed} --trace"
        )
    return None


def _attempt(seed: int) -> tuple[int, str | None]:
    try:
        return seed, failure_of(seed)
    except Exception:
        return seed, f"seed {seed}: the simulation itself failed\n{traceback.format_exc()}"


def _play_one(seed: int, trace: bool) -> int:
    failure = failure_of(seed, whole_trace=trace)
    if failure is not None:
        print(failure)
        return 1
    network = play(seed)
    if trace:
        print(swimlanes(network.trace))
    print(f"seed {seed}: {network.time:.0f} simulated seconds, nothing wrong")
    return 0


def _play_many(first: int, count: int, keep_going: bool) -> int:
    begin = time.monotonic()
    failed: list[int] = []
    done = 0
    for done, (seed, failure) in enumerate(_results(first, count), 1):
        if failure is not None:
            failed.append(seed)
            print(failure, flush=True)
            if not keep_going:
                break
        if done % 1000 == 0:
            print(f"{done} seeds, {time.monotonic() - begin:.0f} s", flush=True)
    seconds = time.monotonic() - begin
    print(f"{done} seeds from {first} on, {seconds:.1f} s, {len(failed)} failed {failed[:20]}")
    return 1 if failed else 0


def _results(first: int, count: int) -> Iterator[tuple[int, str | None]]:
    with multiprocessing.Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(_attempt, range(first, first + count), chunksize=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1000, help="number of seeds to play (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play this seed only")
    parser.add_argument(
        "--trace", action="store_true", help="print the history of --seed, line by line"
    )
    parser.add_argument("--keep-going", action="store_true", help="play on after a seed that fails")
    options = parser.parse_args()
    if options.seed is not None:
        return _play_one(options.seed, options.trace)
    return _play_many(options.first, options.seeds, options.keep_going)


if __name__ == "__main__":
    sys.exit(main())
