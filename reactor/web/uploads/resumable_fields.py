"""The words of draft-ietf-httpbis-resumable-upload-11: its fields, its lengths, its problem types.

The fields are Items (RFC 9651, section 3.3). What is not as it should be is ignored, as if it were
not there (section 4.1 of the draft). An upload's length follows from two fields of each of its
requests, and all of them must agree.

Everything here is pure: from a request's head to what it says, from an error to its answer.
"""

import json
import re
from typing import Any, Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers
from reactor.messages.request import Request
from reactor.messages.response import Response

INTEROP: Final = "8"  # the interop version of this revision ("Draft Version Identification")
MEDIA_TYPE: Final = "application/partial-upload"

Fields: TypeAlias = tuple[tuple[str, str], ...]

_NAME: Final = "Upload-Draft-Interop-Version"
_PARAMETERS: Final = r"(?:; *[a-z*][a-z0-9_.*-]*(?:=[^;]+)?)*"  # none means anything to us
_BOOLEAN: Final = re.compile(r"\?([01])" + _PARAMETERS)
_INTEGER: Final = re.compile(r"([0-9]{1,15})" + _PARAMETERS)
_PROBLEM: Final = "https://iana.org/assignments/http-problem-types#"

NO_STORE: Final = ("Cache-Control", "no-store")
INTEROP_FIELD: Final = (_NAME, INTEROP)
ACCEPT_PATCH: Final = ("Accept-Patch", MEDIA_TYPE)


class Problem(Exception):
    """An error that the draft has a type for (RFC 9457)."""

    def __init__(
        self, status: int, kind: str, title: str, headers: Fields = (), **members: int
    ) -> None:
        super().__init__(status, kind)
        self._status = status
        self._content: dict[str, Any] = {"type": _PROBLEM + kind, "title": title}
        self._content.update((name.replace("_", "-"), value) for name, value in members.items())
        self._headers = headers

    def response(self) -> Response:
        headers = (("Content-Type", "application/problem+json"), NO_STORE, *self._headers)
        return Response(self._status, json.dumps(self._content).encode() + b"\n", headers)


def mismatching_offset(expected: int, provided: int) -> Problem:
    """Section 7.1."""
    title = "offset from request does not match offset of resource"
    headers = (("Upload-Offset", str(expected)),)
    members = {"expected_offset": expected, "provided_offset": provided}
    return Problem(409, "mismatching-upload-offset", title, headers, **members)


def completed_upload() -> Problem:
    """Section 7.2."""
    return Problem(400, "completed-upload", "upload is already completed")


def inconsistent_length() -> Problem:
    """Section 7.3."""
    return Problem(400, "inconsistent-upload-length", "inconsistent length values for upload")


def is_complete(headers: Headers) -> bool | None:
    """Upload-Complete; None where the request has none, or what is none."""
    match = _BOOLEAN.fullmatch(headers.get("Upload-Complete"))
    return None if match is None else match[1] == "1"


def written_complete(complete: bool) -> tuple[str, str]:
    return "Upload-Complete", f"?{int(complete)}"


def written_offset(offset: int) -> tuple[str, str]:
    return "Upload-Offset", str(offset)


def hears_104(request: Request) -> bool:
    """Whether the client may be told anything before the answer.

    It must have said that it is of this very revision; HTTP/1.0 knows no such answers at all.
    """
    match = _INTEGER.fullmatch(request.headers.get(_NAME))
    return request.minor > 0 and match is not None and int(match[1]) == int(INTEROP)


def length_of(request: Request, offset: int, known: int | None) -> int | None:
    """The upload's length, as far as this request and those before it tell (section 4.1.3).

    `offset` is where the request's content begins. Raises Problem where they contradict each
    other, or the content would go beyond.
    """
    told = {known, _integer(request.headers, "Upload-Length")}
    count = request.length  # None: chunked, and not known before it has come
    if count is not None and is_complete(request.headers):
        told.add(offset + count)
    told.discard(None)
    if len(told) > 1:
        raise inconsistent_length()
    length = told.pop() if told else None
    if length is not None and offset + (count or 0) > length:
        raise inconsistent_length()
    return length


def appended_at(request: Request) -> tuple[int, bool]:
    """Where a PATCH says its content belongs, and whether that ends the upload (section 4.4.1).

    Raises ProtocolError for what is no append.
    """
    media_type = request.headers.get("Content-Type").partition(";")[0].rstrip(" \t").lower()
    if media_type != MEDIA_TYPE:
        raise ProtocolError(415, f"What is appended is {MEDIA_TYPE}.", [ACCEPT_PATCH])
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        uncoded = [("Accept-Encoding", "identity")]
        raise ProtocolError(415, "What is appended is taken as it is.", uncoded)
    offset = _integer(request.headers, "Upload-Offset")
    complete = is_complete(request.headers)
    if offset is None or complete is None:
        raise ProtocolError(400, "An append has Upload-Offset and Upload-Complete.")
    return offset, complete


def _integer(headers: Headers, name: str) -> int | None:
    match = _INTEGER.fullmatch(headers.get(name))
    return None if match is None else int(match[1])
