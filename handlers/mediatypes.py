"""The media type of a file, by its name's extension.

A table of our own, since that of the `mimetypes` module differs between machines and versions. An
unknown extension, or none, is a stream of octets: nothing is guessed from the bytes, and
`X-Content-Type-Options: nosniff` asks the browser not to, either. The operator may add to the
table, and change it; a name's last extension decides, in whatever case it is written.
"""

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Final

UNKNOWN: Final = "application/octet-stream"
_CHARSET: Final = re.compile(r";[ \t]*+charset=", re.IGNORECASE)

_TYPES: Final = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "css": "text/css",
    "csv": "text/csv",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",  # RFC 9239
    "json": "application/json",
    "m4a": "audio/mp4",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "tsv": "text/tab-separated-values",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "zst": "application/zstd",
}


def media_types(changes: Mapping[str, str]) -> Callable[[str], str]:
    """From a file's name to the value of its Content-Type, by the table with these changes.

    `changes` are media types by extension, in lower case and without the dot. Text is taken to be
    UTF-8 wherever its type does not say what it is.
    """
    values = {extension: _with_charset(kind) for extension, kind in {**_TYPES, **changes}.items()}

    def media_type(name: str) -> str:
        return values.get(os.path.splitext(name)[1][1:].lower(), UNKNOWN)

    return media_type


def _with_charset(kind: str) -> str:
    said = _CHARSET.search(kind) is not None
    return kind if said or not kind.lower().startswith("text/") else f"{kind}; charset=utf-8"


media_type: Final = media_types({})  # by the table alone
