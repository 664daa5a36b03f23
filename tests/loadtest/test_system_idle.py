"""The machine's times, and what is printed about it."""

import time

import pytest

from loadtest import system_idle

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_machine_times_go_on() -> None:
    before = system_idle.machine_times()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    after = system_idle.machine_times()
    assert after.total - before.total >= after.busy - before.busy >= 5  # ticks of 10 ms
    assert after.stolen >= before.stolen >= 0


def test_a_machine_that_is_not_quiet_has_a_warning() -> None:
    facts = {"processor": "x", "cores": 2, "kernel": "1", "python": "3", "load_average": 0.1}
    assert "\n" not in system_idle.machine_summary(facts)
    assert "busy before" in system_idle.machine_summary(facts | {"load_average": 2.0})
    assert "one core only" in system_idle.machine_summary(facts | {"cores": 1})


def test_the_facts_of_this_machine_have_a_summary() -> None:
    facts = system_idle.machine_facts()
    assert facts["python"] in system_idle.machine_summary(facts)
