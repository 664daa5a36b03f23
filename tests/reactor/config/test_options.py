"""Rows: one declaration gives the option, its check, its help and its line of the reference."""

import argparse
from dataclasses import dataclass

import pytest

from reactor.config.command_line import OptionParser
from reactor.config.options import (
    MOST,
    Section,
    Takes,
    Unit,
    check,
    limit,
    listed,
    rows,
    several,
    switch,
    value,
)
from reactor.config.reference import reference

ONE, TWO = Section("one", "for tests"), Section("two")


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f"{text!r} is odd")
    return int(text)


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


@dataclass(frozen=True)
class Settings:
    """One field of each kind."""

    unseen: str = "no option"
    name: str = value(ONE, "x", "a name, 100 % of it")
    pair: int | None = value(ONE, None, "an even number", parse=even, metavar="EVEN")
    warm: bool = switch(ONE, True, "--cold", "do not warm up")
    loud: bool = switch(ONE, False, "--loud", "make a noise")
    many: tuple[int, ...] = several(TWO, "--add", "EVEN|ODD", even, "add a number")
    wait_timeout: float = limit(TWO, 2.0, Unit.SECONDS, "how long to wait")
    some_bytes: int = limit(TWO, 2048, Unit.BYTES, "some bytes", least=0)
    words: tuple[str, ...] = listed(TWO, "--words", "WORD,…", words, "add words")

    def __post_init__(self) -> None:
        check(self)


def parsed(*arguments: str) -> Settings:
    parser = OptionParser(prog="test")
    parser.add_table(Settings)
    return parser.settings(Settings, parser.parse_args(arguments))


def test_the_rows_of_a_table() -> None:
    found = rows(Settings)
    assert [row.name for row in found] == [
        *("name", "pair", "warm", "loud", "many", "wait_timeout", "some_bytes", "words")
    ]
    assert [row.flag for row in found] == [
        *(
            "--name",
            "--pair",
            "--cold",
            "--loud",
            "--add",
            "--wait-timeout",
            "--some-bytes",
            "--words",
        )
    ]
    assert [row.takes for row in found if row.takes is not Takes.ONE] == [
        *(Takes.NOTHING, Takes.NOTHING, Takes.MANY, Takes.LISTS)
    ]


def test_nothing_is_the_defaults() -> None:
    assert (
        parsed() == Settings() == Settings("no option", "x", None, True, False, (), 2.0, 2048, ())
    )


def test_every_kind_is_read() -> None:
    read = parsed(
        *("--name", "", "--pair=4", "--cold", "--loud", "--add", "2", "--add", "4"),
        *("--wait-timeout", "0.5", "--some-bytes", "0"),
        *("--words", "a,b", "--words", "c"),
    )
    assert read == Settings("no option", "", 4, False, True, (2, 4), 0.5, 0, ("a", "b", "c"))


def test_other_fields_replace_what_was_read() -> None:
    parser = OptionParser(prog="test")
    parser.add_table(Settings)
    options = parser.parse_args(["--name", "read"])
    assert parser.settings(Settings, options, {"name": "other", "unseen": "seen"}) == Settings(
        "seen", "other"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--pair", "3"], "argument --pair: '3' is odd"),
        (["--add", "3"], "argument --add: '3' is odd"),
        (["--wait-timeout", "0"], "argument --wait-timeout: it must be at least 0.001, not 0"),
        (["--wait-timeout", "1e20"], f"it must be at most {MOST}, not 1e+20"),
        (["--wait-timeout", "x"], "argument --wait-timeout: 'x' is not a number, as in 2.5"),
        (["--some-bytes", "-1"], "argument --some-bytes: it must be at least 0, not -1"),
        (["--some-bytes", "1.5"], "argument --some-bytes: '1.5' is not a whole number, as in 100"),
        (["--some"], "unrecognized arguments: --some"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("test: ")
    assert said.endswith(f"{sentence}; see --help\n")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"wait_timeout": 0}, "wait_timeout must be at least 0.001, not 0"),
        ({"wait_timeout": float("nan")}, "wait_timeout must be at least 0.001, not nan"),
        ({"wait_timeout": "2"}, "wait_timeout must be a number, not '2'"),
        ({"some_bytes": -1}, "some_bytes must be at least 0, not -1"),
        ({"some_bytes": 1.5}, "some_bytes must be a whole number, not 1.5"),
        ({"some_bytes": True}, "some_bytes must be a number, not True"),
        ({"some_bytes": MOST + 1}, f"some_bytes must be at most {MOST}, not 9.0072e+15"),
    ],
)
def test_a_limit_is_checked_wherever_it_comes_from(wrong: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        Settings(**wrong)  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_the_help_has_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OptionParser(prog="test")
    parser.add_table(Settings)
    text = " ".join(parser.format_help().split())
    for part in (
        "one: for tests",
        "--name VALUE a name, 100 % of it (x)",
        "--cold do not warm up",
        "--add EVEN|ODD add a number; repeatable",
        "--wait-timeout SECONDS how long to wait (2 s)",
        "--some-bytes BYTES some bytes (2 KiB)",
    ):
        assert part in text


def test_the_reference_has_every_row() -> None:
    page = reference([Settings]).splitlines()
    assert page[0] == "## One"
    assert "| `--name VALUE` | x | a name, 100 % of it |" in page
    assert "| `--cold` |  | do not warm up |" in page
    assert "| `--add EVEN\\|ODD` |  | add a number; repeatable |" in page
    assert "| `--wait-timeout SECONDS` | 2 s | how long to wait |" in page
    assert page.index("## Two") > page.index("| `--loud` |  | make a noise |")


@pytest.mark.parametrize(
    ("unit", "number", "shown"),
    [
        (Unit.SECONDS, 0.1, "0.1 s"),
        (Unit.SECONDS, 86400.0, "86400 s"),
        (Unit.RATE, 500.0, "500 bytes/s"),
        (Unit.COUNT, 100_000, "100000"),
        (Unit.BYTES, 100, "100 bytes"),
        (Unit.BYTES, 8192, "8 KiB"),
        (Unit.BYTES, 1 << 20, "1 MiB"),
        (Unit.BYTES, 16 << 30, "16 GiB"),
        (Unit.BYTES, 1500, "1500 bytes"),
    ],
)
def test_numbers_with_their_units(unit: Unit, number: float, shown: str) -> None:
    assert unit.shown(number) == shown


def test_sections_of_one_title_are_one_group() -> None:
    parser = OptionParser(prog="test")
    assert parser.section("a") is parser.section("a")
    assert isinstance(parser.parse_args([]), argparse.Namespace)
