r"""The access log: one line for every request, in a format that the operator chooses.

A format is `common`, `combined` or `json`, or a text with gunicorn's atoms, as in '%(h)s "%(r)s"
%(s)s'. It is compiled once, when the server starts, into one function that takes a response and
writes its line: the text becomes an f-string, and each atom an expression in it. Times and dates
are made once a second (see http/wall_clock.py); only a format with a duration reads the clock.

All text that a client can choose is escaped by escaping.py, so that a request is one line in every
format, and its bytes are shown as they came. observe/log_writer.py writes the lines into the file.
"""

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TypeAlias

from reactor.http.context import Observer
from reactor.http.wall_clock import WallClock
from reactor.loop.scheduler import Scheduler
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.net.tls_info import TlsInfo
from reactor.observe.escaping import escaper, json_quoter
from reactor.protocol.grammar import TOKEN
from reactor.remembered import remember

TLS_NAMES: Final = ("version", "cipher", "resumed", "subject", "fingerprint")
REQUEST_ID: Final = "x-request-id"
ESCAPED_TEXTS: Final = 1024  # clients and methods that are remembered, each with its escaped text
USER_BYTES: Final = 3072  # a user name is looked for in so many bytes; a multiple of 3

Write: TypeAlias = Callable[[str], object]

_COMMON: Final = '%(h)s - - %(t)s "%(r)s" %(s)s %(B)s'
# The atom `r`, until it is known whether there was a request. No text of a format has a NUL.
_LINE: Final = "{\0}"
_FORMATS: Final = {"common": _COMMON, "combined": _COMMON + ' "%(f)s" "%(a)s"'}

# gunicorn's atoms (its setting access_log_format), as expressions. `dash` stands for a missing
# value; `target`, `seconds` and `date` are made first where an expression uses them.
_ATOMS: Final = {
    "h": "safe[request.client[0]]",
    "l": "dash",
    "u": "escape(user(request)) or dash",
    "t": "[{date}]",
    "r": _LINE,
    "m": "safe[request.method] or dash",
    "U": "escape(request.raw_path) or dash",
    "q": "escape(request.query)",
    "H": "protocol(request)",
    "s": "digits[status]",
    "b": "size or dash",
    "B": "digits[size] if size < len(digits) else size",
    "f": "escape(request.headers.get(referer)) or dash",
    "a": "escape(request.headers.get(user_agent)) or dash",
    "T": "int(seconds)",
    "M": "int(seconds * 1e3)",
    "D": "round(seconds * 1e6)",
    "L": "seconds:.6f",
    "p": "<{pid}>",
}
# Nearly all formats begin with this. It is the same for all requests of a client in a second.
_BEGINNING: Final = "{safe[request.client[0]]} - - [{date}]"
_NAMED: Final = {
    "i": "escape(request.headers.get(NAME)) or dash",
    "o": "escape(field(fields, NAME)) or dash",
    "e": "NAME",
    "x": "tls(request, NAME, escape)",
}
_ATOM: Final = re.compile(r"%(?:\((?:([a-zA-Z])|\{([^{}]*)\}([ioex]))\)s|(%))?")
_NAME: Final = re.compile(rf"{TOKEN.decode()}++")


_quoted = lru_cache(maxsize=1024)(encode_basestring_ascii)  # for clients and methods
_PROTOCOLS: Final = ("HTTP/1.0", "HTTP/1.1")  # by minor version
# Formatting an int takes five times as long as finding its text here.
_DIGITS: Final = tuple(map(str, range(1000)))
_CONSTANTS: Final = {
    "dash": "-",
    "digits": _DIGITS,
    "referer": "referer",
    "user_agent": "user-agent",
}


