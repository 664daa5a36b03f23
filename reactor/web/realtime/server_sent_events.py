"""Server-sent events: a stream of small messages that a browser listens to (WHATWG HTML, 9.2).

An event is a few lines of UTF-8 and an empty one. What goes into it is checked when it is made, so
that no data can pass for another field or another event, and encoded once, however many clients it
is sent to. A stream is pulled as its client reads; one that falls silent says so with a comment,
which costs the pending event nothing (see reactor/tasks/heartbeat.py), so that neither the client
nor what lies between takes it for dead.

Nothing here is a generator: one that was never begun leaves out its `finally`, and a source may be
somebody's subscription. Whoever closes the stream closes its source.
"""

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Final, TypeAlias

from reactor.errors import ProtocolError
from reactor.messages.request import Request
from reactor.messages.response import Response, close_pieces
from reactor.protocol.response_encoder import FieldBlock
from reactor.tasks.heartbeat import Heartbeat
from reactor.web.streams import BodyStream, close_source

HEARTBEAT_SECONDS: Final = 15.0  # as section 9.2.7 has it, for proxies that give up what is silent

_LINE_END: Final = re.compile("\r\n|\n|\r")  # and no other: str.splitlines knows many more
_NAME: Final = re.compile("[^\r\n]*")
# It comes back in a header field, where controls are refused and spaces at its ends are lost.
_ID: Final = re.compile("(?! )[^\0-\x1f\x7f]*(?<! )")
_HEARTBEAT: Final = b":\n\n"
_FIELDS: Final = FieldBlock(
    (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-cache"),
        ("X-Accel-Buffering", "no"),  # nginx would hold events until it has a buffer full of them
    )
)


class Event:
    """One event; its bytes are in `encoded`, and may be sent to any number of clients."""

    __slots__ = ("encoded", "id")

    def __init__(
        self,
        data: Any = None,
        event: str | None = None,
        id: str | None = None,  # noqa: A002  # the field's name
        retry: int | None = None,
    ) -> None:
        """`data` is text, of which each line end arrives as LF, or becomes JSON; None: no data.

        `event` is its type ("message" if None), `id` what the client sends as Last-Event-ID when it
        comes back ("": nothing), and `retry` after how many milliseconds it does. An event without
        data is not shown to the page, but its id and retry count.

        Raises ValueError for a line end in `event`, a control character in `id` or a space at its
        ends, a negative `retry`, and what JSON or UTF-8 cannot say; TypeError for another type.
        """
        lines = []
        if event is not None:
            lines.append(f"event: {_checked('event', event, _NAME)}\n")
        if id is not None:
            lines.append(f"id: {_checked('id', id, _ID)}\n")
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
    source: Source, *, heartbeat: float = HEARTBEAT_SECONDS, retry: int | None = None
) -> Response:
    """A stream of what the source gives: events, text, or dicts, which are sent as JSON.

    After `heartbeat` seconds without an event a comment is sent (0: never); the source is not
    disturbed. `retry`, in milliseconds, is told first. The source is closed when the stream ends:
    when it is used up, or fails, which cuts the stream, or when the client leaves. A plain iterator
    is stepped on the loop and must not block; a source that waits is asynchronous.

    Raises ValueError for a negative `heartbeat` or `retry`, TypeError for what is no source.
    """
    if not heartbeat >= 0:
        raise ValueError(f"a heartbeat comes after 0 seconds or more, not {heartbeat!r}")
    first = b"" if retry is None else Event(retry=retry).encoded
    if isinstance(source, str | bytes | dict):
        raise TypeError(f"a source of events gives them one by one, not {type(source).__name__}")
    if isinstance(source, AsyncIterable):
        return Response(200, _Awaited(aiter(source), heartbeat, first), _FIELDS)
    return Response(200, _Iterated(iter(source), first), _FIELDS)


def last_event_id(request: Request) -> str:
    """The id of the last event that the client has got before it came back; "" if none.

    Raises ProtocolError(400) for what is no UTF-8.
    """
    try:
        return request.headers.get("last-event-id").encode("latin-1").decode()
    except UnicodeDecodeError:
        raise ProtocolError(400, "Last-Event-ID is not UTF-8.") from None


class _Awaited(BodyStream):
    """The bytes of what an asynchronous source gives, and heartbeats."""

    def __init__(self, source: AsyncIterator[Item], heartbeat: float, first: bytes) -> None:
        self._source = source
        self._ticking = Heartbeat(source, heartbeat) if heartbeat else None
        self._first = first

    async def next_piece(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._ticking is None:
            return _encoded(await anext(self._source))
        item = await anext(self._ticking)
        return _HEARTBEAT if item is None else _encoded(item)

    async def aclose(self) -> None:
        if self._ticking is not None:
            await self._ticking.aclose()
        await close_source(self._source)


class _Iterated(Iterator[bytes]):
    """The bytes of what a plain source gives."""

    def __init__(self, source: Iterator[Item], first: bytes) -> None:
        self._source = source
        self._first = first

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return _encoded(next(self._source))

    def close(self) -> None:
        close_pieces(self._source)


def _encoded(item: Item) -> bytes:
    if isinstance(item, Event):
        return item.encoded
    if isinstance(item, str | dict):
        return Event(item).encoded
    raise TypeError(f"an event is an Event, text or a dict, not {type(item).__name__}")


def _checked(field: str, value: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an event's {field} is text, not {type(value).__name__}")
    if not pattern.fullmatch(value):
        raise ValueError(f"this cannot be an event's {field}: {value!r}")
    return value


def _checked_retry(retry: int) -> int:
    if not isinstance(retry, int) or isinstance(retry, bool):  # seconds would be a float
        raise TypeError(f"retry is a whole number of milliseconds, not {retry!r}")
    if retry < 0:
        raise ValueError(f"retry is 0 milliseconds or more, not {retry}")
    return retry


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
