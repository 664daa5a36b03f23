"""A double of TLS for simulations: records without secrets, that behave as those of OpenSSL do.

A record is its kind, its length and its bytes, turned over so that nobody takes them for data. The
handshake has a hello, a flight, a finish and a ticket. All that a session of OpenSSL makes hard is
here: the network cuts records anywhere, a key update makes a reader write, and what is said is
heard when its whole record has come.

`SecureListener` stands between a SimClient and the listener: the client writes and reads data.
"""

import ssl
from collections.abc import Iterator
from typing import Any, Final

from reactor.net.tls_info import TlsInfo
from reactor.net.tls_session import RECORD_BYTES
from reactor.simulator.network import Action, SimNetwork
from reactor.simulator.sockets import SimListener, SimSocket

HELLO: Final = 0x16  # a real hello begins so, too
FLIGHT: Final = 1
FINISHED: Final = 2
TICKET: Final = 3
DATA: Final = 4
KEY_UPDATE: Final = 5  # the other end has to write its own
KEY_UPDATED: Final = 6
CLOSE_NOTIFY: Final = 7
ALERT: Final = 8
FLIGHT_BYTES: Final = 3000
KEY_UPDATES: Final = 0.02  # the share of a client's records that ask for a new key
INFO: Final = TlsInfo("TLSv1.3", "simulated", False, None)

_HEAD_BYTES: Final = 4
_TURNED: Final = bytes(255 - byte for byte in range(256))


def record(kind: int, data: bytes = b"") -> bytes:
    """The bytes of one record."""
    return bytes([kind]) + len(data).to_bytes(3) + data.translate(_TURNED)


class Records:
    """Takes bytes, and returns the records that are whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes | memoryview) -> None:
        """Take more bytes."""
        self._bytes += data

    def whole(self) -> Iterator[tuple[int, bytes]]:
        """The kind and the data of each record that has come whole. Raises SSLError."""
        while len(self._bytes) >= _HEAD_BYTES:
            kind, size = self._bytes[0], int.from_bytes(self._bytes[1:_HEAD_BYTES])
            if size > RECORD_BYTES or kind not in (HELLO, *range(1, ALERT + 1)):
                raise ssl.SSLError("this is no record")
            end = _HEAD_BYTES + size
            if len(self._bytes) < end:
                return
            data = bytes(self._bytes[_HEAD_BYTES:end]).translate(_TURNED)
            del self._bytes[:end]
            yield kind, data


class SimTlsSession:
    """A server's end, in place of OpenSslSession."""

    def __init__(self) -> None:
        self.ended = False
        self._records = Records()
        self._output = b""
        self._early = b""  # data that has come with the end of the handshake
        self._shook = False

    @property
    def output(self) -> int:
        """Bytes of records that wait for `take`."""
        return len(self._output)

    def shake(self, data: bytes) -> bool:
        """Go on with the handshake, by bytes of the peer. Returns whether it has ended."""
        self._records.feed(data)
        self._early += self._read()
        return self._shook

    def unseal(self, data: bytes | memoryview) -> bytes:
        """The data in the peer's bytes, as far as their records are whole."""
        self._records.feed(data)
        early, self._early = self._early, b""
        return early + self._read()

    def seal(self, data: bytes | memoryview) -> bytes:
        """Records that say this."""
        assert self._shook, "data before the end of the handshake"
        starts = range(0, len(data), RECORD_BYTES)
        return b"".join(record(DATA, bytes(data[at : at + RECORD_BYTES])) for at in starts)

    def take(self) -> bytes:
        """Records that the session itself has to send."""
        output, self._output = self._output, b""
        return output

    def end(self) -> None:
        """Say nothing more."""
        self._output += record(CLOSE_NOTIFY)

    def info(self) -> TlsInfo:
        """The outcome of the handshake."""
        return INFO

    def _read(self) -> bytes:
        said = []
        try:
            for kind, data in self._records.whole():
                if not self._shook:
                    self._handle_handshake(kind)
                elif kind == DATA:
                    said.append(data)
                elif kind == KEY_UPDATE:
                    self._output += record(KEY_UPDATED)
                elif kind == CLOSE_NOTIFY:
                    self.ended = True
                else:
                    raise ssl.SSLError("an unexpected record")
        except ssl.SSLError:
            self._output += record(ALERT)
            raise
        return b"".join(said)

    def _handle_handshake(self, kind: int) -> None:
        if kind == HELLO:
            self._output += record(FLIGHT, bytes(FLIGHT_BYTES))
        elif kind == FINISHED:
            self._output += record(TICKET, bytes(200))
            self._shook = True
        else:
            raise ssl.SSLError("an unexpected record of the handshake")


class SecureSimSocket:
    """A client's end, with the methods of a SimSocket; data goes in and comes out."""

    def __init__(self, network: SimNetwork, below: SimSocket) -> None:
        self.below = below
        self._network = network
        self._records = Records()
        self._said = bytearray()  # by the server, and not read yet
        self._unsent = record(HELLO, bytes(300))
        self._shook = self._ended = False
        self._push()

    def send(self, data: bytes) -> int:
        """Some of it, as one record; as send(2) otherwise."""
        if not self._shook:
            self._pull(RECORD_BYTES)
        self._push()
        if self._unsent or not self._shook:
            raise BlockingIOError
        count = self._network.some(min(len(data), RECORD_BYTES))
        if self._network.chance(KEY_UPDATES):
            self._unsent += record(KEY_UPDATE)
        self._unsent += record(DATA, data[:count])
        self._push()
        return count

    def recv(self, most: int) -> bytes:
        """Some of what the server has said; b"" behind its close_notify."""
        self._push()
        while not self._said and not self._ended:
            if not self._pull(most):
                break  # a FIN without a close_notify: the socket is lost or was cut
        said = bytes(self._said[:most])
        del self._said[:most]
        return said

    def shutdown(self, how: int) -> None:
        """Send a close_notify where there is room for it, and a FIN."""
        if self._shook:
            self._unsent += record(CLOSE_NOTIFY)
        self._push()
        self.below.shutdown(how)

    def close(self) -> None:
        """As a SimSocket's."""
        self.below.close()

    def reset(self) -> None:
        """As a SimSocket's."""
        self.below.reset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)

    @property
    def watchers(self) -> list[Action]:
        """Those of the socket below."""
        return self.below.watchers

    def _push(self) -> None:
        """Send what waits, as far as there is room."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.below.send(self._unsent) :]
        except BlockingIOError:
            pass

    def _pull(self, most: int) -> bool:
        """Take some bytes of the server; False at the end of them. Raises BlockingIOError."""
        data = self.below.recv(most)
        self._records.feed(data)
        for kind, said in self._records.whole():
            if kind == FLIGHT:
                self._unsent += record(FINISHED)
                self._shook = True
            elif kind == DATA:
                self._said += said
            elif kind == CLOSE_NOTIFY:
                self._ended = True
            elif kind == ALERT:
                raise ConnectionResetError("simulated: an alert")
        self._push()
        return bool(data)


class SecureListener:
    """A listener whose clients speak the double of TLS."""

    def __init__(self, network: SimNetwork, below: SimListener) -> None:
        self._network = network
        self._below = below

    def connect(
        self, name: str, buffers: tuple[int, int, int, int], peer: tuple[Any, ...]
    ) -> SecureSimSocket | None:
        """A client's end of a new connection; None: refused."""
        below = self._below.connect(name, buffers, peer)
        return None if below is None else SecureSimSocket(self._network, below)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)
