"""A certificate of this machine's own: made once, kept, used again, and never trusted blindly."""

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reactor.net import self_signed as module
from reactor.net.certificates import CertificateError, Certificates, read_chain
from reactor.net.self_signed import cache_directory, own_names, self_signed
from reactor.net.tls_session import OpenSslSession
from tests.support.authority import MemoryClient

pytestmark = pytest.mark.system


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "reactor"


def refusal(directory: Path) -> str:
    with pytest.raises(CertificateError) as caught:
        self_signed(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_made_once_and_nobody_else_reads_it(directory: Path) -> None:
    pair = self_signed(directory)
    before = Path(pair.certificate).read_bytes(), Path(pair.key).read_bytes()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in pair.key, pair.certificate:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert self_signed(directory) == pair
    assert (Path(pair.certificate).read_bytes(), Path(pair.key).read_bytes()) == before
    assert sorted(one.name for one in directory.iterdir()) == ["self-signed.key", "self-signed.pem"]


def test_a_client_that_trusts_it_is_served(directory: Path) -> None:
    pair = self_signed(directory)
    context = ssl.create_default_context(cafile=pair.certificate)
    for name in ("localhost", "127.0.0.1", "::1"):
        client, session = MemoryClient(context, name), OpenSslSession(Certificates([pair]).context)
        session.shake(client.shake())
        client.shake(session.take())
        assert client.has_shaken


@pytest.mark.parametrize("fault", ["certificate", "key", "empty", "ends", "names"])
def test_it_is_made_anew_where_it_is_of_no_use(
    directory: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = self_signed(directory)
    before = Path(pair.certificate).read_bytes()
    if fault == "certificate":
        Path(pair.certificate).unlink()
    elif fault == "key":
        Path(pair.key).unlink()
    elif fault == "empty":
        Path(pair.certificate).write_bytes(b"")
    elif fault == "ends":
        monkeypatch.setattr(module, "RENEWED_DAYS", module.DAYS + 1)
    else:
        monkeypatch.setattr(module, "own_names", lambda: [*own_names(), "new-name.test"])
    assert self_signed(directory) == pair
    assert Path(pair.certificate).read_bytes() != before
    assert len(Certificates([pair]).names) >= 3


def test_without_openssl(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(directory))
    assert "needs the program openssl, which is not installed" in refusal(directory)
    assert list(directory.iterdir()) == []


def test_an_openssl_that_fails(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho first >&2\necho no entropy >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(directory) == "openssl could not make a certificate: no entropy"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(module, "OPENSSL_SECONDS", 0.2)
    assert refusal(directory) == "openssl made no certificate in 0.2 s"
    assert list(directory.iterdir()) == []


def test_a_directory_of_others_is_not_used(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True)
    for mode in (0o777, 0o770, 0o1777):
        directory.chmod(mode)
        assert "others can write there" in refusal(directory)
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert f"Cannot keep a certificate in {str(file)!r}" in refusal(file)
    assert "Cannot keep a certificate" in refusal(file / "below")


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "reactor"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative"):  # a relative one is not valid (XDG Base Directory)
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_directory() == tmp_path / ".cache" / "reactor"


def test_it_is_valid_for_a_year(directory: Path) -> None:
    (certificate,) = read_chain(self_signed(directory).certificate)
    left = certificate.ends - datetime.now(UTC)
    assert timedelta(days=module.DAYS - 1) < left <= timedelta(days=module.DAYS)
