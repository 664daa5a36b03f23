"""Options that contradict each other, or that nothing which is served takes.

An option without effect is a mistake of the operator's that would show too late, as an upload that
is refused or a file that is. So it is refused at the start: the sentence names the option, and
what it needs. Everything here is text; nothing is looked up on the disk.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

from reactor.config.types import names_application

UPLOADS: Final = "/files/"  # the prefix of --directory

# By the name of a setting: options for files, which need a directory or a file.
_FOR_FILES: Final = {
    "listing": "--no-listing",
    "types": "--type",
    "headers": "--header",
    "cache_control": "--cache-control",
    "uploads": "--read-only",
}
# The same: options for a directory that takes uploads.
_FOR_UPLOADS: Final = {
    "deletes": "--allow-delete",
    "trust_uploads": "--trust-uploads",
    "trusted_origins": "--trusted-origins",
}


def contradiction(
    given: argparse.Namespace, prefixes: Sequence[str], uploads_prefix: str | None
) -> str:
    """Return why the options that were given cannot hold together; "" where they can.

    `prefixes` are those of all directories, `uploads_prefix` that of `--directory` or of `DIR` with
    `--upload`; None where there is neither.
    """
    return next(_contradictions(given, prefixes, uploads_prefix), "")


def _contradictions(
    given: argparse.Namespace, prefixes: Sequence[str], uploads_prefix: str | None
) -> Iterator[str]:
    """Yield a sentence about each contradiction, the plainest first."""
    application = given.what is not None and names_application(given.what)
    read_only = given.uploads  # a switch is true where it was given: this one is --read-only
    if given.upload and application:
        yield "argument --upload: it needs a directory, and this is an application"
    if given.upload and given.directory is not None:
        yield "argument --upload: one directory takes uploads, and --directory names it"
    if given.upload and uploads_prefix is None:
        yield "argument --upload: it needs DIR, the directory that takes the uploads"
    if given.upload and read_only:
        yield "argument --upload: not allowed with --read-only, which accepts no uploads"
    if given.deletes and read_only:
        yield "argument --allow-delete: not allowed with --read-only, which deletes nothing"
    if uploads_prefix is None or read_only:
        for name in _given(given, _FOR_UPLOADS):
            yield (
                f"argument {_FOR_UPLOADS[name]}: it needs a directory that takes uploads: DIR with "
                "--upload, or --directory"
            )
    if not prefixes:
        for name in _given(given, _FOR_FILES):
            yield (
                f"argument {_FOR_FILES[name]}: it needs a directory or a file; the application "
                "has its own ways"
            )
    yield from _clashes(given, prefixes, uploads_prefix)
    if application and "/" in prefixes:
        yield "argument --static: a directory at / leaves nothing to the application"
    if given.reload and not application:
        yield "argument --reload: it needs an application, package.module:name"
    if given.spa and set(prefixes) <= {uploads_prefix}:
        yield "argument --spa: it needs a static mount, which sends this file"


def _clashes(
    given: argparse.Namespace, prefixes: Sequence[str], uploads_prefix: str | None
) -> Iterator[str]:
    if uploads_prefix is not None:
        unfinished = f"{uploads_prefix}.uploads/"
        if any(prefix.startswith(unfinished) for prefix in prefixes):
            yield f"argument --static: {unfinished} belongs to partial uploads"
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            yield f"two directories at {prefix}: a prefix takes one"


def _given(given: argparse.Namespace, flags: dict[str, str]) -> Iterator[str]:
    return (name for name in flags if getattr(given, name))
