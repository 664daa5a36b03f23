"""The response to a ProtocolError, in one of three forms, by the request's Accept.

A browser gets a page (see page.py), a client that asks for JSON problem details (RFC 9457), any
other a sentence in plain text. The sentence is the same in all three. Error responses are made on
no hot path, so nothing of them is prepared or cached.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, plain_response
from reactor.protocol.reason_phrases import reason_phrase
from reactor.web.problems.page import PAGE_FIELDS, error_page
from reactor.web.semantics.negotiation import ErrorForm, error_form
from reactor.web.semantics.vary import fields_with_vary

PROBLEM_TYPE: Final = "application/problem+json"


def problem_response(request: BaseRequest, error: ProtocolError) -> Response:
    """Return the response to the error: a page, problem details, or a sentence in plain text.

    An error with details of its own has them for all clients but browsers.
    """
    form = error_form(request.headers.get("accept"))
    headers = fields_with_vary(error.headers, "Accept")
    if form is ErrorForm.TEXT and not error.details:
        return plain_response(error.status, error.reason, headers)
    if form is ErrorForm.PAGE:
        page = error_page(request, error.status, error.reason)
        own = {name.lower() for name, _ in headers}
        fields = (one for one in PAGE_FIELDS if one[0] == _POLICY or one[0].lower() not in own)
        return Response(error.status, page.encode(errors="replace"), (*fields, *headers))
    standard = {
        "type": "about:blank",  # then the title is that of the status (section 4.2.1)
        "title": reason_phrase(error.status),
        "status": error.status,
        "detail": error.reason,
    }
    details = {**standard, **error.details, **standard}  # they come first, and stay as they are
    return problem_details(error.status, details, headers)


def problem_details(status: int, details: Mapping[str, Any], headers: Fields = ()) -> Response:
    """Return problem details as JSON (RFC 9457, section 3); `headers` follow the Content-Type."""
    content = json.dumps(details, separators=(",", ":"), default=str).encode() + b"\n"
    return Response(status, content, (("Content-Type", PROBLEM_TYPE), *headers))


_POLICY: Final = "Content-Security-Policy"  # a policy beside ours adds to it
