"""Questions that several middlewares ask about the fields of a response, and its Vary field."""

from reactor.messages.response import Response


def has_field(response: Response, name: str) -> bool:
    """Whether it has a field of this name, which is given in lower case."""
    return any(other.lower() == name for other, _ in response.headers)


def varying(response: Response, name: str) -> Response:
    """The same answer, which depends on this field of the request (RFC 9110, section 12.5.5)."""
    values = [value for other, value in response.headers if other.lower() == "vary"]
    known = {member.strip(" \t").lower() for value in values for member in value.split(",")}
    if known & {"*", name.lower()}:
        return response
    others = (field for field in response.headers if field[0].lower() != "vary")
    fields = (*others, ("Vary", ", ".join((*values, name))))
    return response.replace(headers=fields)
