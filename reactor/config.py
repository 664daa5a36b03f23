"""What the command line says, checked.

Every field of Limits is an option; its name, default and meaning come from there. A wrong option is
one sentence and exit status 2.
"""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NoReturn

from reactor.limits import Limits

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Config:
    """What to serve, where, and within which limits."""

    host: str
    port: int
    directory: str | None
    read_only: bool
    access_log: str  # "-": standard output; "off"; otherwise a path
    log_level: str
    date_header: bool
    server_header: str
    limits: Limits


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence in place of the whole usage."""
        print(f"{self.prog}: {message}; see --help", file=sys.stderr)
        raise SystemExit(2)


def parse_arguments(arguments: Sequence[str]) -> Config:
    """Raises SystemExit(2) after a sentence on stderr for what it does not understand."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    values = {one.name: getattr(options, one.name) for one in fields(Limits)}
    try:
        limits = Limits(**values)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        parser.error(f"argument {_option(name)}: it {rest}")
    if not re.fullmatch(r"[\t\x20-\x7e]*", options.server_header):
        parser.error("argument --server-header: it must be printable ASCII")
    return Config(
        host=options.host,
        port=options.port,
        directory=options.directory,
        read_only=options.read_only,
        access_log=options.access_log,
        log_level=options.log_level,
        date_header=not options.no_date_header,
        server_header=options.server_header.strip(),
        limits=limits,
    )


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="reactor",
        description="An HTTP server in pure Python, on one thread.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="name or address to listen on (%(default)s)")
    add("--port", type=_port, default=4221, help="port to listen on, 0 for any (%(default)s)")
    add("--directory", metavar="DIR", help="what /files/ serves, and stores into; without it 404")
    add("--read-only", action="store_true", help="no uploads")
    add(
        "--access-log",
        metavar="-|PATH|off",
        default="-",
        help="where a line for each request goes (%(default)s: standard output)",
    )
    add("--log-level", choices=LOG_LEVELS, default="info", help="of the error log, on stderr")
    add("--no-date-header", action="store_true", help="for a machine without a clock")
    add("--server-header", metavar="VALUE", default="reactor", help="empty: none (%(default)s)")
    limits = parser.add_argument_group(
        "limits", "timeouts in seconds, sizes in bytes, rates in bytes a second"
    )
    for one in fields(Limits):
        limits.add_argument(
            _option(one.name),
            type=type(one.default),
            default=one.default,
            metavar="N",
            help=f"{one.metadata['meaning']} (%(default)g)",
        )
    return parser


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def configure_logging(level: str) -> None:
    """The error log: times, levels, sentences, on stderr."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
