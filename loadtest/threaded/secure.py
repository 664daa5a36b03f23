"""TLS on a thread: the transport whose calls wait, with records in place of its bytes.

The session is the reactor's own, a function of bytes (reactor/net/tls_session.py). An SSLSocket
would wait by itself, but it repeats a call that SO_RCVTIMEO has ended, and so knows no deadline.

A thread sends all that it has made before it does anything else. So no record waits in the queue
between two calls, and none can be encrypted twice. A step of a handshake runs where its bytes have
come: it keeps this thread busy, and OpenSSL computes without the interpreter's lock.
"""

import os
import socket
import ssl
from typing import Any, Final

from loadtest.threaded.monitor import MONITOR
from loadtest.threaded.transport import BlockingTransport, ThreadLoop
from reactor.errors import ProtocolError
from reactor.files.region import FileRegion
from reactor.loop.timers import NEVER
from reactor.net.send_queue import Item
from reactor.net.stream import ENDED, FINISHING, ConnectionProtocol
from reactor.net.tls import (
    FAILED,
    HELLO,
    NOT_PLAIN,
    PLAIN,
    SEAL_BYTES,
    SECURED,
    SHAKING,
    SILENT,
    TlsSettings,
    is_text,
)
from reactor.net.tls_info import TlsInfo
from reactor.net.tls_session import TlsSession

ALERT_SECONDS: Final = 1.0  # that the peer has to take the last record


class SecureBlockingTransport(BlockingTransport):
    """A connected socket whose calls wait, and whose peer speaks TLS."""

    __slots__ = ("_later", "_phase", "_session", "_settings", "tls")

    is_secure = True

    def __init__(
        self,
        settings: TlsSettings,
        reactor: ThreadLoop,
        connected: socket.socket,
        peer: tuple[Any, ...],
    ) -> None:
        super().__init__(reactor, connected, peer)
        self.tls: TlsInfo | None = None
        self._settings = settings
        self._session: TlsSession | None = None  # made when the peer has begun to speak TLS
        self._phase = HELLO
        self._later = NEVER  # the protocol's deadline, while the handshake has its own

    def open(self, protocol: ConnectionProtocol) -> None:
        """Begin: the handshake has its own deadline, and that of the protocol follows."""
        super().open(protocol)
        super().set_deadline(self._reactor.now + self._settings.timeout)

    # --- input -----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Call the protocol with what the peer says, or go on with the handshake."""
        assert self.protocol is not None
        if self._phase is SECURED or self._phase is SILENT:
            self._receive_records(data)
        elif self._phase is PLAIN:
            self.protocol.data_received(data)
        elif self._phase is HELLO and is_text(data):
            self._phase = PLAIN
            self._count_failure("http")
            super().set_deadline(self._later)
            self.protocol.refuse(ProtocolError(400, NOT_PLAIN))
        elif self._phase is not FAILED:
            self._shake(data)

    def _receive_records(self, data: bytes) -> None:
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
        self._send_own_records()
        if said:
            protocol.data_received(said)
        if session.ended and self.protocol is not None and self.input is not ENDED:
            self.input = ENDED
            self.protocol.eof_received()

    def _shake(self, data: bytes) -> None:
        """Make one step of the handshake."""
        if self._session is None:
            self._session = self._settings.make_session()
            self._phase = SHAKING
        try:
            has_ended = self._session.shake(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send_own_records()
        if has_ended:
            self._phase = SECURED
            self.tls = info = self._session.info()
            with MONITOR:
                self._settings.handshakes.succeeded(info)
            super().set_deadline(self._later)
            if self.protocol is not None:
                self._receive_records(b"")  # they have come with the handshake's last bytes

    def _fail(self, error: ssl.SSLError) -> None:
        """The handshake has failed: send the alert that says why, and end."""
        self._phase = FAILED
        self._count_failure(error)
        self._send_alert()
        if self.protocol is not None:
            self.protocol.deadline_passed()  # which ends an idle connection, and lingers

    def _count_failure(self, cause: ssl.SSLError | str) -> None:
        with MONITOR:
            self._settings.handshakes.failed(self.peer, cause)

    def set_deadline(self, when: float) -> None:
        """Have `protocol.deadline_passed` called at `when`, and not before the handshake's end."""
        if self._phase < SECURED:
            self._later = when
        else:
            super().set_deadline(when)

    def deadline_passed(self) -> None:
        """Call the owner's `deadline_passed`; a handshake that has not ended is cut."""
        if self._phase < SECURED:
            self._phase = FAILED
            self._count_failure("timeout")
            self.abort()
        else:
            super().deadline_passed()

    # --- output ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send all of it in records, or find that the peer does not read."""
        queue, session = self._queue, self._session
        if self._phase is PLAIN:
            super().flush()
            return
        if self._rate is not None and queue:
            self._begin_to_wait(self._rate)
        while queue:
            assert session is not None
            try:
                data = _first_data(queue.first() if len(queue) > 1 else queue[0])
                records = session.seal(data)
            except OSError:  # ssl.SSLError is one
                self._break()
                return
            queue.sent(len(data))
            self._send_records(records)
        if self._rate is not None:
            self._may_wait()

    def _send_records(self, records: bytes) -> None:
        """Send all of them before what is queued, or find that the peer does not read."""
        queue = self._queue
        queue.insert(0, records)
        while True:
            item = queue[0]
            assert not isinstance(item, FileRegion)
            try:
                count = self._socket.send(item)
            except self.would_block:
                count = 0
            except OSError:
                self._break()
                return
            self._reactor.sent += count
            if count == len(item):
                del queue[0]
                return
            queue.sent(count)
            if not self._may_wait():
                self._break()
                return

    def _send_own_records(self) -> None:
        """Send what the session says by itself: of the handshake, tickets, a new key."""
        assert self._session is not None
        if self._session.output:
            self._send_records(self._session.take())

    # --- the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket in any state, behind a close_notify where all was sent."""
        if self._phase is SECURED and self._output <= FINISHING and not self._queue:
            self._end_session()
        super().close()

    def _send_fin(self) -> None:
        """Send the close_notify, and then the FIN."""
        if self._phase is SECURED:
            self._end_session()
        if self._output is FINISHING:
            super()._send_fin()

    def _end_session(self) -> None:
        assert self._session is not None
        self._phase = SILENT
        self._session.end()
        self._send_alert()

    def _send_alert(self) -> None:
        """Send the session's last record, if the peer takes it soon."""
        assert self._session is not None
        if self._session.output:
            self._limit_send(ALERT_SECONDS)
            self._send_records(self._session.take())

    def _close(self) -> None:
        if self.protocol is not None and self._phase < SECURED:
            self._phase = FAILED
            self._count_failure("closed")
        super()._close()


def _first_data(item: Item) -> bytes | memoryview:
    """The bytes for the next records. Raises OSError where a file has become shorter."""
    if not isinstance(item, FileRegion):
        return item if len(item) <= SEAL_BYTES else memoryview(item)[:SEAL_BYTES]
    count = min(item.length, SEAL_BYTES)
    data = os.pread(item.file.descriptor, count, item.offset)
    if not data:
        raise OSError("the file has become shorter")
    return data
