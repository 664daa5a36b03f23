"""The reasons why the head of a request is refused: its status, and a sentence that helps.

The parser decides by one regular expression whether a head is right. Only when that does not match,
`explain` goes through the head line by line and finds the first thing that is wrong with it.
"""

import re

from reactor.errors import ProtocolError
from reactor.limits import ServerLimits
from reactor.protocol.grammar import TOKEN

_REQUEST_LINE = re.compile(rb"([^ ]*) ([^ ]*) HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(rb"[!\"$-~]+")  # 0x21 to 0x7E, no fragment (section 3.2)


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
    if match is None:
        return ProtocolError(400, "The request line must have the form 'METHOD target HTTP/1.1'.")
    if not re.fullmatch(TOKEN + rb"+", match[1]):
        return ProtocolError(400, "The request's method is not a token.")
    if not _TARGET.fullmatch(match[2]):
        return ProtocolError(
            400, "The request's target has a character that must be percent-encoded."
        )
    if match[3] != b"1":
        return ProtocolError(505, "The version must be HTTP/1.0 or HTTP/1.1.")
    return None


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
