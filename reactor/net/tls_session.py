"""TLS as a function of bytes: records in and out, and no socket.

A session wraps OpenSSL between two buffers in memory. It takes the bytes that a peer has sent and
returns what they say; it takes what is to be said and returns records. So nothing in here waits,
and a test may feed it byte by byte.

OpenSSL never shrinks such a buffer. Both are therefore fed a record's size at a time: a connection
that has moved gigabytes holds no more than another.
"""

import re
import ssl
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Protocol

from reactor.net.tls_info import ClientCertificate, TlsInfo

RECORD_BYTES: Final = 16 * 1024  # the most that one record says (RFC 8446, section 5.1)
# The short names of a subject's parts (RFC 4514, section 3); others keep the names of OpenSSL.
SHORT_NAMES: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_SPECIAL: Final = re.compile(r'[\x00-\x1f\x7f"+,;<>\\]|^[ #]| $')


class TlsSession(Protocol):
    """A session as a TlsTransport uses it. Methods raise ssl.SSLError where the peer errs."""

    @property
    def output(self) -> int:
        """Bytes of records that wait for `take`."""

    @property
    def ended(self) -> bool:
        """Whether the peer has sent its close_notify."""

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake, by bytes of the peer. Returns whether it has ended."""

    def unseal(self, data: bytes | memoryview) -> bytes:
        """The data in the peer's bytes, as far as their records are whole."""

    def seal(self, data: bytes | memoryview) -> bytes:
        """Records that say this."""

    def take(self) -> bytes:
        """Records that the session itself has to send: of the handshake, tickets, an alert."""

    def end(self) -> None:
        """Say nothing more: `take` returns a close_notify, unless the session has failed."""

    def info(self) -> TlsInfo:
        """The outcome of the handshake."""


class OpenSslSession:
    """The session of a server with one client."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ended = False

    @property
    def output(self) -> int:
        """Bytes of records that wait for `take`."""
        return self._outgoing.pending

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake, by bytes of the peer. Returns whether it has ended.

        Bytes behind the handshake stay in the session: `unseal(b"")` returns what they say.
        """
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def unseal(self, data: bytes | memoryview) -> bytes:
        """The data in the peer's bytes, as far as their records are whole."""
        incoming, read = self._incoming, self._object.read
        if len(data) > RECORD_BYTES:
            view = memoryview(data)
            starts = range(0, len(data), RECORD_BYTES)
            return b"".join([self.unseal(view[at : at + RECORD_BYTES]) for at in starts])
        incoming.write(data)
        pieces: list[bytes] = []
        try:
            said = read(RECORD_BYTES)
            if said and not incoming.pending:  # nearly always: one record has come, and whole
                return said
            while said:
                pieces.append(said)
                said = read(RECORD_BYTES)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same as b"", behind our own close_notify
            self.ended = True
        return b"".join(pieces)

    def seal(self, data: bytes | memoryview) -> bytes:
        """Records that say this."""
        write, take = self._object.write, self._outgoing.read
        if len(data) <= RECORD_BYTES:
            write(data)
            return take()
        view, records = memoryview(data), []
        for at in range(0, len(data), RECORD_BYTES):
            write(view[at : at + RECORD_BYTES])
            records.append(take())
        return b"".join(records)

    def take(self) -> bytes:
        """Records that the session itself has to send: of the handshake, tickets, an alert."""
        return self._outgoing.read()

    def end(self) -> None:
        """Say nothing more: `take` returns a close_notify, unless the session has failed."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer's own close_notify has not come yet, or never will

    def info(self) -> TlsInfo:
        """The outcome of the handshake."""
        cipher = self._object.cipher()
        info = _info(
            self._object.version() or "", cipher[0] if cipher else "", self._object.session_reused
        )
        certificate = self._object.getpeercert(binary_form=True)
        if certificate is None:
            return info
        subject = _subject(self._object.getpeercert() or {})
        return info._replace(client=ClientCertificate(subject, sha256(certificate).hexdigest()))


@lru_cache(maxsize=64)
def _info(version: str, cipher: str, resumed: bool) -> TlsInfo:
    """One object for all connections that agree on the same."""
    return TlsInfo(version, cipher, resumed, None)


def _subject(certificate: dict[str, Any]) -> str:
    """The subject of a certificate as RFC 4514 writes it."""
    parts = [
        "+".join(f"{SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in part)
        for part in certificate.get("subject", ())
    ]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    return _SPECIAL.sub(lambda match: _escape(match[0]), value)


def _escape(character: str) -> str:
    return f"\\{ord(character):02x}" if not character.isprintable() else f"\\{character}"
