"""A small HTTP client on a raw socket: it sends any bytes, right or wrong, and reads
responses to the letter. Nothing here waits for ever: every read has the socket's timeout.
"""

import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.support.secure_socket import SecureSocket

TIMEOUT = 30.0  # seconds; what takes so long has failed


class RawResponse(NamedTuple):
    """One response, taken apart."""

    status: int
    fields: list[tuple[str, str]]  # names in lower case
    body: bytes
    head: bytes

    def get(self, name: str) -> str | None:
        """The one value of a field; None where there is none."""
        values = [value for key, value in self.fields if key == name.lower()]
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None


def request(
    target: str = "/",
    *fields: str,
    method: str = "GET",
    version: str = "1.1",
    body: bytes = b"",
) -> bytes:
    """A request's bytes; `fields` are whole lines. Host and Content-Length are added."""
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class SecureAddress(tuple[Any, ...]):
    """The address of a server that speaks TLS; a Client of it does so, too."""

    __slots__ = ()


class Client:
    """A connection, as its client sees it. An end without a close_notify is an error."""

    def __init__(
        self,
        address: tuple[Any, ...],
        *,
        receive_buffer: int = 0,
        timeout: float = TIMEOUT,
        source: str = "",
    ) -> None:
        """`receive_buffer`: of the socket, so that a slow reader is soon felt at the other end.

        `source`: the address that it comes from; 127.0.0.2 is another client than 127.0.0.1.
        """
        self.socket: socket.socket | SecureSocket
        self.socket = tcp = socket.socket(
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM
        )
        if receive_buffer:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.settimeout(timeout)
        self.buffer = b""
        try:
            if source:
                tcp.bind((source, 0))
            tcp.connect(address)
            if isinstance(address, SecureAddress):
                self.socket = SecureSocket(tcp)
        except OSError:
            tcp.close()
            raise

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sending ---------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(
        self,
        target: str = "/",
        *fields: str,
        method: str = "GET",
        version: str = "1.1",
        body: bytes = b"",
    ) -> RawResponse:
        """One request and its response."""
        self.send(request(target, *fields, method=method, version=version, body=body))
        return self.read_response(method)

    def ask_with(self, data: bytes) -> RawResponse:
        """The response to these bytes."""
        self.send(data)
        return self.read_response()

    def send_fin(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close by a RST."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4)
        )
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    # --- reading ---------------------------------------------------------------------------------

    def read_response(self, method: str = "GET") -> RawResponse:
        """The next response, whose request had `method`."""
        head = self.read_until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1", status_line
        fields = []
        for line in lines:
            name, colon, value = line.partition(": ")
            assert colon, line
            fields.append((name.lower(), value))
        response = RawResponse(int(status), fields, b"", head)
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            return response
        return response._replace(body=self._read_body(response))

    def read_until(self, end: bytes) -> bytes:
        """All up to and with `end`."""
        while end not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(f"the connection ended after {self.buffer!r}")
            self.buffer += data
        found, _, self.buffer = self.buffer.partition(end)
        return found + end

    def read_exactly(self, count: int) -> bytes:
        pieces = [self.buffer[:count]]
        self.buffer = self.buffer[count:]
        missing = count - len(pieces[0])
        while missing:
            data = self.socket.recv(min(missing, 1 << 20))
            if not data:
                raise EOFError(f"the connection ended {missing} bytes early")
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)

    def read_to_end(self) -> bytes:
        """All up to the server's FIN. A reset raises ConnectionResetError."""
        pieces = [self.buffer]
        self.buffer = b""
        while data := self.socket.recv(1 << 16):
            pieces.append(data)
        return b"".join(pieces)

    def ended(self) -> bool:
        """Wait for the server's FIN; False if more bytes come instead."""
        return not self.buffer and self.socket.recv(1) == b""

    def _read_body(self, response: RawResponse) -> bytes:
        if response.get("transfer-encoding") == "chunked":
            assert response.get("content-length") is None
            return b"".join(self._chunks())
        length = response.get("content-length")
        return self.read_to_end() if length is None else self.read_exactly(int(length))

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.read_until(b"\r\n"), 16):
            yield self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"
        assert self.read_exactly(2) == b"\r\n"
