"""The Vary field: the request fields on which the choice of a response depends."""

from reactor.messages.headers import Fields
from reactor.protocol.grammar import list_members


def vary_with(vary: str, name: str) -> str:
    """A value of Vary that names this request field too (RFC 9110, section 12.5.5)."""
    if not vary:
        return name
    known = set(list_members(vary.lower()))
    return vary if known & {"*", name.lower()} else f"{vary}, {name}"


def fields_with_vary(fields: Fields, name: str) -> Fields:
    """The fields with one Vary, which names this request field too."""
    vary = ", ".join(value for other, value in fields if other.lower() == "vary")
    others = (field for field in fields if field[0].lower() != "vary")
    return (*others, ("Vary", vary_with(vary, name)))