class _Escaped(dict[str, str]):
    """Texts that come again, clients and methods, with what `escape` makes of them for a log."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__()
        self._escape = escape

    def __missing__(self, text: str) -> str:
        return remember(self, text, self._escape(text), ESCAPED_TEXTS)


def check_format(line_format: str) -> str:
    """The format, unchanged. Raises ValueError with a sentence for a text that is no format."""
    if line_format != "json":
        for _ in _parts(_FORMATS.get(line_format, line_format)):
            pass
    return line_format


def line_writer(
    line_format: str, write: Write, wall: WallClock, reactor: Scheduler, field_bytes: int
) -> Observer:
    """The observer that writes a line of this format for each response.

    A field is cut off after `field_bytes`. Raises ValueError with a sentence for a text that is no
    format.
    """
    if line_format == "json":
        return _json_log(write, wall, reactor, field_bytes)
    escape = escaper(field_bytes)
    names: dict[str, Any] = {
        **_CONSTANTS,
        "clock": reactor.clock,
        "escape": escape,
        "field": field,
        "first_line": _first_line,
        "most": field_bytes,
        "pid": os.getpid(),
        "protocol": _protocol,
        "reactor": reactor,
        "safe": _Escaped(escape),
        "tls": _tls_value,
        "user": _user,
        "wall": wall,
        "write": write,
    }
    text = ""
    for literal, letter, (name, kind) in _parts(_FORMATS.get(line_format, line_format)):
        text += repr(f'"{literal}')[2:-1].replace("{", "{{").replace("}", "}}")
        if kind:
            constant = f"name{len(names)}"
            names[constant] = escape(_environment(name)) if kind == "e" else name
            text += _braced(_NAMED[kind].replace("NAME", constant))
        elif letter:
            text += _braced(_ATOMS[letter])
    if text.startswith(_BEGINNING):
        begun = names["begun"] = _Escaped(lambda client: f"{escape(client)} - - [{wall.log_date}]")
        wall.empty_with_each_second(begun)
    exec(_source(text), names)
    observe: Observer = names["observe"]
    return observe


def _braced(expression: str) -> str:
    """The expression in the braces of an f-string, unless it is a text that has braces already."""
    return expression if "{" in expression else "{" + expression + "}"


def _source(text: str) -> str:
    """The source of the observer, with only those statements that the text needs."""
    lines = ["def observe(request, status, fields, size):", "if not request.logged:", " return"]
    if "{seconds" in text or "(seconds" in text:
        lines += ["seconds = clock() - request.started"]
    if "{date}" in text:
        lines += ["if reactor.now >= wall.expires:", " wall.refresh(reactor.now)"]
        if text.startswith(_BEGINNING):
            text = text.replace(_BEGINNING, "{begun[request.client[0]]}", 1)
        if "{date}" in text:
            lines += ["date = wall.log_date"]
    if _LINE in text:
        lines += [
            "line = request.line",
            # The parser has seen to it that all of it is printable ASCII.
            r"""if not line or '"' in line or '\\' in line or len(line) > most:""",
            " line = first_line(request, escape)",
        ]
        text = text.replace(_LINE, "{line}")
    lines += [f"write(f'{text}\\n')"]
    return "\n ".join(lines)


def _parts(line_format: str) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Pairs of text and the atom behind it: a letter, or a name and its kind. Raises ValueError."""
    if "%(" not in line_format:
        raise ValueError(
            f"{line_format!r} is no format: use common, combined, json, or a text with atoms "
            "as in %(h)s"
        )
    if not line_format.isprintable():
        raise ValueError(
            f"{line_format!r} has a character that cannot be printed; use printable ones"
        )
    position, literal = 0, ""
    for match in _ATOM.finditer(line_format):
        literal += line_format[position : match.start()]
        position = match.end()
        letter, name, kind, percent = match.groups()
        if percent:
            literal += "%"
            continue
        if not (letter in _ATOMS or _is_named(kind, name)):
            what = re.match(r"%(?:\([^)]*\)?.?)?", line_format[match.start() :])
            raise ValueError(
                f"{what[0] if what else '%'!r} is no atom; use one as in %(h)s, and %% for a %"
            )
        yield literal, letter or "", (name or "", kind or "")
        literal = ""
    yield literal + line_format[position:], "", ("", "")


def _is_named(kind: str | None, name: str) -> bool:
    """Whether there is an atom of this kind and name."""
    if kind == "x":
        return name in TLS_NAMES
    return kind == "e" or (kind is not None and _NAME.fullmatch(name) is not None)


def _tls_value(request: BaseRequest, name: str, escape: Callable[[str], str]) -> str:
    """One of TLS_NAMES of the request's connection; "-" where it has none."""
    tls = request.tls
    if tls is None:
        return "-"
    if name == "version":
        return tls.version
    if name == "cipher":
        return tls.cipher
    if name == "resumed":
        return "yes" if tls.resumed else "no"
    if tls.client is None:
        return "-"
    return escape(tls.client.subject) if name == "subject" else tls.client.fingerprint


