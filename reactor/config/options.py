"""An option is one row, which says everything about it and from which all else is made.

A package that has settings declares them as a frozen dataclass beside the code that uses them. Each
field is made by `value`, `switch`, `several` or `limit` and carries its row. The command line
(config/command_line.py), the reference page (config/reference.py) and the checks of a settings
object are made from the rows, so an option is declared in one place.

This module knows no option by name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final

from reactor.config import types

MOST: Final = 2**53  # the most that a limit may be: a float beyond it is not exact


@dataclass(frozen=True, slots=True)
class Section:
    """Options that stand together, in `--help` and on the reference page."""

    title: str
    about: str = ""


class Takes(Enum):
    """How many values an option takes on the command line."""

    NOTHING = 0  # a switch: the setting becomes the opposite of its default
    ONE = 1
    MANY = 2  # the option may be repeated; the setting is a tuple
    LISTS = 3  # the same, and each use adds as many values as its commas separate


class Unit(Enum):
    """The unit of a limit."""

    COUNT = "N"
    SECONDS = "SECONDS"
    BYTES = "BYTES"
    RATE = "BYTES/S"

    def shown(self, number: float) -> str:
        """The number with its unit, short: `75 s`, `32 KiB`, `500 bytes/s`, `4096`."""
        if self is Unit.SECONDS:
            return f"{number:g} s"
        if self is Unit.RATE:
            return f"{number:g} bytes/s"
        if self is Unit.COUNT:
            return f"{number:g}" if isinstance(number, float) else f"{number}"
        for size, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
            if number >= size and number % size == 0:
                return f"{int(number) // size} {name}"
        return f"{number} bytes"


@dataclass(frozen=True, slots=True)
class Option:
    """The row of one option."""

    section: Section
    meaning: str
    default: Any
    parse: Callable[[str], Any]  # one value from text; raises ValueError with a sentence
    takes: Takes = Takes.ONE
    metavar: str = ""
    flag: str = ""  # as it is written on the command line; "": made from the name
    short: str = ""  # the same in short, as in "-b"; "": none
    name: str = ""  # the field that it sets
    unit: Unit | None = None  # given for limits only
    least: float = 0  # the least value of a limit

    def shown_default(self) -> str:
        """The default as `--help` and the reference page show it; "" where there is none."""
        if self.unit is not None:
            return self.unit.shown(self.default)
        return str(self.default) if self.takes is Takes.ONE and self.default is not None else ""

    def check(self, value: Any) -> None:
        """Raises ValueError for a limit that is no number, too small or too large."""
        if self.unit is None:
            return
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{self.name} must be a number, not {value!r}")
        if not self.least <= value <= MOST:
            bound = f"at least {self.least:g}" if not value > MOST else f"at most {MOST}"
            raise ValueError(f"{self.name} must be {bound}, not {value:g}")
        if isinstance(self.default, int) and not isinstance(value, int):
            raise ValueError(f"{self.name} must be a whole number, not {value!r}")


def value(
    section: Section,
    default: Any,
    meaning: str,
    *,
    parse: Callable[[str], Any] = str,
    metavar: str = "VALUE",
    flag: str = "",
) -> Any:
    """A field that an option with one value sets."""
    return _field(Option(section, meaning, default, parse, Takes.ONE, metavar, flag))


def switch(section: Section, default: bool, flag: str, meaning: str) -> Any:
    """A field that an option without a value turns into the opposite of its default."""
    return _field(Option(section, meaning, default, bool, Takes.NOTHING, "", flag))


def several(
    section: Section,
    flag: str,
    metavar: str,
    parse: Callable[[str], Any],
    meaning: str,
    *,
    short: str = "",
) -> Any:
    """A field, a tuple, to which each use of the option adds one value."""
    return _field(Option(section, meaning, (), parse, Takes.MANY, metavar, flag, short))


def listed(
    section: Section, flag: str, metavar: str, parse: Callable[[str], Any], meaning: str
) -> Any:
    """A field, a tuple, to which each use of the option adds a list; `parse` returns a tuple."""
    return _field(Option(section, meaning, (), parse, Takes.LISTS, metavar, flag))


def limit(
    section: Section, default: float, unit: Unit, meaning: str, *, least: float | None = None
) -> Any:
    """A field that holds a number: whole where the default is; at least 1, or 1 ms, by default."""
    whole = isinstance(default, int)
    parse = types.whole_number if whole else types.number
    if least is None:
        least = 1 if whole else 0.001
    row = Option(section, meaning, default, parse, Takes.ONE, unit.value, unit=unit, least=least)
    return _field(row)


def rows(table: type) -> tuple[Option, ...]:
    """The rows of a dataclass, in the order of its fields."""
    return tuple(_rows(table))


def check(settings: Any) -> None:
    """Raises ValueError for the first limit of a settings object that is out of its range."""
    for row in rows(type(settings)):
        row.check(getattr(settings, row.name))


def _rows(table: type) -> Iterator[Option]:
    for one in fields(table):
        row = one.metadata.get("option")
        if row is not None:
            flag = row.flag or "--" + one.name.replace("_", "-")
            yield replace(row, flag=flag, name=one.name)


def _field(row: Option) -> Any:
    return field(default=row.default, metadata={"option": row})
