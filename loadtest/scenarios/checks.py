"""Checks of responses, so that an error page does not count as a fast response.

Each check takes a complete body and returns a text about what is wrong with it, or "". Checks are
cheap beside the request: a compressed text is decompressed once, and its result is cached.
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
    """The response is not the expected one."""


class Refused(Exception):
    """The server refused the request: 503."""


class Unanswered(Exception):
    """There was no response until the end of the run."""


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
    return f"unexpected body: {body[:MOST_SHOWN]!r}"