@lru_cache(maxsize=1024)
def _tls_members(tls: TlsInfo | None) -> str:
    """The members of a JSON line that an encrypted connection adds."""
    if tls is None:
        return ""
    client = tls.client
    subject = "null" if client is None else encode_basestring_ascii(client.subject)
    fingerprint = "null" if client is None else f'"{client.fingerprint}"'
    return (
        f',"tls_version":"{tls.version}","tls_cipher":"{tls.cipher}",'
        f'"tls_resumed":{"true" if tls.resumed else "false"},'
        f'"tls_subject":{subject},"tls_fingerprint":{fingerprint}'
    )


def _json_log(write: Write, wall: WallClock, reactor: Scheduler, field_bytes: int) -> Observer:
    """The observer that writes JSON; a value that is missing is null.

    The first way of quoting is for text without anything to escape or to cut, as nearly all text
    is. Its result shows where there is something: it has a backslash for each such character.
    """
    clock, quoted = reactor.clock, _quoted
    quotes = (encode_basestring_ascii, json_quoter(field_bytes))

    def observe(request: BaseRequest, status: int, fields: Fields, size: int) -> None:
        if not request.logged:
            return
        if (now := clock()) >= wall.expires:
            wall.refresh(now)
        milliseconds = int((now - wall.expires) * 1000.0 + 1000.0)  # since this second began
        headers = request.headers
        folded = headers.folded()
        identifier = request.id
        for name, value in fields:
            if len(name) == 12 and name.lower() == REQUEST_ID:
                identifier = f"{value}"
        if not identifier and "\r\nx-request-id:" in folded:
            identifier = headers.get(REQUEST_ID)
        # Without a path these bytes were no request, and the target is their first line.
        method = quoted(request.method) if request.path else "null"
        protocol = f'"HTTP/1.{request.minor}"' if request.path else "null"
        members = _tls_members(request.tls)
        for quote in quotes:
            referer = quote(headers.get("referer")) if "\r\nreferer:" in folded else "null"
            agent = quote(headers.get("user-agent")) if "\r\nuser-agent:" in folded else "null"
            line = (
                f'{{"time":"{wall.log_time}.{milliseconds:03}Z",'
                f'"client":{quoted(request.client[0])},'
                f'"method":{method},"target":{quote(request.target)},"protocol":{protocol},'
                f'"status":{status},"bytes":{size},"duration":{now - request.started:.6f},'
                f'"referer":{referer},"user_agent":{agent},'
                f'"host":{quote(request.host) if request.host else "null"},'
                f'"request_id":{quote(identifier) if identifier else "null"}{members}}}\n'
            )
            if "\\" not in line and len(line) <= field_bytes:
                break
        write(line)

    return observe


def field(fields: Fields, name: str) -> str:
    """The last value of a response's field; "" if there is none."""
    folded, found = name.lower(), ""
    for other, value in fields:
        if other.lower() == folded:
            found = f"{value}"
    return found


def _first_line(request: BaseRequest, escape: Callable[[str], str]) -> str:
    """The request line, its texts escaped. Without a path the target is bytes of no request."""
    target = escape(request.target)
    if not request.path:
        return target
    return f"{escape(request.method)} {target} {_PROTOCOLS[request.minor]}"


def _protocol(request: BaseRequest) -> str:
    return f"HTTP/1.{request.minor}" if request.path else "-"


def _user(request: BaseRequest) -> str:
    """The user name of Basic credentials (RFC 7617, section 2), which nobody has checked.

    Its bytes are decoded as Latin-1, as those of fields are.
    """
    scheme, _, credentials = request.headers.get("authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        user = b64decode(credentials[: USER_BYTES // 3 * 4], validate=True).partition(b":")[0]
        user.decode()
    except ValueError:  # no Base64, or no UTF-8
        return ""
    return user.decode("latin-1")


def _environment(name: str) -> str:
    """The value of an environment variable, its bytes decoded as Latin-1."""
    return os.fsencode(os.environ.get(name, "-")).decode("latin-1")
