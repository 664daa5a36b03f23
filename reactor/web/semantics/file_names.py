"""Rules for the names of files that may be served or stored."""

import re
from collections.abc import Sequence
from typing import Final

_NAME: Final = re.compile(rb"[^./\\\0][^/\\\0]*+")


def is_plain(segments: Sequence[str]) -> bool:
    """Return whether every segment is a permitted name.

    A permitted name is not empty, does not begin with a dot, and contains no slash, backslash or
    NUL.
    """
    return all(_NAME.fullmatch(segment.encode()) for segment in segments)
