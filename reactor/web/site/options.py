"""The options of the command line: what to serve, where, and within which limits.

Every field of Limits is an option; its name, default and meaning come from there. A wrong option is
one sentence and exit status 2, and everything that text alone can tell is told here, before a file
is opened or an application imported; what a value of an option may be is in `config/types.py`.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NoReturn

from reactor.config import types
from reactor.limits import Limits
from reactor.observe.access_log import check_format
from reactor.process.options import LOG_LEVELS, ServeOptions

UPLOADS: Final = "/files/"  # where --directory is, and its unfinished uploads below it
UNFINISHED: Final = f"{UPLOADS}.uploads/"


@dataclass(frozen=True, slots=True)
class Config:
    """What to serve, where, and within which limits."""

    directory: str | None  # at /files/
    static: tuple[tuple[str, str], ...]  # prefix with its slashes, directory
    application: str  # "package.module:name"; "": none
    debug: bool  # an answer to a failure shows how it came about
    reload: bool  # the application, when its files change
    types: tuple[tuple[str, str], ...]  # extension in lower case without its dot, media type
    headers: tuple[tuple[str, str], ...]
    cache_control: tuple[tuple[str, str], ...]  # pattern, value; the first that matches counts
    spa: str  # path below a static mount; "": none
    listing: bool
    read_only: bool
    allow_delete: bool
    health: bool  # /healthz and /readyz
    metrics: bool  # /metrics
    serve: ServeOptions
    limits: Limits


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence in place of the whole usage."""
        print(f"{self.prog}: {' '.join(message.split())}; see --help", file=sys.stderr)
        raise SystemExit(2)


def parse_arguments(arguments: Sequence[str]) -> Config:
    """Raises SystemExit(2) after a sentence on stderr for what it does not understand."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    limits = _limits(parser, options)
    if not re.fullmatch(r"[\t\x20-\x7e]*", options.server_header):
        parser.error("argument --server-header: it must be printable ASCII")
    application, static = _mounts(parser, options)
    return Config(
        directory=options.directory,
        static=static,
        application=application,
        debug=options.debug,
        reload=options.reload,
        types=tuple(options.type),
        headers=tuple(options.header),
        cache_control=tuple(options.cache_control),
        spa=options.spa or "",
        listing=not options.no_listing,
        read_only=options.read_only,
        allow_delete=options.allow_delete and not options.read_only,
        health=options.health,
        metrics=options.metrics,
        serve=ServeOptions(
            host=options.host,
            port=options.port,
            access_log=options.access_log,
            access_log_format=options.access_log_format,
            error_log=options.error_log,
            log_level=options.log_level,
            server_header=options.server_header.strip(),
            date_header=not options.no_date_header,
        ),
        limits=limits,
    )


def _limits(parser: _Parser, options: argparse.Namespace) -> Limits:
    try:
        return Limits(**{one.name: getattr(options, one.name) for one in fields(Limits)})
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        parser.error(f"argument {_option(name)}: it {rest}")


def _mounts(
    parser: _Parser, options: argparse.Namespace
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The application, and the static mounts, those that the positional stands for included."""
    static: list[tuple[str, str]] = list(options.static)
    application = ""
    if options.what is not None and types.names_application(options.what):
        application = options.what
    elif options.what is not None:
        static.append(("/", options.what))
    if options.directory is not None and any(one[0].startswith(UNFINISHED) for one in static):
        parser.error(f"argument --static: {UNFINISHED} belongs to the unfinished uploads")
    prefixes = [prefix for prefix, _ in static]
    if options.directory is not None:
        prefixes.append(UPLOADS)
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            parser.error(f"two directories at {prefix}: one prefix has room for one")
    if application and "/" in prefixes:
        parser.error("argument --static: at / it leaves nothing to the application")
    if options.reload and not application:
        parser.error("argument --reload: it needs an application, package.module:name")
    if options.spa and not static:
        parser.error("argument --spa: there is no static mount that it could answer for")
    return application, tuple(static)


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="reactor",
        usage="reactor [options] [DIR | package.module:name]",
        description="An HTTP server in pure Python, on one thread.",
        allow_abbrev=False,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28),
    )
    _add_what(parser)
    _add_files(parser)
    _add_server(parser)
    _add_limits(parser)
    return parser


