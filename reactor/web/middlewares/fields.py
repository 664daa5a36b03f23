"""Header fields of a response, as several middlewares look at them, and its Vary field."""

from reactor.messages.response import Response
from reactor.web.semantics.vary import fields_with_vary


def has_field(response: Response, name: str) -> bool:
    """Whether the response has a field of this name, given in lower case."""
    return any(other.lower() == name for other, _ in response.headers)


def varying(response: Response, name: str) -> Response:
    """The response with this name of a request field in Vary (RFC 9110, section 12.5.5)."""
    return response.replace(headers=fields_with_vary(response.headers, name))
