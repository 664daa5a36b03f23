"""Methods: those whose content means nothing, and the errors of those that a resource has not."""

from collections.abc import Iterable, Set
from typing import Final

from reactor.errors import ProtocolError
from reactor.protocol.grammar import METHODS

# Content in these requests has no defined meaning (RFC 9110, sections 9.3.1 and 9.3.2).
WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD"})


def method_not_allowed(
    method: str, methods: Iterable[str], known: Set[str] = METHODS
) -> ProtocolError:
    """The error of a request with this method for a resource that has only `methods`.

    A ProtocolError 405 with an Allow field (RFC 9110, section 15.5.6), or 501 where the method is
    not among those that are `known` here (section 9.1).
    """
    if method not in known:
        return ProtocolError(501, "The request's method is not supported here.")
    allowed = ", ".join(sorted(methods))
    sentence = f"The method is not allowed here. Allowed methods: {allowed}."
    return ProtocolError(405, sentence, [("Allow", allowed)])
