"""The field lines of a head: checked, split, and by name.

A client sends nearly the same lines with each request, and many clients send the same ones. A block
of lines that was right once is right again, so it is looked up whole; a Cookie is cut out before
and parsed each time. Where the block is not known, each line is looked up, which costs a fifth of
checking and splitting it.

Only fields that describe a client or a connection are remembered, and the page that it comes from,
as the parser remembers paths. Cookies, credentials, identifiers and all names that are not known
here are parsed each time: they seldom come again, and no secret of a client stays in memory behind
its request.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers, joined_by_name
from reactor.protocol.grammar import AUTHORITY, TOKEN_TEXT, VALUE
from reactor.remembered import remember

HOST_CHARACTERS: Final = 512  # a name of the DNS has 253 at most; checked ones are cached
LINE_CHARACTERS: Final = 256  # lines up to this length are remembered
BLOCK_BYTES: Final = 1024  # blocks of lines up to this length are remembered
LINES: Final = 1024  # so many are remembered, and then forgotten all at once
BLOCKS: Final = 256

_VALUE: Final = re.compile(VALUE.decode("latin-1") + "*+")
_FIELD: Final = re.compile(f"({TOKEN_TEXT}++):[ \t]*+({_VALUE.pattern})")
_AUTHORITY: Final = re.compile(AUTHORITY.decode())
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding", "expect"})
_REMEMBERED: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "upgrade-insecure-requests", "priority"),
        *("content-length", "content-type", "transfer-encoding", "expect"),
        *("accept", "accept-charset", "accept-encoding", "accept-language"),
        *("cache-control", "pragma", "dnt", "sec-gpc", "save-data", "origin", "user-agent"),
        *("referer", "if-none-match", "if-modified-since"),
        *("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"),
        *("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user"),
    }
)

# All fields, the same by name, the host (None: no Host field), and whether any is for framing.
Block: TypeAlias = tuple[Headers, dict[str, str], str | None, bool]

_lines: dict[str, tuple[str, str]] = {}  # name in lower case and value, by line


class MalformedHeadError(Exception):
    """A line of a head is wrong, or there are too many; head_errors.py finds the reason."""


class FieldReader:
    """Reads the blocks of fields of all connections that have the same limits."""

    __slots__ = ("_most", "blocks", "usual_bytes")

    def __init__(self, most: int, usual_bytes: int) -> None:
        """`most` is a number of lines. A head of `usual_bytes` is within all limits of length."""
        self._most = most
        self.usual_bytes = usual_bytes
        self.blocks: dict[bytes, Block] = {}  # those that are remembered

    def read(self, fields: bytes) -> Block:
        """Read a block that is not remembered as a whole: lines, each begun by CRLF.

        Raises MalformedHeadError, and ProtocolError for a wrong Host field.
        """
        begin = fields.rfind(b"\r\nCookie:")  # most clients send it last
        if begin < 0:
            return self._parse(fields, self._most)
        end = fields.find(b"\r\n", begin + 2)
        if end < 0:
            end = len(fields)
        text = fields.decode("latin-1")
        cookie = text[begin + 9 : end]
        if not _VALUE.fullmatch(cookie):
            raise MalformedHeadError
        rest = fields[:begin] + fields[end:]
        _, others, host, is_framing = self.blocks.get(rest) or self._parse(rest, self._most - 1)
        if "cookie" in others:  # several, in the order in which they came
            return self._parse(fields, self._most)
        values = others.copy()
        values["cookie"] = cookie.strip(" \t")
        return Headers(text, values), values, host, is_framing

    def _parse(self, fields: bytes, most: int) -> Block:
        text = fields.decode("latin-1")
        lines = text.split("\r\n")[1:]
        if len(lines) > most:
            raise MalformedHeadError
        known = _lines.get
        pairs = [known(line) or _read_line(line) for line in lines]
        values = joined_by_name(pairs)
        host = None
        if "host" in values:
            host = _only_host([value for name, value in pairs if name == "host"])
        block = Headers(text, values), values, host, not _FRAMING.isdisjoint(values)
        # A remembered block may come again with a cookie beside it, which is one line more.
        if len(fields) <= BLOCK_BYTES and len(lines) < self._most and values.keys() <= _REMEMBERED:
            remember(self.blocks, fields, block, BLOCKS)
        return block


field_reader = lru_cache(maxsize=64)(FieldReader)


def _read_line(line: str) -> tuple[str, str]:
    """Name in lower case, and value without white space around it. Raises MalformedHeadError."""
    match = _FIELD.fullmatch(line)
    if match is None:
        raise MalformedHeadError
    name = match[1].lower()
    pair = name, match[2].rstrip(" \t")
    if name in _REMEMBERED and len(line) <= LINE_CHARACTERS:
        remember(_lines, line, pair, LINES)
    return pair


def _only_host(values: list[str]) -> str:
    """The host and port of the Host field. Raises ProtocolError."""
    host = read_host(values[0])
    if host is None:
        raise ProtocolError(
            400, "The Host field is not a host name or address, with or without a port."
        )
    if len(values) > 1:
        raise ProtocolError(400, "The request has two Host fields; one is allowed.")
    return host


def read_host(value: str) -> str | None:
    """The host and port of a Host field (RFC 9110, section 7.2), or ""; None if it is malformed."""
    return _read_host(value) if len(value) <= HOST_CHARACTERS else None


@lru_cache(maxsize=256)
def _read_host(value: str) -> str | None:
    match = _AUTHORITY.fullmatch(value)
    if match is None or int(match["port"] or 0) > 65535:
        return None
    if match["ipv6"] is not None and not _is_ipv6(match["ipv6"]):
        return None
    return value


def _is_ipv6(text: str) -> bool:
    """Whether it is an address as RFC 3986, section 3.2.2 has it; a zone identifier is none."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
