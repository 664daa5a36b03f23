"""The fields, lengths and problem types of draft-ietf-httpbis-resumable-upload-11.

The fields are Items (RFC 9651, section 3.3). A malformed field is ignored as if it were absent
(section 4.1 of the draft). The length of an upload follows from two fields of each of its requests,
and all of them must agree.

Everything here is pure: from the head of a request to its meaning, from an error to its response.
"""

import json
import re
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields, Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response

INTEROP: Final = "8"  # the interop version of this revision ("Draft Version Identification")
MEDIA_TYPE: Final = "application/partial-upload"

_NAME: Final = "Upload-Draft-Interop-Version"
_PARAMETERS: Final = r"(?:; *[a-z*][a-z0-9_.*-]*(?:=[^;]+)?)*"  # their parameters are ignored
_BOOLEAN: Final = re.compile(r"\?([01])" + _PARAMETERS)
_INTEGER: Final = re.compile(r"([0-9]{1,15})" + _PARAMETERS)
_PROBLEM: Final = "https://iana.org/assignments/http-problem-types#"

NO_STORE: Final = ("Cache-Control", "no-store")
INTEROP_FIELD: Final = (_NAME, INTEROP)
ACCEPT_PATCH: Final = ("Accept-Patch", MEDIA_TYPE)


class Problem(Exception):
    """An error for which the draft has a problem type (RFC 9457)."""

    def __init__(
        self, status: int, kind: str, title: str, headers: Fields = (), **members: int
    ) -> None:
        super().__init__(status, kind)
        self._status = status
        self._content: dict[str, Any] = {"type": _PROBLEM + kind, "title": title}
        self._content.update((name.replace("_", "-"), value) for name, value in members.items())
        self._headers = headers

    def response(self) -> Response:
        """The response with the problem as JSON."""
        headers = (("Content-Type", "application/problem+json"), NO_STORE, *self._headers)
        return Response(self._status, json.dumps(self._content).encode() + b"\n", headers)


def mismatching_offset(expected: int, provided: int) -> Problem:
    """Section 7.1: the offset of the request is not that of the resource."""
    title = "offset from request does not match offset of resource"
    headers = (("Upload-Offset", str(expected)),)
    members = {"expected_offset": expected, "provided_offset": provided}
    return Problem(409, "mismatching-upload-offset", title, headers, **members)


def completed_upload() -> Problem:
    """Section 7.2: the upload is complete already."""
    return Problem(400, "completed-upload", "upload is already completed")


def inconsistent_length() -> Problem:
    """Section 7.3: the lengths that the client has sent contradict each other."""
    return Problem(400, "inconsistent-upload-length", "inconsistent length values for upload")


def is_complete(headers: Headers) -> bool | None:
    """Return the value of Upload-Complete; None where it is absent or malformed."""
    match = _BOOLEAN.fullmatch(headers.get("Upload-Complete"))
    return None if match is None else match[1] == "1"


def written_complete(complete: bool) -> tuple[str, str]:
    """Return the field Upload-Complete."""
    return "Upload-Complete", f"?{int(complete)}"


def written_offset(offset: int) -> tuple[str, str]:
    """Return the field Upload-Offset."""
    return "Upload-Offset", str(offset)


def accepts_104(request: BaseRequest) -> bool:
    """Return whether the client understands 104 responses before the final one.

    It must announce this very revision of the draft; HTTP/1.0 has no informational responses at
    all.
    """
    match = _INTEGER.fullmatch(request.headers.get(_NAME))
    return request.minor > 0 and match is not None and int(match[1]) == int(INTEROP)


def length_of(request: BaseRequest, offset: int, known: int | None) -> int | None:
    """Return the upload's length, as far as this request and those before it determine it.

    `offset` is where the request's content begins (section 4.1.3). Raises Problem where the lengths
    contradict each other, or where the content would exceed them.
    """
    lengths = {known, _integer(request.headers, "Upload-Length")}
    count = request.length  # not None, unless it is chunked: then it is known at its end
    if count is not None and is_complete(request.headers):
        lengths.add(offset + count)
    lengths.discard(None)
    if len(lengths) > 1:
        raise inconsistent_length()
    length = lengths.pop() if lengths else None
    if length is not None and offset + (count or 0) > length:
        raise inconsistent_length()
    return length


def appended_at(request: BaseRequest) -> tuple[int, bool]:
    """Return where a PATCH places its content, and whether that completes the upload.

    Section 4.4.1. Raises ProtocolError for a request that is not an append.
    """
    media_type = request.headers.get("Content-Type").partition(";")[0].rstrip(" \t").lower()
    if media_type != MEDIA_TYPE:
        raise ProtocolError(
            415, f"The Content-Type of an append must be {MEDIA_TYPE}.", [ACCEPT_PATCH]
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        identity = [("Accept-Encoding", "identity")]
        raise ProtocolError(415, "Appended bytes must be sent without a content coding.", identity)
    offset = _integer(request.headers, "Upload-Offset")
    complete = is_complete(request.headers)
    if offset is None or complete is None:
        raise ProtocolError(400, "An append must have a valid Upload-Offset and Upload-Complete.")
    return offset, complete


def _integer(headers: Headers, name: str) -> int | None:
    match = _INTEGER.fullmatch(headers.get(name))
    return None if match is None else int(match[1])
