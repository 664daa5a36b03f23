"""A double of TLS for simulations: records without secrets, that behave as those of OpenSSL do.

A record is its kind, its length and its bytes, turned over so that nobody takes them for data. The
handshake has a hello, a flight, a finish and a ticket. All that a session of OpenSSL makes hard is
here: the network cuts records anywhere, a key update makes a reader write, and what is said is
heard when its whole record has come.

A SecureSimSocket is between a SimClient and its socket: the client writes and reads data.
"""

import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, cast

from reactor.files.region import FileRegion
from reactor.net.tls import TlsSettings, TlsTransport
from reactor.net.tls_info import TlsInfo
from reactor.net.tls_session import RECORD_BYTES
from reactor.server.admission import Way
from reactor.server.server import Server
from reactor.simulator.disk import SimFile
from reactor.simulator.network import Action, SimNetwork
from reactor.simulator.sockets import LATENCY, SimSocket

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
HELLO_BYTES: Final = 300
KEY_UPDATES: Final = 0.02  # the share of a client's records that ask for a new key
TRUNCATIONS: Final = 0.1  # the share of clients whose FIN has no close_notify before it
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

    def __init__(self, network: SimNetwork) -> None:
        self.ended = False
        self._network = network
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
        self._network.work.handshakes += 1
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


class SimTlsTransport(TlsTransport):
    """The number of a simulated descriptor must never reach the kernel: it may be a real one."""

    __slots__ = ()

    def unacknowledged(self) -> int:
        return cast(SimSocket, self._socket).unacknowledged()

    def _read(self, region: FileRegion, count: int) -> bytes:
        file = region.file
        stretch = file.stretch if isinstance(file, SimFile) else file.load
        data = stretch(region.offset, count)
        if not data:
            raise OSError("the file has become shorter")
        return data


class SecureSimSocket:
    """A client's end, with the methods of a SimSocket; data goes in and comes out.

    Records leave in pieces of any size, one after the other.
    """

    def __init__(self, network: SimNetwork, below: SimSocket) -> None:
        self.below = below
        self._network = network
        self._records = Records()
        self._said = bytearray()  # by the server, and not read yet
        self._unsent = record(HELLO, bytes(HELLO_BYTES))
        self._shook = False
        self._heard_end = False
        self._push()

    def send(self, data: bytes) -> int:
        """Some of it, as one record; as send(2) otherwise."""
        if not self._shook and not self._pull(RECORD_BYTES):
            self._sent(record(ALERT))  # the server has left in the handshake: learn it by a reset
        if self._unsent or not self._shook:
            raise BlockingIOError
        count = self._network.some(min(len(data), RECORD_BYTES))
        if self._network.chance(KEY_UPDATES):
            self._unsent += record(KEY_UPDATE)
        self._unsent += record(DATA, data[:count])
        self._push()
        return count

    def recv(self, most: int) -> bytes:
        """Some of what the server has said; b"" behind its close_notify.

        A FIN without a close_notify raises ConnectionResetError: something is cut.
        """
        while not self._said and not self._heard_end:
            if not self._pull(most):
                raise ConnectionResetError("simulated: a FIN without a close_notify")
        said = bytes(self._said[:most])
        del self._said[:most]
        return said

    def shutdown(self, how: int) -> None:
        """Send a close_notify and a FIN, when all before has left; or a FIN alone, by chance."""
        if self._shook and not self._network.chance(TRUNCATIONS):
            self._unsent += record(CLOSE_NOTIFY)
        while self._unsent and not self.below.closed:
            before = len(self._unsent)
            self._unsent = self._unsent[self._sent(self._unsent) :]
            if len(self._unsent) == before:
                break
        self.below.shutdown(how)

    def close(self) -> None:
        """As a SimSocket's, behind a close_notify where there is room for it."""
        if self._shook and not self._unsent and not self.below.closed:
            self._sent(record(CLOSE_NOTIFY))
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
        """Send a part of what waits, and the next one a moment later."""
        if self._unsent and not self.below.closed and not self.below.lost:
            piece = self._unsent[: self._network.some(len(self._unsent))]
            self._unsent = self._unsent[self._sent(piece) :]
            if self._unsent:
                self._network.after(LATENCY, self._push)

    def _sent(self, data: bytes) -> int:
        """As many bytes as there is room for."""
        try:
            return self.below.send(data)
        except OSError:
            return 0

    def _pull(self, most: int) -> bool:
        """Take some bytes of the server; False at the end of them. Raises BlockingIOError."""
        data = self.below.recv(most)
        self._records.feed(data)
        for kind, said in self._records.whole():
            if kind == FLIGHT:
                self._shook = True
                self._say(record(FINISHED))
            elif kind == DATA:
                self._said += said
            elif kind == CLOSE_NOTIFY:
                self._heard_end = True
            elif kind == ALERT:
                raise ConnectionResetError("simulated: an alert")
        return bool(data)

    def _say(self, records: bytes) -> None:
        idle = not self._unsent
        self._unsent += records
        if idle:
            self._push()


def secure_way(server: Server, network: SimNetwork) -> Way:
    """The way in for clients that speak the double."""
    make_session = partial(SimTlsSession, network)
    settings = TlsSettings(make_session, server.limits.tls_handshake_timeout, server.handshakes)
    return Way(partial(SimTlsTransport, settings), server._context, refuses_in_words=False)
