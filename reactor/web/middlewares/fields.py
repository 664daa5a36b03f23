"""Header fields of a response, as several middlewares look at them, and its Vary field."""

from reactor.messages.response import Response
from reactor.protocol.grammar import list_members


def has_field(response: Response, name: str) -> bool:
    """Whether the response has a field of this name, given in lower case."""
    return any(other.lower() == name for other, _ in response.headers)


def varying(response: Response, name: str) -> Response:
    """The response with this name of a request field in Vary (RFC 9110, section 12.5.5)."""
    values = [value for other, value in response.headers if other.lower() == "vary"]
    known = {member.lower() for value in values for member in list_members(value)}
    if known & {"*", name.lower()}:
        return response
    others = (field for field in response.headers if field[0].lower() != "vary")
    fields = (*others, ("Vary", ", ".join((*values, name))))
    return response.replace(headers=fields)
