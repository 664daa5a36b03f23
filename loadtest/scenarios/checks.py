"""What a right answer is, so that no error page passes for a fast one.

Each check takes a whole body and gives what is wrong with it, or "". They are cheap beside the
request: a text that came compressed is unpacked once, and then compared with what was unpacked.
"""

import gzip
import zlib
from functools import lru_cache
from typing import Final

from loadtest.apps.target import HELLO, ROWS, TEXT

KIB: Final = 1024
SMALL: Final = "/files/1k.bin"
LARGE: Final = "/files/100k.bin"
SIZES: Final = {SMALL: KIB, LARGE: 100 * KIB}
MOST_SHOWN: Final = 60  # bytes of a wrong body in a message


class Wrong(Exception):
    """The answer came, and it was not the right one."""


class Refused(Exception):
    """The server was there and did not want to: 503."""


class Unanswered(Exception):
    """No answer until the end of the run."""


def of_hello(body: bytes) -> str:
    return "" if body == HELLO else _shown(body)


def of_page(body: bytes) -> str:
    whole = body.startswith(b"<!doctype html>") and body.endswith(b"</table>")
    return "" if whole and body.count(b"<tr>") == ROWS else _shown(body)


def of_text(body: bytes) -> str:
    return "" if body == TEXT else _shown(body)


def of_packed_text(body: bytes) -> str:
    return "" if _is_packed_text(body) else _shown(body)


def of_file(path: str, body: bytes) -> str:
    size = SIZES[path]
    return "" if len(body) == size else f"{len(body)} bytes instead of {size}"


def of_nothing(body: bytes) -> str:
    return "" if not body else _shown(body)


@lru_cache(maxsize=8)
def _is_packed_text(body: bytes) -> bool:
    try:
        return gzip.decompress(body) == TEXT
    except (OSError, EOFError, zlib.error):
        return False


def _shown(body: bytes) -> str:
    return f"another body: {body[:MOST_SHOWN]!r}"
