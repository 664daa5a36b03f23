"""Certificates: chosen by name, loaded again, and every fault of their files as one sentence."""

import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from reactor.net.certificates import CertificateError, CertificatePair, Certificates
from reactor.net.tls_info import TlsInfo
from reactor.net.tls_session import OpenSslSession
from tests.support.authority import MemoryClient, authority, client_context, write_pair


def handshake(certificates: Certificates, client: MemoryClient) -> TlsInfo:
    """The agreement of both ends. Raises ssl.SSLError of either end."""
    session = OpenSslSession(certificates.context)
    data, has_ended = client.shake(), False
    while not (has_ended and client.has_shaken):
        has_ended = session.shake(data) or has_ended
        client.hear(b"") if client.has_shaken else None
        data = client.shake(session.take())
        if not data and not client.has_shaken:
            raise AssertionError("both wait")
    client.hear(session.take())
    return session.info()


def shown(certificates: Certificates, name: str | None) -> set[str]:
    """The names in the certificate that a client sees who asks for `name`."""
    context = client_context(check_hostname=False)
    client = MemoryClient(context, name)  # type: ignore[arg-type]
    handshake(certificates, client)
    certificate = client.tls.getpeercert()
    assert certificate is not None
    names: Any = certificate["subjectAltName"]
    return {value for _, value in names}


# --- names ---------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path: Path) -> Certificates:
    pairs = [("first.test",), ("*.wild.test", "wild.test"), ("exact.wild.test",), ("192.0.2.1",)]
    return Certificates([write_pair(tmp_path, *names) for names in pairs])


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("first.test", "first.test"),
        ("FIRST.Test", "first.test"),
        ("wild.test", "wild.test"),
        ("a.wild.test", "wild.test"),
        ("exact.wild.test", "exact.wild.test"),
        ("a.b.wild.test", "first.test"),  # a wildcard has one level
        ("nobody.test", "first.test"),
        ("test", "first.test"),
        ("192.0.2.1", "first.test"),  # an address is never asked for (RFC 6066, section 3)
        ("*.wild.test", "wild.test"),
        (None, "first.test"),
    ],
)
def test_the_certificate_of_a_name(several: Certificates, asked: str | None, name: str) -> None:
    assert name in shown(several, asked)


def test_all_names_in_their_order(several: Certificates) -> None:
    assert several.names == (
        *("first.test", "*.wild.test", "wild.test", "exact.wild.test", "192.0.2.1"),
    )


# --- files ---------------------------------------------------------------------------------------


def refusal(*pairs: CertificatePair, client_ca: str | None = None) -> str:
    with pytest.raises(CertificateError) as caught:
        Certificates(pairs, client_ca=client_ca)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def encrypted(pair: CertificatePair, password: bytes) -> CertificatePair:
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), None)
    Path(pair.key).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    )
    return pair


def test_a_key_that_does_not_fit(tmp_path: Path) -> None:
    one, other = write_pair(tmp_path, "a.test"), write_pair(tmp_path, "b.test")
    mixed = CertificatePair(one.certificate, other.key)
    assert (
        refusal(mixed) == f"The key {other.key!r} does not fit the certificate {one.certificate!r}"
    )
    assert "does not fit" in refusal(one, mixed)


def test_passwords(tmp_path: Path) -> None:
    pair = encrypted(write_pair(tmp_path, "a.test"), b"secret")
    assert refusal(pair) == f"The key {pair.key!r} is encrypted and needs a password"
    wrong = pair._replace(password="wrong")
    assert refusal(wrong) == f"The password of the key {pair.key!r} is wrong"
    assert Certificates([pair._replace(password="secret")]).names == ("a.test",)
    unneeded = write_pair(tmp_path, "b.test")._replace(password="secret")
    assert Certificates([unneeded]).names == ("b.test",)


def test_a_key_in_the_file_of_the_certificate(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "a.test")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(pair.key).read_bytes() + Path(pair.certificate).read_bytes())
    assert Certificates([CertificatePair(str(both), str(both))]).names == ("a.test",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "has no certificate"),
        (b"hello", "has no certificate"),
        (bytes(range(256)) * 40, "has no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "broken certificate"),
        (b"-----BEGIN CERTIFICATE-----\n", "broken certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "broken certificate"),
    ],
    ids=["missing", "empty", "text", "random", "short", "cut", "malformed"],
)
def test_a_certificate_that_is_none(tmp_path: Path, content: bytes | None, words: str) -> None:
    pair = write_pair(tmp_path, "a.test")
    if content is None:
        Path(pair.certificate).unlink()
    else:
        Path(pair.certificate).write_bytes(content)
    sentence = refusal(pair)
    assert repr(pair.certificate) in sentence
    assert words.lower() in sentence.lower()


