"""All limits of a server and its application layer, in one object.

Each package declares its own table; this is the one that users make, by the name of
`reactor.Limits`. A server that was made with the engine's limits alone has the defaults of the
others: see `ServerLimits.of`.
"""

from dataclasses import dataclass

from reactor.web.static.limits import FileLimits
from reactor.web.uploads.limits import UploadLimits


@dataclass(frozen=True, kw_only=True)
class Limits(UploadLimits, FileLimits):
    """The limits of a server: `Limits(ranges=8, idle_timeout=3)`.

    Every field has a default and is an option of the command line (`--idle-timeout`);
    docs/options.md lists all of them. Timeouts, ages and delays are in seconds, sizes in bytes,
    rates in bytes per second. Raises ValueError for a value that is out of its range, and TypeError
    for a field that does not exist. An object never changes: `dataclasses.replace` makes another.
    """
