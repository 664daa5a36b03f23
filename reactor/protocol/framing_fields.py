"""The fields of a request that are lists of options: Connection, Expect and Transfer-Encoding.

They decide whether the connection is kept, and how the body is sent. A value that leaves doubt is
refused.
"""

from functools import lru_cache

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.protocol.grammar import list_members


@lru_cache(maxsize=64)
def keeps_alive(options: str, default: bool) -> bool:
    """Whether the connection is kept, by a list of tokens; close wins (RFC 9112, section 9.3)."""
    tokens = [token.strip(" \t") for token in options.lower().split(",")]
    return "close" not in tokens and (default or "keep-alive" in tokens)


def check_expectation(request: BaseRequest, value: str) -> None:
    """Refuse all but 100-continue; HTTP/1.0 has no expectations (RFC 9110, section 10.1.1)."""
    if not request.minor:
        return
    # Empty members of the list are ignored (RFC 9110, section 5.6.1), so there may be none at all.
    members = list_members(value)
    if any(member.lower() != "100-continue" for member in members):
        raise ProtocolError(
            417, "Expect must be 100-continue, the only expectation that is supported."
        )


def check_codings(value: str) -> None:
    """Refuse all but `chunked`, once and alone (RFC 9112, sections 6.1 and 7).

    An empty member is refused, too, although RFC 9110, section 5.6.1 has it ignored: a proxy that
    does not ignore it frames the body by other rules, and a request could be smuggled past it.
    """
    codings = [coding.strip(" \t").lower() for coding in value.split(",")]
    if codings == ["chunked"]:
        return
    if codings[-1] == "chunked" and codings.count("chunked") == 1 and "" not in codings:
        raise ProtocolError(
            501, "Transfer-Encoding must be chunked, the only one that is supported."
        )
    raise ProtocolError(400, "Transfer-Encoding must end in chunked, once and without parameters.")
