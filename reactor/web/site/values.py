"""Parsers of option values that name files, URLs and header fields: pure functions of text.

Each returns the value taken apart and in its normal form, or raises ValueError with a sentence that
names the value and what is accepted. Nothing here looks at the disk: whether a directory exists is
found out when it is opened.

A header field that the operator adds must be a field (RFC 9110, section 5), and none that the
server writes: two owners of one field are a response that contradicts itself.
"""

import re
from typing import Final

from reactor.protocol.grammar import TOKEN_TEXT
from reactor.web.semantics.cross_site import origin_of
from reactor.web.semantics.file_names import is_plain
from reactor.web.semantics.hosts import host_pattern
from reactor.web.semantics.media_types import checked_type

_NAME: Final = re.compile(rf"{TOKEN_TEXT}++")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]++")
# One segment of a prefix: what a path may contain as it is (RFC 3986, section 3.3), but for "=",
# which ends the prefix, and "*", which looks like a pattern.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()+,;:@]++")

# Names of fields, in lower case, and why they cannot be added.
_TAKEN: Final = {
    **dict.fromkeys(
        (
            *("connection", "content-length", "date", "keep-alive", "proxy-connection"),
            *("trailer", "transfer-encoding", "upgrade"),
        ),
        "the server writes it, as it frames the response",
    ),
    **dict.fromkeys(
        (
            *("accept-ranges", "allow", "content-encoding", "content-range", "etag"),
            *("last-modified", "location", "vary", "x-content-type-options"),
        ),
        "the server writes it for each file",
    ),
    "content-type": "it depends on the file's name; see --type",
    "cache-control": "it depends on the file's name; see --cache-control",
    "server": "it is in every response; see --server-header",
}


def mount(text: str) -> tuple[str, str]:
    """`PREFIX=DIR`: the prefix, begun and ended by one slash, and the directory."""
    before, equals, directory = text.partition("=")
    if not equals or not before or not directory:
        raise ValueError(f"{text!r} is not PREFIX=DIR, as in /docs/=site")
    segments = before.strip("/").split("/") if before.strip("/") else []
    for segment in segments:
        if segment in (".", "..") or not _SEGMENT.fullmatch(segment):
            raise ValueError(
                f"{segment!r} cannot be part of a prefix: use letters, digits and "
                "-._~!$&'()+,;:@, but not '.' or '..' alone"
            )
    return "/".join(("", *segments, "")), directory


def path_below(text: str) -> str:
    """A file's path below a mount: plain names, none of them hidden, between single slashes."""
    if not text.isprintable() or not is_plain(text.split("/")):
        raise ValueError(f"{text!r} is not a path below a mount, as in app/index.html")
    return text


def media_type(text: str) -> tuple[str, str]:
    """`.ext=type/subtype` or `name=type/subtype`: the extension or the name, and the type."""
    key, equals, kind = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not .EXT=TYPE or NAME=TYPE, as in .md=text/markdown")
    return checked_type(key, kind)


def header(text: str) -> tuple[str, str]:
    """`Name: value`: both, without the white space around the value."""
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} is not 'Name: value'")
    if name.lower() in _TAKEN:
        raise ValueError(f"{name} cannot be added: {_TAKEN[name.lower()]}")
    return name, field_value(value)


def cache_rule(text: str) -> tuple[str, str]:
    """`PATTERN=VALUE`: both; a slash in front of the pattern only says that it has one."""
    pattern, equals, value = text.partition("=")
    if not equals or not pattern.strip("/"):
        raise ValueError(f"{text!r} is not PATTERN=VALUE, as in '*.css=max-age=3600'")
    return pattern, field_value(value)


def origins(text: str) -> tuple[str, ...]:
    """`URL,…`: the origins that these URLs name."""
    return tuple(origin_of(url.strip(" \t")) for url in text.split(","))


def hosts(text: str) -> tuple[str, ...]:
    """`HOST,…`: the hosts and patterns of hosts, in their normal form."""
    return tuple(host_pattern(host.strip(" \t")) for host in text.split(","))


def field_value(text: str) -> str:
    """A field's value that is not empty, without the white space around it (section 5.5)."""
    value = text.strip(" \t")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} is not a value of a field: it must be printable ASCII")
    return value
