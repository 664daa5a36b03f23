"""The options of HTTPS: certificates and keys, clients' certificates, and plain HTTP beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from reactor.config import types
from reactor.config.options import Section, several, switch, value

HTTPS: Final = Section("HTTPS")
MIN_VERSIONS: Final = ("1.2", "1.3")
CLIENT_AUTH: Final = ("optional", "required")

_https = partial(value, HTTPS)


@dataclass(frozen=True)
class TlsOptions:
    """How to speak HTTPS; see `reactor.serve`. Raises ValueError for options that do not fit."""

    tls_cert: Sequence[str] = several(
        HTTPS,
        "--tls-cert",
        "FILE",
        str,
        "speak HTTPS at --host and --bind, with the certificate in this PEM file and the chain "
        "behind it; several are chosen by the name that a client asks for (SNI), and the first one "
        "where none fits",
        short="--certfile",
    )
    tls_key: Sequence[str] = several(
        HTTPS,
        "--tls-key",
        "FILE",
        str,
        "the private key of the --tls-cert at the same place in the command line; without any, the "
        "keys are in the files of the certificates",
        short="--keyfile",
    )
    tls_password_file: str | None = _https(
        None, "a file whose first line is the password of the keys", metavar="FILE"
    )
    tls_self_signed: bool = switch(
        HTTPS,
        False,
        "--tls-self-signed",
        "speak HTTPS with a certificate for localhost and this machine's names, made with openssl "
        "at the first use and kept in the user's cache directory",
    )
    tls_client_ca: str | None = _https(
        None,
        "ask clients for a certificate of these authorities (a PEM file)",
        metavar="FILE",
    )
    tls_client_auth: str = _https(
        "required",
        "whether clients need such a certificate: optional or required",
        parse=types.one_of(CLIENT_AUTH),
        metavar="HOW",
    )
    tls_min_version: str = _https(
        "1.2",
        "the lowest version of TLS: 1.2 or 1.3",
        parse=types.one_of(MIN_VERSIONS),
        metavar="VERSION",
    )
    tls_keylog: bool = switch(
        HTTPS,
        False,
        "--tls-keylog",
        "write the secrets of all connections into the file that SSLKEYLOGFILE names",
    )
    bind_http: Sequence[types.ListenPlace] = several(
        HTTPS,
        "--bind-http",
        "ADDRESS[:PORT]",
        types.place,
        "name or address to listen on without TLS, beside those of HTTPS; as --bind",
    )
    redirect_http: int | None = _https(
        None,
        "listen on this port of the same hosts without TLS, and redirect every request to HTTPS",
        parse=types.port,
        metavar="PORT",
    )
    hsts: int | None = _https(
        None,
        "ask browsers to use HTTPS alone for so many seconds (Strict-Transport-Security)",
        parse=types.whole_number,
        metavar="SECONDS",
    )

    @property
    def speaks_tls(self) -> bool:
        """Whether the hosts of the server speak HTTPS."""
        return bool(self.tls_cert) or self.tls_self_signed

    def __post_init__(self) -> None:
        types.one_of(CLIENT_AUTH)(self.tls_client_auth)
        types.one_of(MIN_VERSIONS)(self.tls_min_version)
        if self.tls_key and len(self.tls_key) != len(self.tls_cert):
            raise ValueError(
                f"There are {len(self.tls_cert)} certificates and {len(self.tls_key)} keys: each "
                "--tls-cert needs its --tls-key, or none does"
            )
        if self.hsts is not None and self.hsts < 0:
            raise ValueError(f"--hsts must be at least 0, not {self.hsts}")
        if not self.speaks_tls:
            for flag, given in self._needing_tls():
                if given:
                    raise ValueError(f"{flag} needs HTTPS: --tls-cert or --tls-self-signed")

    def _needing_tls(self) -> Sequence[tuple[str, object]]:
        return (
            ("--tls-key", self.tls_key),
            ("--tls-password-file", self.tls_password_file),
            ("--tls-client-ca", self.tls_client_ca),
            ("--tls-keylog", self.tls_keylog),
            ("--bind-http", self.bind_http),
            ("--redirect-http", self.redirect_http is not None),
            ("--hsts", self.hsts is not None),
        )
