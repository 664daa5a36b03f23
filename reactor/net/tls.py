"""TLS on one socket of the loop: a Transport whose peer speaks in records.

"Readable" does not mean that there is data
-------------------------------------------
The selector looks at the kernel's buffer, and in there are bytes of records, which only the whole
record turns into data. So the two can differ in every way:

- A socket is readable, and there is nothing to read: a part of a record has come, or a record that
  says nothing to us, of the handshake, a ticket, a new key.
- A socket is not readable, and there is something to read: one `recv` has taken several records out
  of the kernel, and the first one was all that was asked for. Nothing will ever report the others.
- To read one has to write: a handshake waits for our half of it, and a new key for our reply.
- To write one has to write the same again: a record is encrypted once, with a number of its own, so
  one of which half has left must be finished, with any other data waiting behind it.

A program that asks OpenSSL to read and write the socket meets all four, as SSL_ERROR_WANT_READ and
SSL_ERROR_WANT_WRITE, in each of its calls. Here OpenSSL has no socket. Bytes are received as on any
other connection and given to a session, which returns all that they say (see tls_session.py); what
we say becomes records just before it is sent, and records are bytes like any others: a send that
takes half of them leaves the other half at the head of the queue. The four cases become:

- `unseal` returns b"", and the transport waits as before.
- Nothing is left in a session between two turns: what one `recv` has brought is data at once.
- What a session has to say by itself goes into the queue, in front of what is not encrypted yet.
- `_sealed` says that the queue's first item is of records, and it is never encrypted again.

Three rules. A handshake costs a hundred times as much as a request, so each of its steps is bulk
work (see loop/reactor.py), and one that has not ended within `tls_handshake_timeout` is cut. Data
becomes records as late as possible, and more at a time only while the kernel takes all of them, so
that a slow reader costs few. A good end is a close_notify: a peer that gets none knows that
something was cut.
"""

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.files.region import FileRegion
from reactor.loop.reactor import Reactor
from reactor.loop.timers import NEVER
from reactor.net.handshakes import Handshakes
from reactor.net.pacing import FAST, FAST_TURN_BYTES, NEW, TURN_BYTES
from reactor.net.stream import (
    ENDED,
    FINISHING,
    INPUT_OPEN,
    OUTPUT_OPEN,
    ConnectionProtocol,
    StreamSnapshot,
)
from reactor.net.tls_info import TlsInfo
from reactor.net.tls_session import RECORD_BYTES, TlsSession
from reactor.net.transport import RECEIVE_BYTES, Transport

SEAL_BYTES: Final = 4 * RECORD_BYTES  # made into records for one send to a peer that reads fast
WAITING_BYTES: Final = 64 * 1024  # received ones that may wait for the handshake's turn
NOT_PLAIN: Final = "This port speaks HTTPS: the URL begins with https://."


class TlsPhase(IntEnum):
    """How far a connection is."""

    HELLO = 0  # nothing has come
    SHAKING = 1  # the peer's next bytes of the handshake are waited for
    QUEUED = 2  # some have come, and the step that they lead to is bulk work to come
    SECURED = 3
    SILENT = 4  # our close_notify follows what is queued
    PLAIN = 5  # the peer does not speak TLS, and gets a response that says so
    FAILED = 6