@pytest.mark.parametrize("content", [None, b"", b"hello", bytes(range(256))])
def test_a_key_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    pair = write_pair(tmp_path, "a.test")
    if content is None:
        Path(pair.key).unlink()
    else:
        Path(pair.key).write_bytes(content)
    assert repr(pair.key) in refusal(pair)


def test_directories_and_names_that_are_no_paths(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "a.test")
    for wrong in (str(tmp_path), "a\0b", ""):
        assert "Cannot read" in refusal(pair._replace(certificate=wrong))
        assert "Cannot read" in refusal(pair._replace(key=wrong))
    assert "Cannot read the authorities" in refusal(pair, client_ca="/none")
    assert "no certificate of an authority" in refusal(pair, client_ca=pair.key)
    assert refusal() == "TLS needs a certificate and its key"


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(-10, -2, "has expired on"), (2, 10, "is not valid before"), (-1, 1, "")],
)
def test_dates_that_are_wrong_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, begins: int, ends: int, words: str
) -> None:
    now = datetime.now(UTC)
    made = authority().issue_cert(
        "a.test",
        not_before=(now + timedelta(days=begins)).replace(tzinfo=None),
        not_after=(now + timedelta(days=ends)).replace(tzinfo=None),
    )
    path = tmp_path / "a.pem"
    made.private_key_and_cert_chain_pem.write_to_path(path)
    with caplog.at_level(logging.WARNING, logger="reactor"):
        Certificates([CertificatePair(str(path), str(path))])
    assert len(caplog.messages) == (1 if words else 0)
    assert words in caplog.text
    assert not words or repr(str(path)) in caplog.text


