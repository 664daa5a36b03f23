"""The names of files: which may be served or stored, and how a download is named."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

_NAME: Final = re.compile(rb"[^./\\\0][^/\\\0]*+")


def is_plain(segments: Sequence[str]) -> bool:
    """Return whether every segment is a permitted name.

    A permitted name is not empty, does not begin with a dot, and contains no slash, backslash or
    NUL.
    """
    return all(_NAME.fullmatch(segment.encode()) for segment in segments)


def attachment(name: str) -> str:
    """The value of a Content-Disposition with which a browser saves a file as `name`.

    Slashes, backslashes and control characters become underscores. A name beyond ASCII is given
    twice, plain and encoded (RFC 6266, section 4).
    """
    name = re.sub(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "_", name)
    # A percent sign might be taken for an encoding (appendix D).
    plain = re.sub(r'[^ -~]|["%]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
