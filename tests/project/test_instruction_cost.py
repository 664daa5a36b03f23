"""No commit makes a request more expensive without saying so.

The figures that a request may cost are in loadtest/benchmarks/stored_costs.json; see
loadtest.benchmarks.instructions, which counts and stores them.
"""

import warnings

import pytest

from loadtest.benchmarks import stored_costs
from loadtest.benchmarks.instructions import (
    COUNT,
    UNSTORED,
    WORKLOADS,
    available,
    count_bytecodes,
    count_functions,
)
from loadtest.benchmarks.stored_costs import (
    BYTECODES,
    INSTRUCTIONS,
    Costs,
    changed,
    complaints,
    gains,
    load,
    not_comparable,
)

HOW = (
    "Where the commit is worth it, say so in its message and store the new figures: "
    "python -m loadtest.benchmarks.instructions --write"
)


def check(kind: str) -> None:
    """Count everything, and fail where a workload costs more than is stored and allowed."""
    costs = load(kind)
    if reason := not_comparable(kind, costs, {}):
        pytest.skip(reason)
    now = COUNT[kind](list(WORKLOADS))
    if reason := not_comparable(kind, costs, now):
        pytest.skip(reason)
    mine = costs[stored_costs.python(kind)]
    worse = complaints(mine, now)
    assert not worse, "\n".join([f"{kind} per request:", *worse, HOW])
    for gain in gains(mine, now):
        warnings.warn(f"{kind} per request: {gain}; store it, so that it is kept", stacklevel=1)


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.filterwarnings("always")
def test_no_workload_executes_more_instructions() -> None:
    if not available():
        pytest.skip("valgrind is not installed")
    check(INSTRUCTIONS)


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.filterwarnings("always")
def test_no_workload_executes_more_bytecodes() -> None:
    check(BYTECODES)


@pytest.mark.parametrize("kind", [INSTRUCTIONS, BYTECODES])
def test_each_workload_has_a_figure_of_some_python(kind: str) -> None:
    assert load(kind)
    for name, costs in load(kind).items():
        assert costs.figures.keys() == WORKLOADS.keys(), name


@pytest.mark.slow
@pytest.mark.system
def test_bytecodes_are_those_of_the_functions_that_a_request_calls() -> None:
    """They are the same each time, and the program that counts is not among them."""
    functions = count_functions(["bare"])["bare"]
    assert functions["reactor/loop/reactor.py: Reactor.run_once"] > 10
    assert not [name for name in functions if "counted.py" in name and "bare" not in name]
    assert count_bytecodes(["bare"])["bare"] == sum(functions.values())


@pytest.mark.slow
@pytest.mark.system
def test_a_workload_that_is_not_stored_is_counted() -> None:
    """Over TLS, a request is a request: it costs what it does without, and the records."""
    for name in UNSTORED:
        functions = count_functions([name])[name]
        assert functions["reactor/net/tls.py: TlsTransport.flush"] > 10
        assert sum(functions.values()) > load(BYTECODES)["CPython 3.11"].figures["raw"]


# --- what the stored figures say -----------------------------------------------------------------

FIGURES = {"raw": 1000, "tiny": 10_000, "file": 20_000}
STORED = Costs(FIGURES)


@pytest.mark.parametrize(("cost", "worse"), [(9000, False), (10_200, False), (10_201, True)])
def test_a_workload_may_cost_two_percent_more(cost: int, worse: bool) -> None:
    found = complaints(STORED, FIGURES | {"tiny": cost})
    assert bool(found) is worse
    if worse:
        assert found == [
            "tiny costs 10,201, 2.0% more than the stored 10,000; at most 2% more is accepted"
        ]


def test_an_estimate_allows_more() -> None:
    estimated = Costs(FIGURES, estimated=True)
    assert not complaints(estimated, FIGURES | {"tiny": 10_500})
    assert complaints(estimated, FIGURES | {"tiny": 10_501})


def test_a_gain_is_named() -> None:
    assert not gains(STORED, FIGURES | {"tiny": 9_800})
    assert gains(STORED, FIGURES | {"tiny": 9_000}) == [
        "tiny costs 9,000, 10.0% less than the stored 10,000"
    ]


def test_another_python_is_not_compared() -> None:
    reason = not_comparable(INSTRUCTIONS, {"Other 3.11": STORED}, FIGURES)
    assert reason is not None
    assert "only of Other 3.11" in reason
    reason = not_comparable(INSTRUCTIONS, {}, FIGURES)
    assert reason is not None
    assert "only of no Python" in reason


@pytest.mark.parametrize(("floor", "same"), [(1010, True), (1011, False), (989, False)])
def test_another_build_is_known_by_its_raw_loop(floor: int, same: bool) -> None:
    costs = {stored_costs.python(INSTRUCTIONS): STORED}
    reason = not_comparable(INSTRUCTIONS, costs, FIGURES | {"raw": floor})
    assert (reason is None) is same
    assert not_comparable(INSTRUCTIONS, costs, {}) is None, "before the counting"


def test_a_change_moves_the_figures_of_other_pythons() -> None:
    other = Costs({"raw": 900, "tiny": 8000, "file": 18_000})
    now = {"raw": 1001, "tiny": 9000, "file": 20_010}
    after = changed({"a": STORED, "b": other}, "a", now)
    assert after["a"] == Costs(now)
    assert after["b"] == Costs({"raw": 900, "tiny": 7200, "file": 18_000}, estimated=True)
    again = changed(after, "b", {"raw": 900, "tiny": 7300, "file": 18_000})
    assert again["b"] == Costs({"raw": 900, "tiny": 7300, "file": 18_000})
    assert again["a"] == Costs(now | {"tiny": 9125}, estimated=True)


def test_a_python_that_is_new_moves_no_figures() -> None:
    assert changed({"a": STORED}, "b", {"tiny": 1})["a"] == STORED
    another_build = changed({"a": STORED, "b": STORED}, "b", {"raw": 2000, "tiny": 1, "file": 1})
    assert another_build["a"] == STORED


def test_some_workloads_of_an_estimate_leave_it_an_estimate() -> None:
    costs = {"a": Costs(FIGURES, estimated=True)}
    assert changed(costs, "a", {"tiny": 9000})["a"].estimated
    assert not changed(costs, "a", FIGURES)["a"].estimated
