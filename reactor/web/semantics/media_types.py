"""The media type of a file, by its name.

The tables are our own, because those of the `mimetypes` module differ between machines and
versions. A whole name such as Makefile comes first, then the last extension of a name, both in
upper or lower case. Any other file is application/octet-stream: the bytes are never sniffed, and
`X-Content-Type-Options: nosniff` asks the browser not to sniff either.

Files that people read are text/plain in any language: browsers show that type, and
download those they do not know (Firefox also text/markdown and text/x-python). Types that programs
look for, such as text/csv or text/vtt, stay. The operator may extend and change both tables.
"""

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Final

from reactor.protocol.grammar import QUOTED_TEXT, TOKEN_TEXT

UNKNOWN: Final = "application/octet-stream"
# Types of which a browser makes a document that can run script: HTML, and XML, which may hold
# XHTML, SVG and XSLT (RFC 7303, section 4.2: so may every type that ends in +xml). Multiparts and
# messages are archives of pages (MHTML).
_ACTIVE_KINDS: Final = ("multipart/", "message/")
_ACTIVE_ENDINGS: Final = ("html", "xml", "xsl", "xslt", "rdf", "mimearchive", "webarchive")
# type/subtype and parameters (RFC 9110, section 8.3.1)
_TYPE: Final = re.compile(
    rf"{TOKEN_TEXT}++/{TOKEN_TEXT}++"
    rf"(?>(?:[ \t]*+;[ \t]*+{TOKEN_TEXT}++=(?:{TOKEN_TEXT}++|{QUOTED_TEXT}))*)"
)
_KEY: Final = re.compile(r"\.[^./\\\0\s]++|[^./\\\0\r\n][^/\\\0\r\n]*+")
_CHARSET: Final = re.compile(r";[ \t]*+charset=", re.IGNORECASE)

# Extensions and names, in lower case, of files that are text/plain.
_TEXT: Final = """
    adb adoc ads asc asm awk bash bat bib buildinfo c cc cfg changes cl clj cljs cmake cmd
    coffee conf config cpp cr cs csh cts cue cxx d dart diff dsc ebuild el elm erl ex exs f90
    fish for fs fsx gd gleam glsl go gradle graphql groovy h hcl hh hjson hpp hrl hs hxx idl in
    inc ini java jl json5 jsonc jsx kt kts less lisp list lock log lua m m4 mak markdown md md5
    mdx meson mk ml mli mm nim nix org pas patch php pl pm po pot properties proto ps1 psm1 pug
    py pyi pyx r rb repo rkt rs rst s sass sbt scala scm scss service sh sha1 sha256 sha512 sol
    sql styl sum sv svelte svh swift tcl tex text textile tf tfvars thrift toml ts tsx txt v vb
    vbs vhdl vim vue wgsl yaml yml zig zsh
"""
_TEXT_NAMES: Final = """
    authors build changelog changes codeowners configure containerfile contributing contributors
    copying copying.lesser copyright dockerfile gemfile gnumakefile go.mod hacking history
    inrelease install jenkinsfile justfile kconfig licence license license-apache license-mit
    maintainers makefile md5sums news notice owners packages patents pipfile pkgbuild podfile
    procfile rakefile readme release sha1sums sha256sums sha512sums sources thanks todo
    unlicense vagrantfile version workspace
"""
_NAMES: Final = {
    **dict.fromkeys(_TEXT_NAMES.split(), "text/plain"),
    "apple-app-site-association": "application/json",  # in /.well-known/
}
_TYPES: Final = {
    **dict.fromkeys(_TEXT.split(), "text/plain"),
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
    "cjs": "text/javascript",
    "crt": "application/x-x509-ca-cert",
    "css": "text/css",
    "csv": "text/csv",
    "deb": "application/vnd.debian.binary-package",
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
    "gpx": "application/gpx+xml",
    "gz": "application/gzip",
    "heic": "image/heic",
    "htm": "text/html",
    "html": "text/html",
    "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar",
    "jar": "application/java-archive",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",  # RFC 9239
    "json": "application/json",
    "jsonl": "application/x-ndjson",  # not registered
    "jsonld": "application/ld+json",
    "jxl": "image/jxl",
    "kml": "application/vnd.google-earth.kml+xml",
    "kmz": "application/vnd.google-earth.kmz",
    "m2ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",  # RFC 8216
    "m4a": "audio/mp4",
    "m4s": "video/iso.segment",
    "m4v": "video/mp4",
    "map": "application/json",
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
    "mts": "video/mp2t",  # camcorders write it
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
    "pdf": "application/pdf",
    "pem": "application/x-x509-ca-cert",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "ps": "application/postscript",
    "rar": "application/vnd.rar",
    "rpm": "application/x-rpm",
    "rss": "application/rss+xml",
    "rtf": "application/rtf",
    "srt": "application/x-subrip",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "tsv": "text/tab-separated-values",
    "ttf": "font/ttf",
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
    "zip": "application/zip",
    "zst": "application/zstd",
}


def checked_type(key: str, kind: str) -> tuple[str, str]:
    """Return `.extension` or a whole name, in lower case, and its media type.

    Raises ValueError for anything that is neither, and for text that is not a media type.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{key!r} is neither an extension nor a name of files, as in .md and LICENSE"
        )
    kind = kind.strip(" \t")
    if not kind.isascii() or not _TYPE.fullmatch(kind):
        raise ValueError(f"{kind!r} is not a media type, as in text/plain")
    return key.lower(), kind


def media_types(changes: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function from a file's name to its Content-Type, by the tables with these changes.

    `changes` maps extensions with their dot (`.md`) and whole names (`LICENSE`) to media types.
    Text types without a charset parameter get `charset=utf-8`. Raises ValueError, see
    `checked_type`.
    """
    values = {f".{extension}": _with_charset(kind) for extension, kind in _TYPES.items()}
    values |= {name: _with_charset(kind) for name, kind in _NAMES.items()}
    for key, kind in (checked_type(*change) for change in changes.items()):
        values[key] = _with_charset(kind)

    def media_type(name: str) -> str:
        name = name.lower()
        return values.get(name) or values.get(os.path.splitext(name)[1], UNKNOWN)

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
