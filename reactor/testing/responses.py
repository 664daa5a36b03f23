"""A response as a test looks at it: all of it, or piece by piece while the world goes on.

Content is what was sent, byte for byte: chunks are undone, since they are framing, and content
codings are not, since they are what was asked for.
"""

import codecs
import json
import re
from collections.abc import Iterator
from email.message import Message
from typing import Any, Final

from reactor.messages.headers import Headers
from reactor.simulator.response_parser import ResponseHead
from reactor.testing.cookies import Cookie, parse_set_cookie
from reactor.testing.exchange import Exchange
from reactor.testing.request_encoder import Url

LONGEST_CONTENT: Final = 256 * 1024 * 1024  # bytes of a response that `read` holds
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


class ClientResponse:
    """A response. `content` is there once it was read, which `Client.request` does by itself.

    `informational` are the interim responses before it, `history` the redirects that led to it,
    `trailers` the fields behind a chunked body. Times are in simulated seconds.
    """

    def __init__(
        self,
        exchange: Exchange,
        url: Url,
        head: ResponseHead,
        now: float,
        history: list["ClientResponse"],
    ) -> None:
        """`now` is in seconds since 1970, for the ages of cookies."""
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.head = head.raw
        self.url = str(url)
        self.history = history
        self.elapsed = exchange.now - exchange.began  # from the request to here, or to the end
        self.set_cookies: list[Cookie] = [
            cookie
            for line in head.headers.get_all("set-cookie")
            if (cookie := parse_set_cookie(line, url.host, url.path, now)) is not None
        ]
        self._exchange = exchange
        self._content: bytes | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    @property
    def status_code(self) -> int:
        """The status, under the name that other clients have for it."""
        return self.status

    @property
    def informational(self) -> list[ResponseHead]:
        """The interim responses before this one."""
        return self._exchange.informational

    @property
    def trailers(self) -> Headers:
        """The fields behind a chunked body; none before its end."""
        return self._exchange.trailers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this response sets, by name; their attributes are in `set_cookies`."""
        return {cookie.name: cookie.value for cookie in self.set_cookies}

    # --- all of it -------------------------------------------------------------------------------

    @property
    def content(self) -> bytes:
        """The body. Raises RuntimeError for a stream that was not read yet."""
        if self._content is None:
            raise RuntimeError("the content of a stream is there once it was read: `read()`")
        return self._content

    @property
    def charset(self) -> str:
        """The charset of the text, from Content-Type; UTF-8 without one."""
        message = Message()
        message["Content-Type"] = self.headers.get("content-type") or "text/plain"
        return str(message.get_content_charset() or "utf-8")

    @property
    def text(self) -> str:
        """The content as text. Raises UnicodeDecodeError, and ValueError for encoded content."""
        self._check_coding()
        return self.content.decode(self.charset)

    def json(self) -> Any:
        """The content as JSON, in UTF-8, -16 or -32. Raises ValueError."""
        self._check_coding()
        return json.loads(self.content)

    # --- piece by piece --------------------------------------------------------------------------

    def iter_bytes(self) -> Iterator[bytes]:
        """The content as it comes: a chunk, or a part of one, at a time.

        The world goes on while the next piece is waited for, up to `timeout`: then TimeoutError.
        Raises IncompleteResponse where the server has cut it.
        """
        if self._content is not None:
            raise RuntimeError("the content was read already")
        while piece := self._read_piece(self._exchange.now + self._exchange.timeout):
            yield piece

    def iter_lines(self) -> Iterator[str]:
        """The lines of the text as they come, without their ends: LF, CRLF or CR."""
        self._check_coding()
        decoder = codecs.getincrementaldecoder(self.charset)()
        rest, after_cr = "", False
        for piece in self.iter_bytes():
            text = decoder.decode(piece)
            if not text:
                continue
            if after_cr:
                text = text.removeprefix("\n")  # the LF of a CRLF between two pieces
            after_cr = text.endswith("\r")
            *lines, rest = _LINE_END.split(rest + text)
            yield from lines
        rest += decoder.decode(b"", final=True)
        if rest:
            yield rest

    def read(self) -> bytes:
        """The rest of the content, which is in `content` then. `timeout` is for all of it."""
        return self.read_until(self._exchange.now + self._exchange.timeout)

    def read_until(self, until: float) -> bytes:
        """As `read`, until this simulated time at most."""
        if self._content is None:
            pieces: list[bytes] = []
            size = 0
            while piece := self._read_piece(until):
                pieces.append(piece)
                size += len(piece)
                if size > LONGEST_CONTENT:
                    self.close()
                    raise ValueError(f"more than {LONGEST_CONTENT} bytes: use a stream")
            self._content = b"".join(pieces)
        return self._content

    @property
    def deadline(self) -> float:
        """When `timeout` is over, counted from the request, in simulated time."""
        return self._exchange.began + self._exchange.timeout

    def close(self) -> None:
        """Leave: what is not whole by now is given up by a reset, and the server notices."""
        if not self._exchange.complete:
            self._exchange.give_up()

    def _read_piece(self, until: float) -> bytes:
        piece = self._exchange.read_piece(until)
        self.elapsed = self._exchange.now - self._exchange.began
        return piece

    def _check_coding(self) -> None:
        coding = self.headers.get("content-encoding")
        if coding.lower() not in ("", "identity"):
            raise ValueError(f"this content is encoded ({coding}): decode `content` first")
