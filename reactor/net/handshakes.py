"""The outcome of the TLS handshakes of a server: counted, and logged where they fail.

A failure is counted by its kind, and each kind is logged once a minute. A kind is one of FAILURES:
clients choose how they fail, so the number of kinds is bounded.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from ssl import SSLError
from typing import Any, Final

from reactor.log_limit import LogLimit
from reactor.net.tls_info import TlsInfo

log = logging.getLogger("reactor")

# The kinds of failure, and the reasons of OpenSSL that belong to each.
FAILURES: Final[dict[str, frozenset[str]]] = {
    "version": frozenset(
        {
            "NO_PROTOCOLS_AVAILABLE",
            "UNKNOWN_PROTOCOL",
            "UNSUPPORTED_PROTOCOL",
            "VERSION_TOO_LOW",
        }
    ),
    "cipher": frozenset(
        {
            "NO_SHARED_CIPHER",
            "NO_SHARED_GROUPS",
            "NO_SHARED_SIGNATURE_ALGORITHMS",
            "NO_SUITABLE_KEY_SHARE",
            "NO_SUITABLE_SIGNATURE_ALGORITHM",
        }
    ),
    "client_certificate": frozenset(
        {"CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE"}
    ),
    "alert": frozenset(),  # the client refuses us: all reasons with ALERT in their names
    "malformed": frozenset(),  # all others
    "http": frozenset(),
    "closed": frozenset(),
    "timeout": frozenset(),
}
_KINDS: Final = {reason: kind for kind, reasons in FAILURES.items() for reason in reasons}
_MEANING: Final = {
    "closed": "the client has left",
    "http": "the client speaks HTTP without TLS",
    "timeout": "it took too long",
}


class Handshakes:
    """The outcome of all handshakes of one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.agreed: Counter[tuple[str, str, bool]] = Counter()  # by version, cipher, resumption
        self.failures: dict[str, int] = dict.fromkeys(FAILURES, 0)
        self._logs = {kind: LogLimit(log.info, clock=clock) for kind in FAILURES}

    def succeeded(self, info: TlsInfo) -> None:
        """Count a handshake that has ended well."""
        self.agreed[info.version, info.cipher, info.resumed] += 1

    def failed(self, peer: tuple[Any, ...], cause: SSLError | str) -> None:
        """Count and log a handshake that has failed: by an error, or for a kind of FAILURES."""
        kind = cause if isinstance(cause, str) else kind_of(cause)
        self.failures[kind] += 1
        meaning = cause if isinstance(cause, str) else _words(cause)
        self._logs[kind].log(
            "TLS handshake with %s failed: %s", peer[0] or "a client", _MEANING.get(kind, meaning)
        )


def kind_of(error: SSLError) -> str:
    """The kind of failure that an error stands for, one of FAILURES."""
    reason = _reason(error)
    return _KINDS.get(reason) or ("alert" if "ALERT" in reason else "malformed")


def _words(error: SSLError) -> str:
    """OpenSSL's reason in words: "no shared cipher"."""
    explanation = getattr(error, "verify_message", "")
    if explanation:
        return f"client certificate: {explanation}"
    return (_reason(error) or "malformed").lower().replace("_", " ")


def _reason(error: SSLError) -> str:
    """OpenSSL's name of the error; "" for an error that Python's module has raised itself."""
    return getattr(error, "reason", None) or ""