HELLO, SHAKING, QUEUED, SECURED, SILENT, PLAIN, FAILED = TlsPhase


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The objects that the connections of one listener share."""

    make_session: Callable[[], TlsSession]  # for a client that has begun to speak
    timeout: float  # seconds from the connection to the end of its handshake
    handshakes: Handshakes


class TlsTransport(Transport):
    """A transport whose peer speaks TLS. Its protocol is given data, and writes data."""

    __slots__ = ("_later", "_phase", "_sealed", "_session", "_settings", "_waiting", "tls")

    is_secure = True

    def __init__(
        self,
        settings: TlsSettings,
        reactor: Reactor,
        connected: socket.socket,
        peer: tuple[Any, ...],
    ) -> None:
        super().__init__(reactor, connected, peer)
        self.tls: TlsInfo | None = None
        self._settings = settings
        self._session: TlsSession | None = None  # made when the peer has begun to speak TLS
        self._phase = HELLO
        self._waiting = b""  # received bytes that wait for the handshake's turn
        self._sealed = False  # the queue's first item is of records
        self._later = NEVER  # the protocol's deadline, while the handshake has its own

    def open(self, protocol: ConnectionProtocol) -> None:
        """Begin: the handshake has its own deadline, and that of the protocol follows."""
        super().open(protocol)
        super().set_deadline(self._reactor.now + self._settings.timeout)

    def snapshot(self) -> StreamSnapshot:
        """The state at this moment, for reports and tests."""
        tls = self._phase.name.lower() if self.tls is None else self.tls.version
        return super().snapshot()._replace(tls=tls)

    # --- input -----------------------------------------------------------------------------------

    def on_events(self, mask: int) -> None:
        """One turn of one connection: one recv. Records that it queues leave when the turn ends."""
        if self.protocol is None:
            return  # closed earlier in this turn
        if mask & EVENT_WRITE:
            self._ask_to_send()
        if mask & EVENT_READ and self.input is INPUT_OPEN:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except self.would_block:
                pass
            except OSError:
                self._break()
            else:
                self._reactor.received += len(data)
                if not data:
                    self._receive_end()
                elif self._phase is SECURED or self._phase is SILENT:
                    self._receive_records(data)
                else:
                    self._receive_before(data)
        elif not mask:
            self._break()  # ready, but for nothing that we wait for: the peer is lost

    def _receive_records(self, data: bytes) -> None:
        """Call the protocol with what the records say. Nothing stays in the session."""
        session, protocol = self._session, self.protocol
        assert session is not None
        assert protocol is not None
        try:
            said = session.unseal(data)
        except ssl.SSLError:
            if self._phase is SECURED:  # else they came too late to matter: the FIN will come
                self._send_alert()
                self._break()
            return
        if session.output:
            records = session.take()
            if self._phase is SECURED:  # else nothing follows our close_notify
                self._queue_records(records)
        if said:
            protocol.data_received(said)
        if session.ended and self.protocol is not None and self.input is not ENDED:
            self._receive_end()

    def _receive_before(self, data: bytes) -> None:
        """Bytes have come, and no handshake has ended well."""
        if self._phase is HELLO:
            if is_text(data):
                self._speak_plainly()
                return
            self._session = self._settings.make_session()
            self._phase = SHAKING
        if self._phase is SHAKING or self._phase is QUEUED:
            self._waiting += data
            if self._phase is SHAKING:
                self._phase = QUEUED
                self._reactor.call_bulk(self._shake)
            elif len(self._waiting) >= WAITING_BYTES:
                self.pause()
        elif self._phase is PLAIN:
            assert self.protocol is not None
            self.protocol.data_received(data)

    # --- the handshake ---------------------------------------------------------------------------

    def _shake(self) -> None:
        """Make one step of the handshake."""
        session = self._session
        if self.protocol is None or session is None:
            return
        data, self._waiting = self._waiting, b""
        self._phase = SHAKING
        self.resume()
        try:
            has_ended = session.shake(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        if session.output:
            self._queue_records(session.take())
        if has_ended:
            self._phase = SECURED
            self.tls = info = session.info()
            self._settings.handshakes.succeeded(info)
            super().set_deadline(self._later)
            self._receive_records(b"")  # they have come with the handshake's last bytes

    def _fail(self, error: ssl.SSLError) -> None:
        """The handshake has failed: send the alert that says why, and end."""
        self._phase = FAILED
        self._settings.handshakes.failed(self.peer, error)
        self._send_alert()
        if self._queue or self.protocol is None:
            self.abort()  # it does not read what we have said
        else:
            self.protocol.deadline_passed()  # which ends an idle connection, and lingers

    def _speak_plainly(self) -> None:
        """The peer speaks HTTP without TLS: so does its response, and all ends with it."""
        assert self.protocol is not None
        self._phase = PLAIN
        self._settings.handshakes.failed(self.peer, "http")
        super().set_deadline(self._later)
        self.protocol.refuse(ProtocolError(400, NOT_PLAIN))

    def set_deadline(self, when: float) -> None:
        """Have `protocol.deadline_passed` called at `when`.

        A handshake has its own deadline, until our FIN is to follow.
        """
        if self._phase < SECURED and self._output is OUTPUT_OPEN:
            self._later = when
        else:
            super().set_deadline(when)

    def deadline_passed(self) -> None:
        """Call the owner's `deadline_passed`; a handshake that has not ended is cut."""
        if self._phase < SECURED:
            self._phase = FAILED
            self._settings.handshakes.failed(self.peer, "timeout")
            self.abort()
        else:
            super().deadline_passed()

    # --- output ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the kernel takes, in records that are made just before."""
        if self._phase is PLAIN:
            super().flush()
            return
        queue, reactor = self._queue, self._reactor
        room = most = FAST_TURN_BYTES if self.pace is FAST else TURN_BYTES
        portion = RECORD_BYTES if self.pace is NEW else SEAL_BYTES
        try:
            while queue and room > 0:
                if not self._sealed:
                    self._seal(portion)
                records = queue[0]
                assert not isinstance(records, FileRegion)
                count = self._socket.send(records)
                room -= count
                if count < len(records):
                    queue[0] = memoryview(records)[count:]
                    break  # the kernel has taken what it has room for
                del queue[0]
                self._sealed = False
                if count > RECORD_BYTES:
                    portion = min(2 * portion, SEAL_BYTES)
        except self.would_block:
            pass
        except (OSError, ssl.SSLError):
            self._break()
        reactor.sent += most - room
        self._blocked = bool(queue)
        if queue:
            self._blocked_since = reactor.now
            if room <= 0 and self.pace is not FAST and self._is_in_file():
                self._set_pace(FAST)  # all of a turn's bytes at once: it need not block

    def _seal(self, most: int) -> None:
        """Make records of the first data that is queued, `most` bytes at most."""
        queue, session = self._queue, self._session
        assert session is not None
        item = queue.first() if len(queue) > 1 else queue[0]
        if isinstance(item, FileRegion):
            data: bytes | memoryview = self._read(item, min(item.length, most))
        else:
            data = item if len(item) <= most else memoryview(item)[:most]
        records = session.seal(data)
        queue.sent(len(data))
        queue.insert(0, records)
        self._sealed = True

    def _read(self, region: FileRegion, count: int) -> bytes:
        """Bytes of a file, which are in memory. Raises OSError where it has become shorter."""
        data = os.pread(region.file.descriptor, count, region.offset)
        if not data:
            raise OSError("the file has become shorter")
        return data

    def _queue_records(self, records: bytes) -> None:
        """Queue what the session says by itself, behind records and before data."""
        if self._sealed:
            first = self._queue[0]
            assert not isinstance(first, FileRegion)
            self._queue[0] = b"".join((first, records))
        else:
            self._queue.insert(0, records)
            self._sealed = True
        self._mark()

    def _is_in_file(self) -> bool:
        """Whether a file is sent, of which some bytes may be records already."""
        return any(isinstance(item, FileRegion) for item in self._queue[:2])

    # --- the end ---------------------------------------------------------------------------------

    def say_end(self) -> None:
        """Send the close_notify, of which a part may be left."""
        if self._phase is SECURED and self._output <= FINISHING:
            self._end_session()

    def close(self) -> None:
        """Close the socket in any state, behind a close_notify where all was sent."""
        if self._phase is SECURED and self._output <= FINISHING and not self._queue:
            self._end_session()
        super().close()

    def _send_fin(self) -> None:
        """Send the close_notify, and then the FIN."""
        if self._phase is SECURED:
            self._end_session()
        if not self._queue:  # else it follows when they have left
            super()._send_fin()

    def _end_session(self) -> None:
        assert self._session is not None
        self._phase = SILENT
        self._session.end()
        self._send_alert()

    def _send_alert(self) -> None:
        """Send the session's last record, as far as the peer takes it."""
        assert self._session is not None
        if self._session.output:
            self._queue_records(self._session.take())
            self.flush()

    def _close(self) -> None:
        if self.protocol is not None and self._phase < SECURED:
            self._phase = FAILED
            self._settings.handshakes.failed(self.peer, "closed")
        super()._close()


def is_text(data: bytes) -> bool:
    """Whether these are the first bytes of a request without TLS, and not of a hello."""
    return b"A" <= data[:1] <= b"Z"
