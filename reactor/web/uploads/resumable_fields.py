"""The fields, lengths and problem types of draft-ietf-httpbis-resumable-upload-11.

The fields are Items (RFC 9651, section 3.3). A malformed field is ignored as if it were absent
(section 4.1 of the draft), except on a PUT or POST of a file: there a part could be taken for the
whole, so such a request is refused, as RFC 9651, section 4.2 allows. The length of an upload
follows from two fields of each of its requests, and all of them must agree.

Everything here is pure: from the head of a request to its meaning, from an error to its response.
"""

from collections.abc import Sequence
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields, Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.web.problems.responses import problem_details
from reactor.web.semantics.paths import name_segments, relative_reference
from reactor.web.semantics.structured_fields import boolean_item, integer_item

INTEROP: Final = "8"  # the interop version of this revision ("Draft Version Identification")
MEDIA_TYPE: Final = "application/partial-upload"

_NAME: Final = "Upload-Draft-Interop-Version"
_PARTS: Final = (MEDIA_TYPE, "application/offset+octet-stream")  # the latter is that of tus
_FIELDS: Final = ("Upload-Complete", "Upload-Offset", "Upload-Length")
_OF_PARTS: Final = ("Upload-Defer-Length", "Upload-Metadata")  # tus clients send them in any mode
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
        return problem_details(self._status, self._content, (NO_STORE, *self._headers))


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
    return boolean_item(headers.get("Upload-Complete"))


def completes(request: BaseRequest, length: int | None) -> bool:
    """Return whether this creation of an upload is all of it.

    Clients of older revisions (tus-js-client 4) send no append for an empty file.
    """
    if is_complete(request.headers):
        return True
    version = integer_item(request.headers.get(_NAME))
    return length == 0 and version is not None and version < int(INTEROP)


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
    return request.minor > 0 and integer_item(request.headers.get(_NAME)) == int(INTEROP)


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


def whole_length(request: BaseRequest) -> int | None:
    """Return the bytes that a PUT or POST of a file announces in all; None where it does not.

    Raises ProtocolError(400) for fields that do not fit such a request, Problem for lengths that
    contradict each other: the content may be a part of the file.
    """
    headers = request.headers
    complete, length = is_complete(headers), _integer(headers, "Upload-Length")
    if "upload-offset" in headers:
        raise ProtocolError(400, "Upload-Offset belongs to a PATCH of an upload resource.")
    for name, value in (("Upload-Complete", complete), ("Upload-Length", length)):
        if value is None and name in headers:
            raise ProtocolError(400, f"{name} is malformed; the content may be a part of the file.")
    if complete is None:
        _refuse_part(headers)
    if complete is not False and length is not None and request.length not in (None, length):
        raise inconsistent_length()
    return length


def refuse_resuming(headers: Headers) -> None:
    """Raise ProtocolError(400) for a form with the fields of a resumable upload."""
    for name in _FIELDS:
        if name in headers:
            raise ProtocolError(400, f"A form cannot be resumed: {name} needs the path of a file.")


def _refuse_part(headers: Headers) -> None:
    """Raise ProtocolError(400) for a request that is about a part, as its other fields show."""
    kind = _media_type(headers)
    if kind in _PARTS:
        raise ProtocolError(400, f"Content of the type {kind} needs Upload-Complete.")
    for name in _OF_PARTS:
        if name in headers:
            raise ProtocolError(400, f"{name} needs Upload-Complete.")


def appended_at(request: BaseRequest) -> tuple[int, bool]:
    """Return where a PATCH places its content, and whether that completes the upload.

    Section 4.4.1. Raises ProtocolError for a request that is not an append.
    """
    if _media_type(request.headers) != MEDIA_TYPE:
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


def _media_type(headers: Headers) -> str:
    return headers.get("Content-Type").partition(";")[0].rstrip(" \t").lower()


def _integer(headers: Headers, name: str) -> int | None:
    """Return the number in this field; None where it is absent, malformed or negative."""
    number = integer_item(headers.get(name))
    return number if number is not None and number >= 0 else None


def location_of(
    request: BaseRequest, asked: Sequence[str], target: Sequence[str]
) -> tuple[str, str]:
    """Return the field that leads to `target`; `asked` was asked for, both below the mount."""
    mount = name_segments(request.path)[: -len(asked)]
    return "Location", relative_reference(request.raw_path, [*mount, *target])
