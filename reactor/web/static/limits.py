"""The limits of what serves files."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from reactor.config.options import Section, Unit, limit
from reactor.limits import ServerLimits

FILES: Final = Section("limits of files")

_file = partial(limit, FILES)


@dataclass(frozen=True, kw_only=True)
class FileLimits(ServerLimits):
    """The server's limits, and those of the file server."""

    open_files: int = _file(
        1024,
        Unit.COUNT,
        "files that stay open between requests; fewer where RLIMIT_NOFILE is low",
    )
    open_file_age: float = _file(
        1.0, Unit.SECONDS, "how long a cached path is trusted before it is looked up again"
    )
    open_file_idle: float = _file(
        60.0, Unit.SECONDS, "how long a file stays open that is not requested"
    )
    small_file_bytes: int = _file(
        16 * 1024,
        Unit.BYTES,
        "the largest open file whose content is cached as well",
        least=0,
    )
    compressed_bytes: int = _file(64 * 1024 * 1024, Unit.BYTES, "compressed files cached in memory")
    ranges: int = _file(32, Unit.COUNT, "ranges in one request; more: the whole file is sent")
    archives: int = _file(
        8,
        Unit.COUNT,
        "archives of directories that are read at a time; more, or of one client more than a "
        "quarter: 503",
    )
    archive_depth: int = _file(
        32, Unit.COUNT, "levels of directories in an archive; deeper ones are left out and named"
    )
    archive_entries: int = _file(
        1_000_000, Unit.COUNT, "files and directories in an archive; one of more is cut off"
    )
    listing_entries: int = _file(
        100_000, Unit.COUNT, "names in the listing of a directory; the rest is left out"
    )
    listing_page: int = _file(5_000, Unit.COUNT, "names on one page of a listing")
    listing_bytes: int = _file(
        256 * 1024 * 1024,
        Unit.BYTES,
        "memory for listings: half for directories that were read, half for pages that are made",
    )
