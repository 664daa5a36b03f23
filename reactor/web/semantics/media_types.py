"""The media type of a file, by the extension of its name.

The table is our own, because that of the `mimetypes` module differs between machines and versions.
A file with an unknown extension, or without one, is application/octet-stream: the bytes are never
sniffed, and `X-Content-Type-Options: nosniff` asks the browser not to sniff either. The operator
may extend and change the table. The last extension of a name decides, in upper or lower case.
"""

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Final

UNKNOWN: Final = "application/octet-stream"
# Types of which a browser makes a document that can run script: HTML, and XML, which may hold
# XHTML, SVG and XSLT (RFC 7303, section 4.2: so may every type that ends in +xml). Multiparts and
# messages are archives of pages (MHTML).
_ACTIVE_KINDS: Final = ("multipart/", "message/")
_ACTIVE_ENDINGS: Final = ("html", "xml", "xsl", "xslt", "rdf", "mimearchive", "webarchive")
_CHARSET: Final = re.compile(r";[ \t]*+charset=", re.IGNORECASE)

_TYPES: Final = {
    "3gp": "video/3gpp",
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apk": "application/vnd.android.package-archive",
    "apng": "image/apng",
    "atom": "application/atom+xml",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "c": "text/x-c",
    "cc": "text/x-c",
    "cfg": "text/plain",
    "cjs": "text/javascript",
    "conf": "text/plain",
    "cpp": "text/x-c",
    "crt": "application/x-x509-ca-cert",
    "css": "text/css",
    "csv": "text/csv",
    "deb": "application/vnd.debian.binary-package",
    "diff": "text/x-diff",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eot": "application/vnd.ms-fontobject",
    "eps": "application/postscript",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "geojson": "application/geo+json",
    "gif": "image/gif",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "go": "text/x-go",
    "gpx": "application/gpx+xml",
    "gz": "application/gzip",
    "h": "text/x-c",
    "heic": "image/heic",
    "hpp": "text/x-c",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "ini": "text/plain",
    "jar": "application/java-archive",
    "java": "text/x-java",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",  # RFC 9239
    "json": "application/json",
    "jsonl": "application/x-ndjson",  # not registered
    "jsonld": "application/ld+json",
    "jxl": "image/jxl",
    "kml": "application/vnd.google-earth.kml+xml",
    "kmz": "application/vnd.google-earth.kmz",
    "log": "text/plain",
    "m2ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",  # RFC 8216
    "m4a": "audio/mp4",
    "m4s": "video/iso.segment",
    "m4v": "video/mp4",
    "map": "application/json",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "mjs": "text/javascript",
    "mka": "audio/x-matroska",
    "mkv": "video/x-matroska",  # as browsers know video/matroska (RFC 9559)
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpd": "application/dash+xml",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "ndjson": "application/x-ndjson",
    "odg": "application/vnd.oasis.opendocument.graphics",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "patch": "text/x-diff",
    "pdf": "application/pdf",
    "pem": "application/x-x509-ca-cert",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "ps": "application/postscript",
    "py": "text/x-python",
    "rar": "application/vnd.rar",
    "rpm": "application/x-rpm",
    "rs": "text/x-rust",
    "rss": "application/rss+xml",
    "rst": "text/x-rst",
    "rtf": "application/rtf",
    "sh": "text/x-sh",
    "sql": "application/sql",
    "srt": "application/x-subrip",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tex": "text/x-tex",
    "tgz": "application/gzip",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "toml": "application/toml",
    "ts": "video/mp2t",  # not TypeScript: players need the type
    "tsv": "text/tab-separated-values",
    "ttf": "font/ttf",
    "txt": "text/plain",
    "vcf": "text/vcard",
    "vtt": "text/vtt",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "wmv": "video/x-ms-wmv",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "xsd": "application/xml",
    "xsl": "application/xslt+xml",
    "xslt": "application/xslt+xml",
    "xz": "application/x-xz",
    "yaml": "application/yaml",  # RFC 9512
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}


def media_types(changes: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function from a file's name to its Content-Type, by the table with these changes.

    `changes` maps extensions, in lower case and without the dot, to media types. Text types without
    a charset parameter get `charset=utf-8`.
    """
    values = {extension: _with_charset(kind) for extension, kind in {**_TYPES, **changes}.items()}

    def media_type(name: str) -> str:
        return values.get(os.path.splitext(name)[1][1:].lower(), UNKNOWN)

    return media_type


def runs_script(media_type: str) -> bool:
    """Return whether a browser that opens a file of this Content-Type may run script in it.

    A script that a page loads (text/javascript) is no document, and a PDF has a viewer of its own.
    """
    essence = media_type.partition(";")[0].strip(" \t").lower()
    return essence.startswith(_ACTIVE_KINDS) or essence.endswith(_ACTIVE_ENDINGS)


def _with_charset(kind: str) -> str:
    said = _CHARSET.search(kind) is not None
    return kind if said or not kind.lower().startswith("text/") else f"{kind}; charset=utf-8"


media_type: Final = media_types({})  # by the table alone
