"""Facts read from certificates, compared with another reader, and bytes that are none."""

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor.net.x509 import Certificate, read_certificate
from tests.support.authority import authority

NAMES = ("a.test", "*.b.test", "192.0.2.7", "2001:db8::1", "xn--bcher-kva.example")


def der_of_pem(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def inner(der: bytes) -> bytes:
    """The content of a value in DER."""
    return der[2:] if der[1] < 0x80 else der[2 + der[1] - 0x80 :]


MADE = authority().issue_cert(*NAMES, common_name="Common Name")
GOOD = der_of_pem(MADE.cert_chain_pems[0].bytes())


def test_the_facts_are_those_of_another_reader() -> None:
    read, other = read_certificate(GOOD), x509.load_der_x509_certificate(GOOD)
    assert read.subject == inner(other.subject.public_bytes())
    assert read.issuer == inner(other.issuer.public_bytes())
    assert read.begins == other.not_valid_before_utc
    assert read.ends == other.not_valid_after_utc
    assert read.names == NAMES
    assert not read.is_own


def test_an_authority_is_its_own_issuer() -> None:
    pem = authority().cert_pem.bytes()
    read = read_certificate(der_of_pem(pem))
    assert read.is_own
    assert read.ends > datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 10, 50, 100, -200, -1])
def test_a_certificate_that_is_cut_is_none(cut: int) -> None:
    with pytest.raises(ValueError, match="this is no certificate"):
        read_certificate(GOOD[:cut])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="this is no certificate"):
        read_certificate(data)


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_byte_that_is_another(at: int, byte: int) -> None:
    """Any outcome but another error: it is OpenSSL that verifies."""
    changed = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    try:
        read = read_certificate(changed)
    except ValueError:
        return
    assert isinstance(read, Certificate)
    assert all(isinstance(name, str) for name in read.names)
