"""The certificates that a server shows: loaded, checked, chosen by name, and loaded again.

Each pair of a certificate and its key becomes an SSLContext. The name that a client asks for (SNI,
RFC 6066, section 3) chooses one: an exact name first, then a wildcard of one level, and the first
pair otherwise. `load` replaces all contexts at once, or none: connections keep the ones that they
have, and the next handshake gets the new ones.

A fault is one sentence that names the file. Faults that OpenSSL lets pass, and at which clients
may stumble, are warnings: a chain that is out of order, and an expired certificate.
"""

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, NamedTuple

from reactor.errors import reason_of
from reactor.net.x509 import Certificate, read_certificate

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
# Those of TLS 1.2 that have forward secrecy and are authenticated; all of TLS 1.3 are.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
PROTOCOLS: Final = ("http/1.1",)  # for ALPN (RFC 7301)
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"

log = logging.getLogger("reactor")


class CertificateError(ValueError):
    """A file that cannot be used. `str` is one sentence."""


class CertificatePair(NamedTuple):
    """The paths of a certificate, with the chain behind it, and of its key."""

    certificate: str
    key: str
    password: str | None = None  # it opens the key


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A context, and the facts of its certificate."""

    context: ssl.SSLContext
    leaf: Certificate


class Certificates:
    """The contexts of a server, by the names of its certificates."""

    def __init__(
        self,
        pairs: Sequence[CertificatePair],
        *,
        min_version: str = "1.2",
        client_ca: str | None = None,
        client_auth: str = "required",
        keylog: str | None = None,
    ) -> None:
        """Loads the pairs, of which the first is the default. Raises CertificateError.

        `min_version` is "1.2" or "1.3". `client_ca` is a file of authorities; with it, clients are
        asked for a certificate, and `client_auth` says whether they need one: "optional" or
        "required". `keylog` is a file for the secrets of all connections, for a debugger.
        """
        if not pairs:
            raise CertificateError("TLS needs a certificate and its key")
        self._pairs = tuple(pairs)
        self._min_version = VERSIONS[min_version]
        self._client_ca = client_ca
        self._client_auth = CLIENT_AUTH[client_auth] if client_ca else ssl.CERT_NONE
        self._keylog = keylog
        self._loaded: tuple[_Loaded, ...] = ()
        self._by_name: dict[str, ssl.SSLContext] = {}
        self.load()

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next client; it changes by the name that the client asks for."""
        return self._loaded[0].context

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all certificates, in lower case; a wildcard is `*.example.com`."""
        return tuple(dict.fromkeys(name for one in self._loaded for name in one.leaf.names))

    @property
    def expirations(self) -> dict[str, datetime]:
        """The end of each certificate, by its first name."""
        return {"".join(one.leaf.names[:1]): one.leaf.ends for one in self._loaded}

    def load(self) -> None:
        """Load all files again. Raises CertificateError, and then everything stays as it was."""
        loaded = tuple(self._load(pair) for pair in self._pairs)
        by_name: dict[str, ssl.SSLContext] = {}
        for one in loaded:
            for name in one.leaf.names:
                by_name.setdefault(name, one.context)
        self._loaded, self._by_name = loaded, by_name

    def _find(self, host: str) -> ssl.SSLContext | None:
        name = host.lower().rstrip(".")
        label, _, rest = name.partition(".")
        wildcard = f"*.{rest}" if label else ""
        return self._by_name.get(name) or self._by_name.get(wildcard)

    def _choose(self, session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """For OpenSSL: the client has asked for a name, or for none."""
        chosen = self._find(name) if name else None
        if chosen is not None:
            session.context = chosen

    def _load(self, pair: CertificatePair) -> _Loaded:
        chain = read_chain(pair.certificate)
        _check_order(pair.certificate, chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._min_version
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(PROTOCOLS)
        context.options |= (
            ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        )
        _load_key(context, pair)
        if self._client_ca is not None:
            _load_authorities(context, self._client_ca)
        context.verify_mode = self._client_auth
        if len(self._pairs) > 1:
            context.sni_callback = self._choose
        if self._keylog is not None:
            context.keylog_filename = self._keylog
        _check_dates(pair.certificate, chain[0])
        return _Loaded(context, chain[0])


def read_chain(path: str) -> list[Certificate]:
    """The certificates of a file, the server's own first. Raises CertificateError."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise _unreadable("certificate", path, error) from error
    chain = []
    for part in text.split(_BEGIN)[1:]:
        body = part.partition(_END)[0]
        try:
            chain.append(read_certificate(ssl.PEM_cert_to_DER_cert(_BEGIN + body + _END)))
        except ValueError as error:
            raise CertificateError(f"{path!r} has a broken certificate: {error}") from error
    if not chain:
        raise CertificateError(f"{path!r} has no certificate (a PEM file begins one by {_BEGIN})")
    return chain


def _check_order(path: str, chain: Sequence[Certificate]) -> None:
    """Log a chain that some clients cannot follow; others search it."""
    for number, (one, following) in enumerate(pairwise(chain), 1):
        if one.issuer != following.subject:
            log.warning(
                "The certificates in %r are out of order: number %d has not issued number %d; the "
                "server's own comes first, and each issuer follows",
                *(path, number + 1, number),
            )
            return


def _load_key(context: ssl.SSLContext, pair: CertificatePair) -> None:
    """Load a certificate and its key into a context. Raises CertificateError."""
    asked = []

    def password() -> str:
        """For OpenSSL, which would otherwise ask on the terminal."""
        asked.append(True)
        return pair.password or ""

    try:
        with open(pair.key, "rb"):
            pass  # OpenSSL's error names no file
    except (OSError, ValueError) as error:
        raise _unreadable("key", pair.key, error) from error
    try:
        context.load_cert_chain(pair.certificate, pair.key, password)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise CertificateError(_sentence(pair, error, needs_password=bool(asked))) from error


def _sentence(pair: CertificatePair, error: Exception, *, needs_password: bool) -> str:
    reason = getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return f"The key {pair.key!r} does not fit the certificate {pair.certificate!r}"
    if needs_password and pair.password is None:
        return f"The key {pair.key!r} is encrypted and needs a password"
    if needs_password:
        return f"The password of the key {pair.key!r} is wrong"
    if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        words = reason.lower().replace("_", " ")
        return f"The certificate {pair.certificate!r} is too weak: {words}"
    return f"{pair.key!r} has no private key that OpenSSL can read"


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError):
            raise CertificateError(f"{path!r} has no certificate of an authority") from error
        raise _unreadable("authorities", path, error) from error


def _check_dates(path: str, certificate: Certificate) -> None:
    """Log a certificate that is not valid today."""
    now = datetime.now(UTC)
    if certificate.ends < now:
        log.warning("The certificate %r has expired on %s", path, _day(certificate.ends))
    elif certificate.begins > now:
        log.warning("The certificate %r is not valid before %s", path, _day(certificate.begins))


def _day(when: datetime) -> str:
    return f"{when:%Y-%m-%d}"


def _unreadable(what: str, path: str, error: Exception) -> CertificateError:
    return CertificateError(f"Cannot read the {what} {path!r}: {reason_of(error)}")
