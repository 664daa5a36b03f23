"""Methods: those whose content means nothing, and the 405 that lists those of a resource."""

from collections.abc import Iterable
from typing import Final

from reactor.errors import ProtocolError

# Content in these requests has no defined meaning (RFC 9110, sections 9.3.1 and 9.3.2).
WITHOUT_CONTENT: Final = frozenset({"GET", "HEAD"})


def method_not_allowed(methods: Iterable[str]) -> ProtocolError:
    """A ProtocolError (405) with the methods in its Allow field (RFC 9110, section 15.5.6)."""
    allowed = ", ".join(sorted(methods))
    sentence = f"The method is not allowed here. Allowed methods: {allowed}."
    return ProtocolError(405, sentence, [("Allow", allowed)])