def _add_what(parser: _Parser) -> None:
    group = parser.add_argument_group(
        "what to serve", "a demo, where there is neither DIR nor an application nor --static"
    )
    add = group.add_argument
    add(
        "what",
        nargs="?",
        metavar="DIR | package.module:name",
        help="a directory, as in --static /=DIR (./a:b is one in any case); or an application: "
        "the name of a callable, handler(request), in a module, looked for here first",
    )
    add(
        "--debug",
        action="store_true",
        help="an answer to a failure shows how it came about; not for the public",
    )
    add(
        "--reload",
        action="store_true",
        help="restart the application when a file that it has imported changes; what cannot be "
        "loaded is told, and what was loaded before goes on",
    )
    add(
        "--static",
        metavar="PREFIX=DIR",
        action="append",
        default=[],
        type=_checked(types.mount),
        help="serve DIR at PREFIX, to be read; comes before the application; repeatable",
    )
    add("--directory", metavar="DIR", help="serve DIR at /files/, and store what is uploaded there")


def _add_files(parser: _Parser) -> None:
    group = parser.add_argument_group("files", "of DIR, --static and --directory")

    def repeatable(option: str, metavar: str, check: Any, meaning: str) -> None:
        group.add_argument(
            option,
            metavar=metavar,
            action="append",
            default=[],
            type=_checked(check),
            help=f"{meaning}; repeatable",
        )

    add = group.add_argument
    add("--read-only", action="store_true", help="no uploads, and nothing is deleted")
    add("--allow-delete", action="store_true", help="DELETE deletes files below --directory")
    add("--no-listing", action="store_true", help="no pages of what is in a folder")
    add(
        "--spa",
        metavar="FILE",
        type=_checked(types.path_below),
        help="file of a static mount, as in index.html, that answers for paths it does not have",
    )
    repeatable("--type", ".EXT=TYPE", types.media_type, "the media type of files named so")
    repeatable("--header", "'NAME: VALUE'", types.header, "a field of each file's answer")
    repeatable(
        "--cache-control",
        "PATTERN=VALUE",
        types.cache_rule,
        "Cache-Control of what PATTERN describes, the first that does: *, ? and [...], for "
        "the name, or with a slash for the whole path below the mount (* takes slashes as well)",
    )


def _add_server(parser: _Parser) -> None:
    add = parser.add_argument_group("server").add_argument
    add("--host", default="127.0.0.1", help="name or address to listen on (%(default)s)")
    add("--port", type=_port, default=4221, help="port to listen on, 0 for any (%(default)s)")
    add(
        "--access-log",
        metavar="-|PATH|off",
        default="-",
        help="where a line for each request goes (%(default)s: standard output)",
    )
    add(
        "--access-log-format",
        metavar="FORMAT",
        type=_checked(check_format),
        default="common",
        help="common, combined, json, or a text with gunicorn's atoms, as in "
        "'%%(h)s \"%%(r)s\" %%(s)s %%(D)s' (%(default)s)",
    )
    add(
        "--error-log",
        metavar="-|PATH",
        default="-",
        help="where errors and warnings go (%(default)s: standard error); files of both logs are "
        "opened anew on SIGUSR1, and SIGUSR2 writes the server's state into this one",
    )
    add("--log-level", choices=LOG_LEVELS, default="info", help="of the error log (%(default)s)")
    add(
        "--health",
        action="store_true",
        help="answer /healthz (200), and /readyz (200, and 503 while the server shuts down)",
    )
    add("--metrics", action="store_true", help="answer /metrics, for Prometheus and for everybody")
    add("--no-date-header", action="store_true", help="for a machine without a clock")
    add("--server-header", metavar="VALUE", default="reactor", help="empty: none (%(default)s)")
    add("-h", "--help", action="help", help="show this and end")


def _add_limits(parser: _Parser) -> None:
    limits = parser.add_argument_group(
        "limits", "timeouts in seconds, sizes in bytes, rates in bytes a second"
    )
    for one in fields(Limits):
        default = f"{one.default:g}" if isinstance(one.default, float) else f"{one.default}"
        limits.add_argument(
            _option(one.name),
            type=type(one.default),
            default=one.default,
            metavar="N",
            help=f"{one.metadata['meaning']} ({default})",
        )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _checked(check: Any) -> Any:
    """The check as a type of argparse, which tells the sentence of this error alone."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)
