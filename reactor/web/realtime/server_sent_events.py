"""Server-sent events: a stream of small messages to a browser (WHATWG HTML, section 9.2).

An event is a few lines of UTF-8 and an empty one. Its fields are checked when it is made, so that
no data can pass for another field or another event, and it is encoded once, however many clients it
is sent to. A stream is pulled as its client reads. A silent stream sends a comment from time to
time, so that neither the client nor a proxy takes it for dead; the pending step of the source goes
on meanwhile (see reactor/tasks/heartbeat.py).

No stream here is a generator: a generator that was never begun skips its `finally`, and a source
may be a subscription. Closing a stream closes its source.
"""

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from math import inf
from typing import Any, Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response, close_pieces
from reactor.protocol.response_encoder import FieldBlock
from reactor.tasks.heartbeat import Heartbeat
from reactor.web.streams import BodyStream, close_source

HEARTBEAT_SECONDS: Final = 15.0  # for proxies that close silent connections (section 9.2.7)

_LINE_END: Final = re.compile("\r\n|\n|\r")  # and no others: str.splitlines splits at many more
_RULES: Final = {
    "event": (re.compile("[^\r\n]*"), "must not have a line end"),
    # An id comes back in a header field, which has no controls, and no spaces at its ends.
    "id": (
        re.compile("(?! )[^\0-\x1f\x7f]*(?<! )"),
        "must not have control characters, nor spaces at its ends",
    ),
}
_HEARTBEAT: Final = b":\n\n"
_FIELDS: Final = FieldBlock(
    (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-cache"),
        ("X-Accel-Buffering", "no"),  # nginx would hold events back until its buffer is full
    )
)


class Event:
    """One event, encoded once for any number of clients.

        Event({"price": 7}, event="trade", id="42")

    `encoded` are its bytes, `id` is its id or None.
    """

    __slots__ = ("encoded", "id")

    def __init__(
        self,
        data: Any = None,
        event: str | None = None,
        id: str | None = None,  # noqa: A002  # the field's name
        retry: int | None = None,
    ) -> None:
        """`data` is text, whose line ends all arrive as LF, or a value that is sent as JSON.

        `event` is the type, "message" if None. `id` is sent back by a client that reconnects, as
        Last-Event-ID; "" clears it. `retry` is the time after which a client reconnects, in
        milliseconds. A page does not see an event whose data is None, but its `id` and `retry`
        count.

        Raises ValueError for a line end in `event`, a control character in `id` or a space at its
        ends, a negative `retry`, and data that JSON or UTF-8 cannot have; TypeError for data that
        is not JSON, and for other types of the rest.
        """
        lines = []
        if event is not None:
            lines.append(f"event: {_checked('event', event)}\n")
        if id is not None:
            lines.append(f"id: {_checked('id', id)}\n")
        if retry is not None:
            lines.append(f"retry: {_checked_retry(retry)}\n")
        if data is not None:
            text = data if isinstance(data, str) else _json(data)
            lines.extend(f"data: {line}\n" for line in _LINE_END.split(text))
        lines.append("\n")
        self.id = id
        self.encoded = "".join(lines).encode()

    def __repr__(self) -> str:
        return f"<Event {self.encoded!r}>"


Item: TypeAlias = Event | str | dict[str, Any]
Source: TypeAlias = AsyncIterable[Item] | Iterable[Item]


def events(
    source: Source,
    *,
    heartbeat: float = HEARTBEAT_SECONDS,
    retry: int | None = None,
    ends: bool = False,
) -> Response:
    """A response that streams the items of a source as server-sent events.

        @app.get("/news")
        def listen(request):
            return events(news.subscribe())  # news is a Broadcast

    `source` is an iterable or asynchronous iterable of Event, text, or dict (sent as JSON). After
    `heartbeat` seconds without an event a comment is sent (never if 0); the source does not notice.
    `retry`, the time after which a client reconnects in milliseconds, is sent first. `ends`: the
    source has an end that its clients wait for, as the progress of a job has, so that a server that
    drains waits for it up to `Limits.shutdown_timeout`. Any other stream ends then at once. The
    head is sent at once, also where the source waits for its first event; an error that it raises
    before it waits for anything makes the response. The source is closed when the stream ends: when
    the source ends, when it raises an error, which cuts the stream, or when the client leaves. A
    plain iterator runs on the loop and must not block; a source that waits is asynchronous.

    Raises ValueError for a negative `heartbeat` or `retry`, TypeError for another `source`.
    """
    if not heartbeat >= 0:
        raise ValueError(f"heartbeat must be 0 seconds or more, not {heartbeat!r}")
    first = b"" if retry is None else Event(retry=retry).encoded
    if isinstance(source, str | bytes | dict):
        raise TypeError(
            f"a source must be an iterable of events, text or dicts, not {type(source).__name__}"
        )
    if isinstance(source, AsyncIterable):
        return Response(200, _AsyncEventStream(aiter(source), heartbeat, first, ends), _FIELDS)
    return Response(200, _EventStream(iter(source), first), _FIELDS)


def last_event_id(request: BaseRequest) -> str:
    """The id of the last event that a reconnecting client received, from Last-Event-ID; or "".

    Raises ProtocolError (400) for bytes that are not UTF-8.
    """
    try:
        return request.headers.get("last-event-id").encode("latin-1").decode()
    except UnicodeDecodeError:
        raise ProtocolError(400, "Last-Event-ID is not UTF-8.") from None


class _AsyncEventStream(BodyStream):
    """The bytes of the items of an asynchronous source, and heartbeats."""

    begins_at_once = True

    def __init__(
        self, source: AsyncIterator[Item], heartbeat: float, first: bytes, ends: bool
    ) -> None:
        self._source = source
        self._heartbeat: Heartbeat[Item] = Heartbeat(source, heartbeat or inf, is_endless=not ends)
        self._first: bytes | None = first

    async def next_piece(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            # A client hears of a stream that is silent at first: the head is sent with this piece.
            item = await self._heartbeat.at_once()
            return first if item is None else first + _encoded(item)
        item = await anext(self._heartbeat)
        return _HEARTBEAT if item is None else _encoded(item)

    async def aclose(self) -> None:
        await self._heartbeat.aclose()
        await close_source(self._source)


class _EventStream(Iterator[bytes]):
    """The bytes of the items of a plain source."""

    def __init__(self, source: Iterator[Item], first: bytes) -> None:
        self._source = source
        self._first = first

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        try:
            return first + _encoded(next(self._source))
        except StopIteration:
            if first:
                return first
            raise

    def close(self) -> None:
        close_pieces(self._source)


def _encoded(item: Item) -> bytes:
    if isinstance(item, Event):
        return item.encoded
    if isinstance(item, str | dict):
        return Event(item).encoded
    raise TypeError(f"a source must yield Event, text or dict, not {type(item).__name__}")


def _checked(field: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field} must be text, not {type(value).__name__}")
    pattern, rule = _RULES[field]
    if not pattern.fullmatch(value):
        raise ValueError(f"{field} {rule}: {value!r}")
    return value


def _checked_retry(retry: int) -> int:
    if not isinstance(retry, int) or isinstance(retry, bool):  # seconds would be a float
        raise TypeError(f"retry must be an int, in milliseconds, not {retry!r}")
    if retry < 0:
        raise ValueError(f"retry must be 0 milliseconds or more, not {retry}")
    return retry


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
