"""The few facts that a server reads from its own certificates (RFC 5280).

A certificate is DER: values behind a tag and a length, one inside the other. `read_certificate`
walks to the names, the dates and the two parties, and skips all else. OpenSSL checks a certificate
when it loads it; here nothing is verified.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

_VERSION: Final = 0xA0  # [0]
_EXTENSIONS: Final = 0xA3  # [3]
_OCTETS: Final = 0x04
_UTC_TIME: Final = 0x17
_DNS_NAME: Final = 0x82  # [2]
_ADDRESS: Final = 0x87  # [7]
_ALTERNATIVE_NAMES: Final = bytes.fromhex("0603551d11")  # the identifier 2.5.29.17
_COMMON_NAME: Final = bytes.fromhex("0603550403")  # 2.5.4.3


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of one certificate."""

    subject: bytes  # DER; equal bytes are the same party
    issuer: bytes
    begins: datetime
    ends: datetime
    names: tuple[str, ...]  # hosts, in lower case: "example.com", "*.example.com", "::1"

    @property
    def is_own(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.subject == self.issuer


def read_certificate(der: bytes) -> Certificate:
    """The facts of a certificate. Raises ValueError where the bytes are none."""
    try:
        (_, certificate), *_ = _values(der)
        (_, signed), *_ = _values(certificate)
        fields = [one for one in _values(signed) if one[0] != _VERSION]
        _, _, (_, issuer), (_, validity), (_, subject), _, *rest = fields
        begins, ends = (_time(tag, value) for tag, value in _values(validity))
        names = [name for tag, value in rest if tag == _EXTENSIONS for name in _alternatives(value)]
        return Certificate(subject, issuer, begins, ends, tuple(names or _common_names(subject)))
    except (ValueError, IndexError) as error:
        raise ValueError(f"this is no certificate: {error}") from error


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents of the values that stand one after the other."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size > 0x80:  # so many bytes of length follow
            count = size - 0x80
            size, at = int.from_bytes(der[at : at + count]), at + count
        if at + size > len(der):
            raise ValueError("a value is cut off")
        yield tag, der[at : at + size]
        at += size


def _content(der: bytes) -> bytes:
    """The content of the first value. Raises ValueError where there is none."""
    for _, value in _values(der):
        return value
    raise ValueError("a value is missing")


def _time(tag: int, value: bytes) -> datetime:
    """UTCTime has two digits of the year, from 1950 to 2049 (RFC 5280, section 4.1.2.5.1)."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _alternatives(extensions: bytes) -> Iterator[str]:
    """The hosts of the subject's alternative names (RFC 5280, section 4.2.1.6)."""
    for _, extension in _values(_content(extensions)):
        if not extension.startswith(_ALTERNATIVE_NAMES):
            continue
        octets = [value for tag, value in _values(extension) if tag == _OCTETS]
        for tag, value in _values(_content(octets[0])):
            if tag == _DNS_NAME:
                yield value.decode("ascii").lower()
            elif tag == _ADDRESS:
                yield str(ip_address(value))


def _common_names(subject: bytes) -> Iterator[str]:
    """The common names, which count where there are no alternative ones."""
    for _, part in _values(subject):
        for _, pair in _values(part):
            if pair.startswith(_COMMON_NAME):
                (_, _), (_, value) = _values(pair)
                yield value.decode("utf-8", "replace").lower()
