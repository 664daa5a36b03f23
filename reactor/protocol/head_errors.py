"""The reasons why the head of a request is refused: its status, and a sentence that helps.

The parser decides by one regular expression whether a head is right. Only when that does not match,
`explain` goes through the head line by line and finds the first thing that is wrong with it.

A head that has not come whole may be wrong already: `can_go_on` decides whether more bytes can make
a request of it, so that a client of another protocol learns at once, and not by a timeout, that
this is HTTP. It examines the line that is begun and what is new, so its time is linear.
"""

import re

from reactor.errors import ProtocolError
from reactor.limits import ServerLimits
from reactor.protocol.grammar import FIELD, TOKEN, VALUE

_REQUEST_LINE = re.compile(rb"([^ ]*) ([^ ]*) HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(rb"[!\"$-~]+")  # 0x21 to 0x7E, no fragment (section 3.2)
_TLS_RECORD = b"\x16\x03"  # a handshake, and the first byte of its version (RFC 8446, section 5.1)

# The ends of a head that is begun: each matches from some place of it to its last byte.
# Whole fields, each begun by a CRLF, and the beginning of another one or of the empty line:
_FIELDS = rb"(?>(?:\r\n%b)*)(?>(?:\r(?:\n(?:\r|%b++)?)?)?)\Z" % (FIELD, TOKEN)
_VERSION = (
    rb"(?:(?> HTTP/1\.[0-9])%b" % _FIELDS
    + rb"|(?: (?:H(?:T(?:T(?:P(?:/(?:[0-9](?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?)?\Z)"
)
_TARGET_ON = rb"(?: (?:[!\"$-~]++%b|\Z)|\Z)" % _VERSION
_BEGUN = re.compile(rb"(?:%b++%b|\r?\Z)" % (TOKEN, _TARGET_ON))
_IN_METHOD = re.compile(rb"%b*+%b" % (TOKEN, _TARGET_ON))
_BEFORE_TARGET = re.compile(_TARGET_ON)
_IN_TARGET = re.compile(rb"[!\"$-~]*+%b" % _VERSION)
_BEFORE_VERSION = re.compile(_VERSION)
_BEFORE_NAME = re.compile(_FIELDS)
_IN_NAME = re.compile(rb"%b*+(?::%b*+%b|\Z)" % (TOKEN, VALUE, _FIELDS))
_IN_VALUE = re.compile(rb"%b*+%b" % (VALUE, _FIELDS))


def target_too_long(limits: ServerLimits) -> ProtocolError:
    """The error of a request line that exceeds `request_line_bytes`."""
    return ProtocolError(414, f"The request line is longer than {limits.request_line_bytes} bytes.")


def head_too_large(limits: ServerLimits) -> ProtocolError:
    """The error of a head that exceeds `head_bytes`."""
    return ProtocolError(431, f"The request's head is larger than {limits.head_bytes} bytes.")


def bare_line_end() -> ProtocolError:
    """The error of a CR or an LF that stands alone."""
    return ProtocolError(400, "A line of the head must end in CR LF; neither may stand alone.")


def explain(head: bytes, limits: ServerLimits) -> ProtocolError:
    """The reason why the pattern did not match. `head` ends with the CRLF of its last line."""
    line, _, fields = head.partition(b"\r\n")
    if len(line) > limits.request_line_bytes:
        return target_too_long(limits)
    if len(head) + 2 > limits.head_bytes:
        return head_too_large(limits)
    if b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b""):
        return bare_line_end()
    return _explain_request_line(line) or _explain_fields(fields, limits)


def _explain_request_line(line: bytes) -> ProtocolError | None:
    match = _REQUEST_LINE.fullmatch(line)
    if begins_tls(line):
        return _tls_hello()
    if line == b"PRI * HTTP/2.0":  # RFC 9113, section 3.4
        return ProtocolError(505, "HTTP/2 is not served here; the version must be HTTP/1.1.")
    if match is None:
        return _bad_request_line()
    if not re.fullmatch(TOKEN + rb"+", match[1]):
        return _bad_method()
    if not _TARGET.fullmatch(match[2]):
        return _bad_target()
    if match[3] != b"1":
        return ProtocolError(505, "The version must be HTTP/1.0 or HTTP/1.1.")
    return None


def begins_tls(head: bytes) -> bool:
    """Whether the bytes are those of a client that speaks TLS."""
    return head.startswith(_TLS_RECORD) or head == _TLS_RECORD[:1]


def can_go_on(buffer: bytes, begin: int, new: int) -> bool:
    """Whether more bytes can make a head of those from `begin` on.

    Those before `new` were found to be right before, and are not examined again. `new` is not
    between a CR and its LF.
    """
    pattern, place = _ending(buffer, begin, new)
    return pattern.match(buffer, place) is not None


def _ending(buffer: bytes, begin: int, new: int) -> tuple[re.Pattern[bytes], int]:
    """The pattern of what may follow, and the place from which on it has to match."""
    last = buffer.rfind(b"\n", begin, new)  # one byte is found fast, and no LF stands alone
    if last >= 0:
        if new == last + 1:
            return _BEFORE_NAME, last - 1
        return (_IN_NAME if buffer.find(b":", last, new) < 0 else _IN_VALUE), new
    if new == begin:
        return _BEGUN, begin
    first = buffer.find(b" ", begin, new)
    if first < 0:
        return _IN_METHOD, new
    if new == first + 1:
        return _BEFORE_TARGET, first
    second = buffer.find(b" ", first + 1, new)
    return (_IN_TARGET, new) if second < 0 else (_BEFORE_VERSION, second)


def explain_begun(head: bytes, limits: ServerLimits) -> ProtocolError:
    """The reason why no more bytes can make a request of these."""
    line, end, _ = head.partition(b"\r\n")
    if not end:
        return _explain_begun_line(line)
    return explain(head if head.endswith(b"\r\n") else head.rstrip(b"\r") + b"\r\n", limits)


def _explain_begun_line(line: bytes) -> ProtocolError:
    if begins_tls(line):
        return _tls_hello()
    method, _, rest = line.partition(b" ")
    if not re.fullmatch(TOKEN + rb"+", method.rstrip(b"\r")):
        return _bad_method()
    target = rest.partition(b" ")[0].rstrip(b"\r")
    if target and not _TARGET.fullmatch(target):
        return _bad_target()
    return _bad_request_line()


def _tls_hello() -> ProtocolError:
    return ProtocolError(
        400, "This is the hello of a TLS client (https); plain HTTP (http) is served here."
    )


def _bad_request_line() -> ProtocolError:
    return ProtocolError(400, "The request line must have the form 'METHOD target HTTP/1.1'.")


def _bad_method() -> ProtocolError:
    return ProtocolError(400, "The request's method is not a token.")


def _bad_target() -> ProtocolError:
    return ProtocolError(400, "The request's target has a character that must be percent-encoded.")


def _explain_fields(fields: bytes, limits: ServerLimits) -> ProtocolError:
    lines = fields.split(b"\r\n")[:-1]
    if len(lines) > limits.head_fields:
        return ProtocolError(431, f"The request has more than {limits.head_fields} header fields.")
    for line in lines:
        name, colon, _ = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            return ProtocolError(
                400, "A header field is folded over several lines; it must be on one."
            )
        if not colon:
            return ProtocolError(400, "A line of the head has no colon after the field's name.")
        if name.rstrip(b" \t") != name:
            return ProtocolError(400, "A header field has white space before the colon.")
        if not re.fullmatch(TOKEN + rb"+", name):
            return ProtocolError(400, "The name of a header field is not a token.")
    return ProtocolError(400, "A header field has a control character in its value.")
