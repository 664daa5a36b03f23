"""One request and its response on one connection.

Bytes go out as there is room for them and come in when somebody wants them, and between the two
the world makes turns. An iterator as a body is asked for its next piece when all before it has
gone. A response that is not read fills the connection and then keeps its server waiting, as with
real sockets. An exception in here resets the connection.
"""

from collections.abc import Callable, Generator
from typing import Final, TypeVar

from reactor.messages.headers import Headers
from reactor.simulator import SimClient, Violation
from reactor.simulator.client import READ_BYTES
from reactor.simulator.response_parser import BadResponse, ResponseHead, ResponseParser
from reactor.testing.request_encoder import EncodedBody, Url, encode_head
from reactor.testing.world import Deadlock, World

T = TypeVar("T")

# How long a client waits for 100 (Continue) before it sends its body all the same (RFC 9110,
# section 10.1.1), in simulated seconds.
CONTINUE_SECONDS: Final = 1.0


class Exchange:
    """A request that is being sent, and a response that is being read."""

    def __init__(
        self,
        world: World,
        method: str,
        url: Url,
        fields: list[tuple[str, str]],
        body: EncodedBody,
        timeout: float,
    ) -> None:
        """`timeout` is in simulated seconds, for each wait. Raises ValueError and OSError."""
        head, chunked = encode_head(method, url, fields, body)
        world.check_open()
        self.name = f"{method} {url}"
        self.began = world.now
        self.timeout = timeout
        self.informational: list[ResponseHead] = []
        self._world = world
        self._origin = url.origin
        self._outgoing = _outgoing(head, body, chunked)
        self._unsent = memoryview(next(self._outgoing))
        self._all_sent = False
        expects = any(
            name.lower() == "expect" and value.lower() == "100-continue" for name, value in fields
        )
        self._body_from = world.now + CONTINUE_SECONDS if expects else 0.0
        self._parser = ResponseParser(method)
        self._client: SimClient | None = world.connect(url.origin)

    def read_head(self, until: float) -> ResponseHead:
        """The final head; those before it are in `informational`."""
        while True:
            head = self._wait(self._parser.next_head, until, "no response")
            if head.status >= 200 or head.status == 101:
                return head
            self.informational.append(head)
            self._body_from = 0.0

    def read_piece(self, until: float) -> bytes:
        """A piece of the body; b"" at its end, when the connection is given back."""
        if self._parser.complete:
            return b""
        piece = self._wait(self._parser.next_piece, until, "no more of the response's body")
        if not piece:
            self._finish()
        return piece

    @property
    def complete(self) -> bool:
        return self._parser.complete

    @property
    def trailers(self) -> Headers:
        return self._parser.trailers

    @property
    def now(self) -> float:
        return self._world.now

    def give_up(self) -> None:
        """Reset the connection, if the response is not whole yet; the server notices."""
        client, self._client = self._client, None
        if client is not None:
            self._outgoing.close()
            self._world.leave(client)

    # --- inside ----------------------------------------------------------------------------------

    def _wait(self, pull: Callable[[], T | None], until: float, what: str) -> T:
        """Returns the result of `pull` once there is one; raises what has failed in the server."""
        client = self._client
        self._world.check_open()
        if client is None:
            raise RuntimeError(f"{self.name}: this response was given up")
        try:
            with self._world.driving():
                got = self._drive(client, pull, until, what)
            self._world.raise_failures()
        except Exception:
            self.give_up()
            self._world.raise_failures()  # which is why the response is cut, or does not come
            raise
        except BaseException as error:
            if isinstance(error, Violation):
                error.add_note(f"{self.name}: {self._world.describe(client)}")
            self.give_up()
            raise
        return got

    def _drive(self, client: SimClient, pull: Callable[[], T | None], until: float, what: str) -> T:
        world = self._world
        while (got := pull()) is None:
            self._send(client)
            if self._receive(client):
                continue
            if world.now >= until:
                raise TimeoutError(
                    f"{self.name}: {what} within {self.timeout:g} simulated seconds. "
                    + world.describe(client)
                )
            if world.stuck and self._body_from <= world.now:
                raise Deadlock(
                    f"{self.name}: {what}, and nothing is due that could bring it. "
                    + world.describe(client)
                )
            world.turn(min(until, self._body_from) if self._body_from > world.now else until)
        return got

    def _send(self, client: SimClient) -> None:
        """Send as much as there is room for; nothing behind a server's FIN."""
        while not client.end:
            if not self._unsent and not self._next_unsent():
                return
            count = client.send(bytes(self._unsent[:READ_BYTES]))
            if count == 0:
                return
            self._unsent = self._unsent[count:]

    def _next_unsent(self) -> bool:
        """Whether there is more to send now."""
        if self._world.now < self._body_from:
            return False
        self._unsent = memoryview(next(self._outgoing, b""))
        self._all_sent = not self._unsent
        return not self._all_sent

    def _receive(self, client: SimClient) -> bool:
        """Feed the parser; whether there was anything."""
        if client.end:
            return False
        count = client.read()
        if count is None:
            return False
        self._parser.feed(bytes(client.received))
        client.received.clear()
        if count == 0:
            self._parser.feed_end(client.end)
        return True

    def _finish(self) -> None:
        """The response is whole: keep the connection where another request may follow."""
        client, self._client = self._client, None
        assert client is not None
        self._outgoing.close()
        if self._parser.surplus:
            self._world.leave(client)
            raise BadResponse(f"{self.name}: {self._parser.surplus} bytes follow the response")
        if self._parser.keep_alive and self._all_sent and not client.end:
            self._world.keep(self._origin, client)
        else:
            self._world.discard(client)


def _outgoing(head: bytes, body: EncodedBody, chunked: bool) -> Generator[bytes, None, None]:
    """The bytes of a request, none of them empty."""
    yield head
    if body.content:
        yield body.content
    try:
        for piece in body.pieces or ():
            if not isinstance(piece, bytes | str):
                raise TypeError(f"a piece of a body is bytes or str, not {type(piece).__name__}")
            data = piece.encode() if isinstance(piece, str) else piece
            if data:
                yield b"%x\r\n%b\r\n" % (len(data), data) if chunked else data
    finally:
        if isinstance(body.pieces, Generator):
            body.pieces.close()
    if chunked:
        yield b"0\r\n\r\n"
