"""From the options of HTTPS to certificates."""

import os
from collections.abc import Sequence

from reactor.errors import reason_of
from reactor.net.certificates import CertificateError, CertificatePair, Certificates
from reactor.net.self_signed import self_signed
from reactor.process.serve import say
from reactor.process.tls_options import TlsOptions


def open_certificates(options: TlsOptions) -> Certificates:
    """The certificates that the options name. Raises CertificateError."""
    return Certificates(
        _pairs(options),
        min_version=options.tls_min_version,
        client_ca=options.tls_client_ca,
        client_auth=options.tls_client_auth,
        keylog=_keylog() if options.tls_keylog else None,
    )


def _pairs(options: TlsOptions) -> Sequence[CertificatePair]:
    password = None
    if options.tls_password_file is not None:
        password = _first_line(options.tls_password_file)
    keys = options.tls_key or options.tls_cert
    pairs = [
        CertificatePair(certificate, key, password)
        for certificate, key in zip(options.tls_cert, keys, strict=True)
    ]
    if options.tls_self_signed:
        pairs.append(own := self_signed())
        say(
            f"Nobody has vouched for the certificate {own.certificate}: browsers warn of it until "
            f"it is trusted there; for curl, --cacert {own.certificate}"
        )
    return pairs


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"Cannot read the password file {path!r}: {reason_of(error)}"
        ) from error


def _keylog() -> str:
    path = os.environ.get("SSLKEYLOGFILE", "")
    if not path:
        raise CertificateError("--tls-keylog needs the path of a file in SSLKEYLOGFILE")
    return path
