"""The kinds of files that have icons of their own in a listing, by their media types.

A kind is the class of a row; pages/listing.css has its icon. An icon is decoration: the name and
its extension say the same.
"""

from typing import Final

from reactor.web.semantics.media_types import media_type

KINDS: Final = frozenset({"archive", "audio", "image", "text", "video"})
_ARCHIVES: Final = (
    *("gzip", "java-archive", "vnd.android.package-archive", "vnd.debian.binary-package"),
    *("vnd.rar", "x-7z-compressed", "x-bzip2", "x-rpm", "x-tar", "x-xz", "zip", "zstd"),
)
# Documents and source code, of which the type is not text/*.
_TEXTS: Final = (
    *("epub+zip", "json", "ld+json", "geo+json", "manifest+json", "msword", "pdf", "postscript"),
    *("rtf", "sql", "toml", "vnd.ms-excel", "vnd.ms-powerpoint", "x-ndjson", "x-subrip", "xml"),
    *("xslt+xml", "xhtml+xml", "atom+xml", "rss+xml", "yaml"),
)
_OFFICE: Final = ("vnd.oasis.opendocument.", "vnd.openxmlformats-officedocument.")
_BY_SUBTYPE: Final = {
    **dict.fromkeys(_ARCHIVES, "archive"),
    **dict.fromkeys(_TEXTS, "text"),
}


def kind_of(name: str) -> str:
    """Return one of KINDS for the file's name; "" for a file of any other kind."""
    top, _, rest = media_type(name).partition("/")
    if top in KINDS:
        return top
    subtype = rest.partition(";")[0]
    return "text" if subtype.startswith(_OFFICE) else _BY_SUBTYPE.get(subtype, "")
