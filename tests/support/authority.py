"""Certificates for tests, made on the spot by an authority of their own."""

import ssl
from functools import cache
from pathlib import Path

import trustme

from reactor.net.certificates import CertificatePair


@cache
def authority() -> trustme.CA:
    """The authority of this run of the tests."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def write_pair(directory: Path, *names: str, issuer: trustme.CA | None = None) -> CertificatePair:
    """A certificate for these names, with its chain and its key, in two files."""
    made = (issuer or authority()).issue_cert(*names, key_type=trustme.KeyType.ECDSA)
    stem = names[0].replace("*", "any").replace(":", "_")
    certificate, key = directory / f"{stem}.pem", directory / f"{stem}.key"
    certificate.write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    made.private_key_pem.write_to_path(key)
    return CertificatePair(str(certificate), str(key))


def client_context(**settings: object) -> ssl.SSLContext:
    """The context of a client that trusts the authority; `settings` are attributes of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class MemoryClient:
    """A client of TLS without a socket: bytes in, bytes out."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or client_context()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name, session=session
        )
        self.received = b""
        self.ended = False
        self.has_shaken = False

    def shake(self, data: bytes = b"") -> bytes:
        """Take the server's bytes, and return ours. Raises ssl.SSLError."""
        self._incoming.write(data)
        try:
            self.tls.do_handshake()
            self.has_shaken = True
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        """Records that say this."""
        self.tls.write(data)
        return self._outgoing.read()

    def hear(self, data: bytes) -> None:
        """Take the server's records; `received` has what they say. Raises ssl.SSLError."""
        self._incoming.write(data)
        try:
            while said := self.tls.read(1 << 16):
                self.received += said
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same as b"", behind our own close_notify
            self.ended = True

    def end(self) -> bytes:
        """Our close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self._outgoing.read()
