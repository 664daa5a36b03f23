"""Refuses requests of upload protocols that this server does not speak, before anything changes.

tus (https://tus.io) and the older drafts of resumable uploads name a file in ways that look like an
ordinary PUT, POST or DELETE of it. A server that ignores their fields truncates the file, stores a
part of it as the whole, or removes it.
"""

from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest

TUS_LINE: Final = "\r\ntus-resumable:"  # the beginning of the field's line, in lower case
# Fields of drafts before -03, and those of tus for uploads in several parts and for checksums.
_OLDER: Final = ("Upload-Incomplete", "Upload-Token", "Upload-Concat", "Upload-Checksum")
_OVERRIDES: Final = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
_SPOKEN: Final = "draft-ietf-httpbis-resumable-upload-11"


def refuse_tus(headers: Headers) -> None:
    """Raise ProtocolError(412) for a request of a tus client."""
    if "tus-resumable" in headers:
        raise tus_refusal()


def tus_refusal() -> ProtocolError:
    """Return the response to every request of a tus client."""
    return ProtocolError(
        412,
        f"This server does not speak tus. Its resumable uploads are those of {_SPOKEN}; "
        "whole files can be sent with PUT.",
    )


def refuse_older_fields(headers: Headers) -> None:
    """Raise ProtocolError(400) for fields that only older protocols have.

    A field that asks for another method is one of them: tus clients send it.
    """
    for name in _OLDER:
        if name in headers:
            raise ProtocolError(
                400,
                f"{name} belongs to an older protocol. Resumable uploads are those of {_SPOKEN}, "
                "whose uploads have Upload-Complete.",
            )
    for name in _OVERRIDES:
        if name in headers:
            raise ProtocolError(400, f"{name} is not supported: send the method itself.")


def refuse_unknown_length(request: BaseRequest) -> None:
    """Raise ProtocolError(411) for a request of HTTP/1.0 without a length.

    It has no content (RFC 9112, section 6.3). A client that ends its content by closing would still
    find an empty file under its name; HTTP/1.0 requires the length (RFC 1945, section 7.2.2).
    """
    if not request.minor and "content-length" not in request.headers:
        raise ProtocolError(
            411, "An upload by HTTP/1.0 must have a Content-Length.", [("Connection", "close")]
        )
