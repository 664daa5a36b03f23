"""The facts of a TLS connection, for handlers, logs and metrics."""

from typing import NamedTuple


class ClientCertificate(NamedTuple):
    """The certificate by which a client has proved who it is."""

    subject: str  # "CN=alice,O=Example", the most specific part first (RFC 4514)
    fingerprint: str  # SHA-256 of the certificate, 64 hexadecimal digits


class TlsInfo(NamedTuple):
    """The outcome of a handshake."""

    version: str  # "TLSv1.3"
    cipher: str  # "TLS_AES_256_GCM_SHA384"
    resumed: bool  # by a ticket or a session of before
    client: ClientCertificate | None  # absent where none was asked for, or none sent
