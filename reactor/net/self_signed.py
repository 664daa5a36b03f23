"""A certificate of this machine's own, for development: made once, kept, and used again.

Nobody has vouched for it, so a browser warns until its user trusts it. `openssl` makes it, since
Python's `ssl` makes no keys. It is kept in the user's cache directory, in files that nobody else
may read; it is made anew when it is about to end or when the machine has other names.
"""

import os
import socket
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from reactor.errors import reason_of
from reactor.net.certificates import CertificateError, CertificatePair, read_chain

DAYS: Final = 365  # that it is valid; browsers take no more than 397
RENEWED_DAYS: Final = 30  # so long before its end a new one is made
OPENSSL_SECONDS: Final = 30.0  # that openssl may take


def self_signed(directory: Path | None = None) -> CertificatePair:
    """The machine's certificate, from the user's cache directory. Raises CertificateError."""
    directory = directory or cache_directory()
    pair = CertificatePair(str(directory / "self-signed.pem"), str(directory / "self-signed.key"))
    names = own_names()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError as error:
        raise _unusable(directory, reason_of(error)) from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise _unusable(directory, "others can write there, so its key may be known to them")
    if not _is_usable(pair, names):
        _make(pair, names, directory)
    return pair


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/reactor`, or `~/.cache/reactor`."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "reactor"


def own_names() -> list[str]:
    """localhost, the loopback addresses, and the names of this machine."""
    names = ["localhost", "127.0.0.1", "::1"]
    for name in (socket.gethostname(), socket.getfqdn()):
        lower = name.lower().rstrip(".")
        if lower and lower not in names and lower.isascii() and not lower.endswith(".arpa"):
            names.append(lower)
    return names


def _is_usable(pair: CertificatePair, names: list[str]) -> bool:
    """Whether there is one for these names that is not about to end."""
    try:
        (certificate,) = read_chain(pair.certificate)
    except (CertificateError, ValueError):
        return False
    lasts = certificate.ends - datetime.now(UTC) > timedelta(days=RENEWED_DAYS)
    return lasts and set(names) <= set(certificate.names) and os.access(pair.key, os.R_OK)


def _make(pair: CertificatePair, names: list[str], directory: Path) -> None:
    """Make the files, each of which gets its name when it is whole. Raises CertificateError."""
    try:
        with tempfile.TemporaryDirectory(dir=directory) as name:  # its mode is 700
            key, certificate = Path(name) / "key", Path(name) / "certificate"
            _run_openssl(names, key, certificate)
            for path in (key, certificate):
                path.chmod(0o600)
            key.replace(pair.key)
            certificate.replace(pair.certificate)
    except OSError as error:
        raise _unusable(directory, reason_of(error)) from error


def _unusable(directory: Path, reason: str) -> CertificateError:
    return CertificateError(f"Cannot keep a certificate in {str(directory)!r}: {reason}")


def _run_openssl(names: list[str], key: Path, certificate: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-sha256", "-days", str(DAYS), "-subj", "/CN=localhost"]
    command += ["-addext", f"subjectAltName={','.join(map(_alternative, names))}"]
    command += ["-addext", "extendedKeyUsage=serverAuth"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    try:
        made = subprocess.run(
            command, capture_output=True, text=True, timeout=OPENSSL_SECONDS, check=False
        )
    except FileNotFoundError:
        raise CertificateError(
            "--tls-self-signed needs the program openssl, which is not installed; --tls-cert and "
            "--tls-key take a certificate that you have"
        ) from None
    except subprocess.TimeoutExpired:
        raise CertificateError(f"openssl made no certificate in {OPENSSL_SECONDS:g} s") from None
    if made.returncode:
        last = made.stderr.strip().rpartition("\n")[2]
        raise CertificateError(f"openssl could not make a certificate: {last}")


def _alternative(name: str) -> str:
    try:
        return f"IP:{ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