def test_a_chain_out_of_order_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = authority().create_child_ca().create_child_ca().issue_cert("a.test")
    blobs = [one.bytes() for one in made.cert_chain_pems]
    assert len(blobs) == 3
    made.private_key_pem.write_to_path(key := tmp_path / "a.key")
    certificate = tmp_path / "a.pem"
    pair = CertificatePair(str(certificate), str(key))
    certificate.write_bytes(b"".join(blobs))
    Certificates([pair])
    assert caplog.messages == []
    certificate.write_bytes(b"".join([blobs[0], blobs[2], blobs[1]]))
    Certificates([pair])
    (message,) = caplog.messages
    assert "out of order: number 2 has not issued number 1" in message
    certificate.write_bytes(b"".join(reversed(blobs)))
    assert "does not fit" in refusal(pair)  # the first one counts as the server's own


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_keys_of_all_kinds(tmp_path: Path, kind: str) -> None:
    if kind == "ed25519":
        pair = own_certificate(tmp_path, ed25519.Ed25519PrivateKey.generate())
    else:
        key_type = trustme.KeyType.RSA if kind == "rsa" else trustme.KeyType.ECDSA
        made = authority().issue_cert("a.test", key_type=key_type)
        path = tmp_path / "a.pem"
        made.private_key_and_cert_chain_pem.write_to_path(path)
        pair = CertificatePair(str(path), str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    info = handshake(Certificates([pair]), MemoryClient(context, "a.test"))
    assert info.version == "TLSv1.3"


def own_certificate(
    directory: Path, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
) -> CertificatePair:
    """A certificate that its own key has signed, without alternative names."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Common.Test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=40_000))  # after 2049: another form of the date
        .sign(key, None)
    )
    path = directory / "own.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return CertificatePair(str(path), str(path))


def test_a_certificate_without_alternative_names(tmp_path: Path) -> None:
    pair = own_certificate(tmp_path, ed25519.Ed25519PrivateKey.generate())
    assert Certificates([pair]).names == ("common.test",)


# --- loading again -------------------------------------------------------------------------------


def replace(pair: CertificatePair, other: CertificatePair) -> None:
    for path, new in ((pair.certificate, other.certificate), (pair.key, other.key)):
        os.replace(new, path)


def test_new_files_are_for_the_next_client(tmp_path: Path) -> None:
    pair = write_pair(tmp_path, "old.test")
    certificates = Certificates([pair])
    session = OpenSslSession(certificates.context)  # its client has begun a handshake
    (tmp_path / "new").mkdir()
    replace(pair, write_pair(tmp_path / "new", "new.test"))
    assert shown(certificates, "new.test") == {"old.test"}
    certificates.load()
    assert shown(certificates, "new.test") == {"new.test"}
    client = MemoryClient(client_context(check_hostname=False), "old.test")
    session.shake(client.shake())
    client.shake(session.take())
    assert ("DNS", "old.test") in (client.tls.getpeercert() or {})["subjectAltName"]


@pytest.mark.parametrize("broken", ["certificate", "key", "mixed", "second"])
def test_a_broken_file_keeps_all_as_it_was(tmp_path: Path, broken: str) -> None:
    pairs = [write_pair(tmp_path, "a.test"), write_pair(tmp_path, "b.test")]
    certificates = Certificates(pairs)
    if broken == "certificate":
        Path(pairs[0].certificate).write_bytes(b"")
    elif broken == "key":
        Path(pairs[0].key).write_bytes(b"")
    elif broken == "mixed":  # the certificate is new, and its key not yet
        (tmp_path / "new").mkdir()
        os.replace(write_pair(tmp_path / "new", "a.test").certificate, pairs[0].certificate)
    else:
        (tmp_path / "new").mkdir()
        replace(pairs[0], write_pair(tmp_path / "new", "new.test"))
        Path(pairs[1].key).unlink()
    for _ in range(2):
        with pytest.raises(CertificateError):
            certificates.load()
        assert certificates.names == ("a.test", "b.test")
        assert shown(certificates, "a.test") == {"a.test"}
        assert shown(certificates, "b.test") == {"b.test"}


# --- clients' certificates -----------------------------------------------------------------------


def client_files(directory: Path) -> str:
    path = directory / "client-ca.pem"
    authority().cert_pem.write_to_path(path)
    return str(path)


def client_with(made: trustme.LeafCert | None, **settings: object) -> ssl.SSLContext:
    context = client_context(**settings)
    if made is not None:
        made.configure_cert(context)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_clients_certificate_is_known_also_when_it_comes_back(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificates = Certificates(
        [write_pair(tmp_path, "localhost")], client_ca=client_files(tmp_path)
    )
    made = authority().issue_cert("alice@example.com", common_name="alice")
    context = client_with(made, maximum_version=version)
    client = MemoryClient(context)
    first = handshake(certificates, client)
    assert first.client is not None
    assert "CN=alice" in first.client.subject
    assert len(first.client.fingerprint) == 64
    again = handshake(certificates, MemoryClient(context, session=client.tls.session))
    assert again.resumed
    assert again.client == first.client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("who", ["nobody", "a stranger", "expired"])
def test_a_client_without_a_good_certificate(
    tmp_path: Path, who: str, version: ssl.TLSVersion
) -> None:
    pair, client_ca = write_pair(tmp_path, "localhost"), client_files(tmp_path)
    made: trustme.LeafCert | None = None
    if who == "a stranger":
        made = trustme.CA().issue_cert("mallory@example.com")
    elif who == "expired":
        long_ago = datetime(2020, 1, 1)
        made = authority().issue_cert("bob@example.com", not_before=long_ago, not_after=long_ago)
    context = client_with(made, maximum_version=version)
    with pytest.raises(ssl.SSLError):
        handshake(Certificates([pair], client_ca=client_ca), MemoryClient(context))
    optional = Certificates([pair], client_ca=client_ca, client_auth="optional")
    if made is None:
        assert handshake(optional, MemoryClient(context)).client is None
    else:
        with pytest.raises(ssl.SSLError):
            handshake(optional, MemoryClient(context))


def test_nobody_is_asked_without_an_authority(tmp_path: Path) -> None:
    made = authority().issue_cert("alice@example.com")
    certificates = Certificates([write_pair(tmp_path, "localhost")])
    assert handshake(certificates, MemoryClient(client_with(made))).client is None


# --- versions and ciphers ------------------------------------------------------------------------


def test_version_1_3_alone(tmp_path: Path) -> None:
    certificates = Certificates([write_pair(tmp_path, "localhost")], min_version="1.3")
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        handshake(certificates, MemoryClient(context))
    assert handshake(certificates, MemoryClient()).version == "TLSv1.3"


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_forward_secrecy_or_authentication(tmp_path: Path, cipher: str) -> None:
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        handshake(Certificates([write_pair(tmp_path, "localhost")]), MemoryClient(context))


def test_secrets_for_a_debugger(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    certificates = Certificates([write_pair(tmp_path, "localhost")], keylog=str(path))
    handshake(certificates, MemoryClient())
    assert "CLIENT_TRAFFIC_SECRET_0" in path.read_text()
