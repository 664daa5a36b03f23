"""The 405 that lists the methods of a resource (RFC 9110, section 15.5.6)."""

from collections.abc import Iterable

from reactor.errors import ProtocolError


def method_not_allowed(methods: Iterable[str]) -> ProtocolError:
    """A ProtocolError (405) with the Allow field that the RFC requires, in alphabetical order."""
    allowed = ", ".join(sorted(methods))
    sentence = f"The method is not allowed here. Allowed methods: {allowed}."
    return ProtocolError(405, sentence, [("Allow", allowed)])
