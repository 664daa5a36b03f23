"""Which names of files may be served or stored."""

import re
from collections.abc import Sequence
from typing import Final

_NAME: Final = re.compile(rb"[^./\\\0][^/\\\0]*+")


def is_plain(segments: Sequence[str]) -> bool:
    """Whether all segments may be names here: not empty, no dot first, no slash, backslash, NUL."""
    return all(_NAME.fullmatch(segment.encode()) for segment in segments)
