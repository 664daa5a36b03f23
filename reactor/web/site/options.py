"""The options of the site that the command line serves, and all its options together.

A wrong option is one sentence and exit status 2. Everything that text alone can show is checked
here, before a file is opened or an application imported; the parsers of single values are in
values.py and config/types.py.
"""

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from reactor.config import types
from reactor.config.command_line import OptionParser
from reactor.config.options import Section, listed, several, switch, value
from reactor.config.reference import reference
from reactor.process.options import SERVER, ServeOptions
from reactor.process.tls_options import TlsOptions
from reactor.version import __version__
from reactor.web.limits import Limits
from reactor.web.site import users, values
from reactor.web.site.combinations import UPLOADS, contradiction

WHAT: Final = Section("content")
FILES: Final = Section("files", "for DIR, --static and --directory")
OPERATIONS: Final = Section("operations")


@dataclass(frozen=True)
class SiteOptions:
    """The directories and the application to serve, and the pages of the server itself."""

    application: str = ""  # "package.module:name"; "": none
    static: Sequence[tuple[str, str]] = several(
        WHAT,
        "--static",
        "PREFIX=DIR",
        values.mount,
        "serve a directory at this prefix, read only; it comes before the application, and the "
        "longer prefix before the shorter one",
    )
    directory: str | None = value(
        WHAT, None, f"serve a directory at {UPLOADS}, with uploads", metavar="DIR"
    )
    prefix: str = UPLOADS  # that of the directory: "/" where it is DIR, with --upload
    upload: bool = switch(WHAT, False, "--upload", "take uploads to DIR, the directory at /")
    reload: bool = switch(
        WHAT,
        False,
        "--reload",
        "restart the application when a file that it has imported changes; while it cannot be "
        "loaded, the one before goes on",
    )
    debug: bool = switch(
        WHAT,
        False,
        "--debug",
        "show tracebacks in 500 responses, routes in 404 ones; never in production",
    )
    allowed_hosts: Sequence[str] = listed(
        WHAT,
        "--allowed-hosts",
        "HOST,…",
        values.hosts,
        "the hosts to serve, besides localhost, loopback addresses and those of --host and --bind: "
        "names, addresses, *.example.com, or * for all; requests for others get a 421. Without "
        "this option, a directory on loopback is served for those named above; an application, and "
        "a server that listens beyond loopback, serve all hosts",
    )
    auth: Sequence[tuple[str, bytes]] = several(
        WHAT,
        "--auth",
        "USER:PASSWORD",
        users.user,
        "serve this user alone, or these users, for a password; USER:sha256:HEX has the SHA-256 "
        "digest of the password in its place; other users of this machine see the command line, "
        "which --auth-file avoids",
    )
    auth_file: str | None = value(
        WHAT,
        None,
        "a file of such users, one a line; empty lines and lines that begin with # are skipped",
        metavar="PATH",
    )
    uploads: bool = switch(FILES, True, "--read-only", "accept no uploads, and delete nothing")
    deletes: bool = switch(
        FILES, False, "--allow-delete", "let DELETE delete files of the directory with uploads"
    )
    trust_uploads: bool = switch(
        FILES,
        False,
        "--trust-uploads",
        "let uploaded pages run script in the name of this server, let an uploaded index.html be "
        "the page of its directory, and an uploaded .gz, .br or .zst the encoded form of a file",
    )
    listing: bool = switch(
        FILES, True, "--no-listing", "respond 404 for a directory that has no index.html"
    )
    spa: str = value(
        FILES,
        "",
        "the file of a static mount, such as index.html, to send for paths that do not exist in it",
        parse=values.path_below,
        metavar="FILE",
    )
    types: Sequence[tuple[str, str]] = several(
        FILES,
        "--type",
        ".EXT=TYPE",
        values.media_type,
        "media type of files with this extension; NAME=TYPE: of files with this whole name",
    )
    headers: Sequence[tuple[str, str]] = several(
        FILES, "--header", "'NAME: VALUE'", values.header, "a header field to send with each file"
    )
    cache_control: Sequence[tuple[str, str]] = several(
        FILES,
        "--cache-control",
        "PATTERN=VALUE",
        values.cache_rule,
        "Cache-Control of the files that match PATTERN, which has *, ? and [...] and is for the "
        "file's name, or with a slash for its path below the mount, where * matches slashes, too; "
        "the first match counts",
    )
    trusted_origins: Sequence[str] = listed(
        FILES,
        "--trusted-origins",
        "URL,…",
        values.origins,
        "origins whose pages may upload and delete, beside the server's own, as in "
        "http://files.lan:8080 behind a proxy that rewrites Host",
    )
    health: bool = switch(
        OPERATIONS,
        False,
        "--health",
        "serve /healthz (200) and /readyz (200, and 503 while the server drains)",
    )
    metrics: bool = switch(
        OPERATIONS, False, "--metrics", "serve /metrics for Prometheus, to every client"
    )


