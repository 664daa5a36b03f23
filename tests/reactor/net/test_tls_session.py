"""TLS as a function of bytes: against OpenSSL's own client, whole and byte by byte."""

import ssl
from pathlib import Path

import pytest

from reactor.net.certificates import Certificates
from reactor.net.tls_session import RECORD_BYTES, OpenSslSession
from tests.support.authority import MemoryClient, client_context, write_pair

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates([write_pair(tmp_path_factory.mktemp("tls"), "localhost")])


def shake(session: OpenSslSession, client: MemoryClient, step: int = 1 << 20) -> None:
    """A whole handshake, in pieces of `step` bytes towards the server."""
    done, from_server = False, b""
    for _ in range(10):
        to_server = client.shake(from_server)
        from_server = b""
        for at in range(0, len(to_server), step):
            assert not done, "bytes behind the handshake"
            done = session.shake(to_server[at : at + step])
        from_server = session.take()
        if done:
            break
    assert done
    client.hear(from_server)


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    found: ssl.TLSVersion = request.param
    return found


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_a_handshake_and_what_is_said_then(
    certificates: Certificates, version: ssl.TLSVersion, step: int
) -> None:
    session = OpenSslSession(certificates.context)
    client = MemoryClient(client_context(maximum_version=version))
    shake(session, client, step)
    records = client.say(b"ping")
    said = b"".join(session.unseal(records[at : at + step]) for at in range(0, len(records), step))
    assert said == b"ping"
    client.hear(session.seal(b"pong"))
    assert client.received == b"pong"
    info = session.info()
    assert info.version == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
    assert "GCM" in info.cipher or "POLY1305" in info.cipher
    assert not info.resumed
    assert info.client is None
    assert client.tls.selected_alpn_protocol() is None


def test_data_behind_the_handshake_is_there_at_once(certificates: Certificates) -> None:
    session, client = OpenSslSession(certificates.context), MemoryClient()
    assert not session.shake(client.shake())
    finished = client.shake(session.take())
    assert session.shake(finished + client.say(b"early"))
    assert session.unseal(b"") == b"early"
    assert session.unseal(b"") == b""


@pytest.mark.parametrize("size", [1, RECORD_BYTES, RECORD_BYTES + 1, 300_000])
def test_data_of_any_size_and_many_records_at_once(certificates: Certificates, size: int) -> None:
    session, client = OpenSslSession(certificates.context), MemoryClient()
    shake(session, client)
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    assert session.unseal(client.say(data)) == data
    client.hear(session.seal(data))
    assert client.received == data
    client.hear(session.seal(memoryview(data)[size // 2 :]))
    assert client.received == data + data[size // 2 :]


def test_nothing_is_left_in_a_session_between_two_pieces(certificates: Certificates) -> None:
    """However the bytes are cut, all that whole records say is there at once."""
    records = b""
    session, client = OpenSslSession(certificates.context), MemoryClient()
    shake(session, client)
    ends = []
    for number in range(20):
        records += client.say(b"%d" % number * (number * 997))
        ends.append(len(records))
    said, expected = b"", b""
    for at in range(0, len(records), 1000):
        said += session.unseal(records[at : at + 1000])
        whole = [number for number, end in enumerate(ends) if end <= at + 1000]
        expected = b"".join(b"%d" % number * (number * 997) for number in whole)
        assert said.startswith(expected)
    assert said == b"".join(b"%d" % number * (number * 997) for number in range(20))


def test_both_ends_say_that_they_end(certificates: Certificates) -> None:
    session, client = OpenSslSession(certificates.context), MemoryClient()
    shake(session, client)
    last = client.say(b"last words") + client.end()
    assert session.unseal(last) == b"last words"
    assert session.ended
    session.end()
    client_view = session.take()
    assert client_view
    assert session.unseal(b"") == b""


def test_data_behind_our_end_is_still_heard(certificates: Certificates) -> None:
    session, client = OpenSslSession(certificates.context), MemoryClient()
    shake(session, client)
    session.end()
    client.hear(session.take())
    assert client.ended
    assert session.unseal(client.say(b"more")) == b"more"
    session.unseal(client.end())
    assert session.ended


@pytest.mark.parametrize("at", [0, 7, -1])
def test_a_record_that_was_changed_is_an_error_and_makes_an_alert(
    certificates: Certificates, at: int
) -> None:
    session, client = OpenSslSession(certificates.context), MemoryClient()
    shake(session, client)
    record = bytearray(client.say(b"ping"))
    record[at] ^= 0x55
    with pytest.raises(ssl.SSLError):
        session.unseal(bytes(record))
    assert session.output


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x00\x02" + bytes(60),
        bytes(100),
        b"\x16" + bytes(10),
    ],
)
def test_garbage_in_place_of_a_hello(certificates: Certificates, garbage: bytes) -> None:
    session = OpenSslSession(certificates.context)
    with pytest.raises(ssl.SSLError) as caught:
        session.shake(garbage)
    assert not isinstance(caught.value, ssl.SSLWantReadError)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_resumed(certificates: Certificates, version: ssl.TLSVersion) -> None:
    context = client_context(maximum_version=version)
    first, client = OpenSslSession(certificates.context), MemoryClient(context)
    shake(first, client)
    again = MemoryClient(context, session=client.tls.session)
    second = OpenSslSession(certificates.context)
    shake(second, again)
    assert second.info().resumed
    assert second.unseal(again.say(b"ping")) == b"ping"


def test_alpn(certificates: Certificates) -> None:
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = MemoryClient(context)
    shake(OpenSslSession(certificates.context), client)
    assert client.tls.selected_alpn_protocol() == "http/1.1"


def test_a_client_may_not_speak_before_1_2(tmp_path: Path) -> None:
    certificates = Certificates([write_pair(tmp_path, "localhost")], min_version="1.3")
    client = MemoryClient(client_context(maximum_version=ssl.TLSVersion.TLSv1_2))
    session = OpenSslSession(certificates.context)
    with pytest.raises(ssl.SSLError) as caught:
        session.shake(client.shake())
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"
    with pytest.raises(ssl.SSLError):
        client.shake(session.take())  # the alert says so
