"""Output of child processes: lines in any pieces, ends of every kind, and their last words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.companion import Companion, Lines
from loadtest.system import MeasurementError
from tests.support.child_programs import SECONDS, running

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("no_leaks")]


@contextmanager
def companion(directory: Path, code: str) -> Iterator[Companion]:
    with running(directory, code) as process:
        yield Companion(process, directory / "tool.log")


def all_lines(lines: Lines) -> Sequence[str]:
    found = []
    while line := lines.next(SECONDS):
        found.append(line)
    assert line == "", "the end, and not the timeout"
    return found


# ---------------------------------------------------------------------------------- lines


def test_two_lines_at_once_are_two(tmp_path: Path) -> None:
    with running(
        tmp_path, r"os.write(1, b'one\ntwo\nthr'); time.sleep(.2); os.write(1, b'ee\n')"
    ) as one:
        assert all_lines(Lines(one)) == ["one", "two", "three"]


def test_a_line_in_pieces_is_one_and_an_end_without_a_line_feed_ends_it(tmp_path: Path) -> None:
    code = "for byte in 'grün\\nlast'.encode():\n  os.write(1, bytes([byte])); time.sleep(.01)"
    with running(tmp_path, code) as one:
        lines = Lines(one)
        assert all_lines(lines) == ["grün", "last"]
        assert lines.next(SECONDS) == "", "it stays at the end"


def test_an_empty_line_differs_from_the_end(tmp_path: Path) -> None:
    with running(tmp_path, r"os.write(1, b'\n\nx\n')") as one:
        assert [line.strip() for line in all_lines(Lines(one))] == ["", "", "x"]


def test_invalid_utf8_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, r"os.write(1, b'\xff\xfe\nx\n')") as one:
        first, second = all_lines(Lines(one))
    assert len(first) == 2
    assert second == "x"


def test_a_huge_line(tmp_path: Path) -> None:
    with running(tmp_path, r"print('x' * 5_000_000); print('y')") as one:
        assert [len(line) for line in all_lines(Lines(one))] == [5_000_000, 1]


def test_a_timeout_differs_from_the_end_and_loses_nothing(tmp_path: Path) -> None:
    code = r"os.write(1, b'ha'); sys.stdin.readline(); os.write(1, b'lf\n')"
    with running(tmp_path, code) as one:
        lines = Lines(one)
        assert lines.next(0.3) is None
        assert lines.next(0.0) is None
        assert lines.next(-5.0) is None
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
        assert lines.next(SECONDS) == "half"


def test_a_program_that_talks_without_a_line_feed_does_not_prolong_the_timeout(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "while True: os.write(1, b'x'); time.sleep(.01)") as one:
        assert Lines(one).next(0.5) is None


def test_until(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one\ntwo begins\n\nthree\nfour', flush=True)") as one:
        lines = Lines(one)
        lines.until("begins", SECONDS)
        assert lines.rest(SECONDS).split() == ["three", "four"]
        with pytest.raises(MeasurementError, match="expected a line with 'five', got ''"):
            lines.until("five", SECONDS)


def test_until_names_the_last_line(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one\ntwo', flush=True); time.sleep(60)") as one:
        lines = Lines(one)
        assert lines.next(SECONDS) == "one"
        with pytest.raises(MeasurementError, match="expected a line with 'five', got 'two'"):
            lines.until("five", 0.5)


def test_the_rest_does_not_wait_for_ever(tmp_path: Path) -> None:
    with running(tmp_path, r"print('one', flush=True); time.sleep(60)") as one:
        lines = Lines(one)
        lines.until("one", SECONDS)
        assert lines.rest(0.2) == ""


# ---------------------------------------------------------------------------------- companions


def test_lines_of_a_companion(tmp_path: Path) -> None:
    code = r"""print('{"a": 1}\n{"b": 2}', flush=True); sys.stdin.read(); print('{"c": 3}')"""
    with companion(tmp_path, code) as one:
        assert one.receive(SECONDS) == {"a": 1}
        assert one.receive(SECONDS) == {"b": 2}
        assert one.dismiss(SECONDS) == {"c": 3}


def test_a_line_that_came_too_late_to_be_heard_is_not_the_last_one(tmp_path: Path) -> None:
    """A crowd may arrive after the harness has stopped waiting for it."""
    code = r"""sys.stdin.read(); print('{"ready": 1}'); print('{"told": 2}')"""
    with companion(tmp_path, code) as one:
        with pytest.raises(MeasurementError, match=r"tool: no line in 0\.2 s"):
            one.receive(0.2)
        assert one.dismiss(SECONDS) == {"told": 2}


@pytest.mark.parametrize("dismissed", [False, True])
def test_one_that_dies_is_quoted(tmp_path: Path, dismissed: bool) -> None:
    code = "print('first', file=sys.stderr)\nraise SystemExit('an idle client got status 503')"
    with (
        companion(tmp_path, code) as one,
        pytest.raises(MeasurementError, match="tool: an idle client got status 503"),
    ):
        one.dismiss(SECONDS) if dismissed else one.receive(SECONDS)


def test_one_that_dies_in_silence(tmp_path: Path) -> None:
    with (
        companion(tmp_path, "os._exit(3)") as one,
        pytest.raises(MeasurementError, match="tool: its log is empty"),
    ):
        one.receive(SECONDS)


def test_one_that_does_not_end_when_it_is_dismissed(tmp_path: Path) -> None:
    with (
        companion(tmp_path, "print('{}', flush=True); time.sleep(60)") as one,
        pytest.raises(MeasurementError, match=r"no line in 0\.5 s"),
    ):
        one.dismiss(0.5)


@pytest.mark.parametrize("line", ["Traceback", "", "[1]", "3", "{'a': 1}"])
def test_lines_without_an_object_are_errors(tmp_path: Path, line: str) -> None:
    for dismissed in (False, True):
        with (
            companion(tmp_path, f"print({line!r}, flush=True)") as one,
            pytest.raises(MeasurementError, match="tool printed"),
        ):
            one.dismiss(SECONDS) if dismissed else one.receive(SECONDS)
