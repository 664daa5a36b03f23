"""A command line that is made from rows: its parser, its help, and settings from what it reads.

A wrong option is one sentence on standard error and exit status 2.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from reactor.config.options import Option, Takes, rows
from reactor.config.standard_streams import print_error

T = TypeVar("T")


class OptionParser(argparse.ArgumentParser):
    """An argument parser for tables of options."""

    def __init__(self, **settings: str) -> None:
        """`settings` are `prog`, `usage` and `description`; see argparse."""
        super().__init__(
            allow_abbrev=False,
            add_help=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
            **settings,  # type: ignore[arg-type]
        )
        self._groups: dict[str, Any] = {}

    def error(self, message: str) -> NoReturn:
        """Print one sentence in place of the whole usage, and exit with status 2."""
        print_error(f"{self.prog}: {' '.join(message.split())}; see --help\n")
        raise SystemExit(2)

    def section(self, title: str, about: str = "") -> Any:
        """The group of this title, made where there is none; its `add_argument` is argparse's."""
        if title not in self._groups:
            self._groups[title] = self.add_argument_group(title, about or None)
        return self._groups[title]

    def add_table(self, table: type) -> None:
        """Add an option for each row of a table."""
        for row in rows(table):
            self._add(row)

    def settings(
        self, table: type[T], options: argparse.Namespace, other: Mapping[str, Any] | None = None
    ) -> T:
        """The settings of a table as they were read; `other` fields replace what was read."""
        values = {row.name: _value(row, options) for row in rows(table)} | dict(other or {})
        for row in rows(table):
            try:
                row.check(values[row.name])
            except ValueError as error:
                self.error(f"argument {row.flag}: it {str(error).partition(' ')[2]}")
        return table(**values)

    def _add(self, row: Option) -> None:
        add = self.section(row.section.title, row.section.about).add_argument
        text = row.meaning.replace("%", "%%")
        if row.takes is Takes.NOTHING:
            add(row.flag, dest=row.name, action="store_true", help=text)
        elif row.takes is not Takes.ONE:
            add(
                *filter(None, (row.short, row.flag)),
                dest=row.name,
                metavar=row.metavar,
                action="append" if row.takes is Takes.MANY else "extend",
                default=[],
                type=_checked(row.parse),
                help=f"{text}; repeatable",
            )
        else:
            default = row.shown_default().replace("%", "%%")
            add(
                row.flag,
                dest=row.name,
                metavar=row.metavar,
                type=_checked(row.parse),
                help=f"{text} ({default})" if default else text,
            )


def _value(row: Option, options: argparse.Namespace) -> Any:
    read = getattr(options, row.name)
    if row.takes is Takes.NOTHING:
        return not row.default if read else row.default
    if row.takes is not Takes.ONE:
        return tuple(read)
    return row.default if read is None else read


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The parser as a type of argparse, which shows the sentence of this error alone."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