TABLES: Final = (SiteOptions, ServeOptions, TlsOptions, Limits)

PAGE: Final = """# Options

{positional}

A wrong option is one sentence and exit status 2. A directory, a log or a port that cannot be used
is one sentence and exit status 1, a function of an application's start that fails one sentence and
exit status 3. In all cases nothing has been served.

Each limit is an option of the command line (`--idle-timeout 3`) and a field of `reactor.Limits`
(`Limits(idle_timeout=3)`). This page is made from the declarations of the options.

"""
POSITIONAL: Final = """`python3 -m reactor [options] [DIR | FILE | package.module:name]` serves one of these:

| what | meaning |
| --- | --- |
| nothing | the current directory, unless `--static` or `--directory` is given |
| `DIR` | this directory at `/`, read only, like `--static /=DIR`; with uploads after `--upload` |
| `FILE` | this file alone, at its name; `/` redirects to it |
| `package.module:name` | an application: a callable, `handler(request)`, in a module that is looked for in the current directory first; `./a:b` is always a path |"""  # noqa: E501


def options_page() -> str:
    """The text of docs/options.md."""
    return PAGE.format(positional=POSITIONAL) + reference(TABLES).rstrip("\n") + "\n"


@dataclass(frozen=True)
class Config:
    """All options: the site, the process, and the limits."""

    site: SiteOptions
    serve: ServeOptions
    tls: TlsOptions
    limits: Limits


def parse_arguments(arguments: Sequence[str]) -> Config:
    """Raises SystemExit(2) after one sentence on standard error for a wrong option."""
    parser = _build_parser()
    options = parser.parse_args(arguments)
    content = _content(options)
    prefixes = [prefix for prefix, _ in content["static"]]
    uploads_prefix = None
    if content["directory"] is not None:
        uploads_prefix = content["prefix"]
        prefixes.append(uploads_prefix)
    if sentence := contradiction(options, prefixes, uploads_prefix):
        parser.error(sentence)
    site = parser.settings(SiteOptions, options, content)
    serve = parser.settings(ServeOptions, options)
    try:
        tls = parser.settings(TlsOptions, options)
    except ValueError as error:  # options that do not fit together
        parser.error(str(error))
    return Config(site, serve, tls, parser.settings(Limits, options))


def _content(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that name what is served, with what the positional stands for."""
    static: list[tuple[str, str]] = list(options.static)
    application, directory, prefix = "", options.directory, UPLOADS
    what = options.what
    if what is None and not static and directory is None:
        what = "."
    if what is not None and types.names_application(what):
        application = what
    elif what is not None and options.upload and directory is None:
        directory, prefix = what, "/"
    elif what is not None:
        static.append(("/", what))
    return {
        "application": application,
        "static": tuple(static),
        "directory": directory,
        "prefix": prefix,
    }


def _build_parser() -> OptionParser:
    parser = OptionParser(
        prog="reactor",
        usage="reactor [options] [DIR | FILE | package.module:name]",
        description="An HTTP server in pure Python, on one thread.",
    )
    parser.section(WHAT.title).add_argument(
        "what",
        nargs="?",
        metavar="DIR | FILE | package.module:name",
        help="a directory at /, a file at its name, or an application: the name of a callable, "
        "handler(request), in a module, which is looked for here first (./a:b is always a path); "
        "default: the current directory, unless --static or --directory is given",
    )
    for table in TABLES:
        parser.add_table(table)
    parser.section(SERVER.title).add_argument(
        "-h", "--help", action="help", help="show this help and exit"
    )
    parser.section(SERVER.title).add_argument(
        "--version",
        action="version",
        version=f"reactor {__version__} on Python {platform.python_version()}",
        help="show the versions of reactor and Python, and exit",
    )
    return parser
