"""Raw data: what is written is read, also of a run that was cut; anything else is refused."""

import json
from pathlib import Path

import pytest

from loadtest.clients.histogram import Histogram
from loadtest.experiment.measure.samples import Cell, Recorder, Run, Sample, read, samples_of

CELL = Cell("keepalive-8", "keepalive", 8, "8 connections", ["reactor", "threads"], "connections")
RUN = Run("quick", 1.5, 1, "abc", {"cores": 2}, {"wrk": "4"}, [CELL])


def sample(arm: str = "reactor", failure: str = "") -> Sample:
    return Sample(
        "keepalive-8",
        "keepalive",
        8,
        arm,
        1,
        2.5,
        10.0,
        ["python"],
        ["wrk"],
        {"rate": 100.0},
        {"service": Histogram([0.001, 0.002])},
        failure=failure,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a complete run with two samples."""
    path = tmp_path / "raw.jsonl"
    recorder = Recorder(path, RUN)
    recorder.add(sample())
    recorder.add(sample("threads", failure="it fell ü"))
    recorder.end()
    recorder.close()
    return path


def test_written_samples_are_read(path: Path) -> None:
    recorded = read(path)
    assert recorded.run == RUN
    assert recorded.ended
    first, second = recorded.samples
    assert (first.arm, first.values, first.server) == ("reactor", {"rate": 100.0}, ["python"])
    assert first.latencies["service"].counts == Histogram([0.001, 0.002]).counts
    assert second.failure == "it fell ü"


def test_failed_samples_have_no_numbers(path: Path) -> None:
    samples = read(path).samples
    assert len(samples_of(samples, "keepalive-8", "reactor")) == 1
    assert not samples_of(samples, "keepalive-8", "threads")
    assert not samples_of(samples, "keepalive-9", "reactor")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_text_may_have_ends_of_lines(tmp_path: Path, end: str) -> None:
    recorder = Recorder(tmp_path / "raw.jsonl", RUN)
    recorder.add(sample(failure=f"one{end}two"))
    recorder.add(sample())
    recorder.close()
    assert [one.failure for one in read(tmp_path / "raw.jsonl").samples] == [f"one{end}two", ""]


def test_each_line_is_there_as_soon_as_it_is_added(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    recorder = Recorder(path, RUN)
    assert read(path).samples == []
    recorder.add(sample())
    assert len(read(path).samples) == 1
    assert not read(path).ended
    recorder.close()


def test_a_last_line_that_is_cut_is_left(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:40]]))
    recorded = read(path)
    assert [one.arm for one in recorded.samples] == ["reactor"]
    assert not recorded.ended


def test_a_line_that_is_cut_in_the_middle_is_named(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:40], lines[2]]))
    with pytest.raises(ValueError, match="line 2"):
        read(path)


@pytest.mark.parametrize("text", ["", "{", json.dumps({"kind": "sample"}), '{"a": 1}\n{}'])
def test_a_file_without_a_run_is_malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="has no run in its first line"):
        read(path)


@pytest.mark.parametrize(("share", "bound"), [(None, False), (0.8, False), (0.81, True)])
def test_a_generator_is_the_limit_above_its_share(share: float | None, bound: bool) -> None:
    one = sample()
    if share is not None:
        one.values["generator_share"] = share
    assert one.generator_bound is bound
