"""GET /news: server-sent events, one a second for as long as the client listens.

    curl -N http://127.0.0.1:4221/news

A client that comes back sends the id of the last event that it has seen, and goes on after it.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from reactor import Event, Request, Response, events, last_event_id, sleep


def news(request: Request) -> Response:
    """The time of day, numbered; a browser's EventSource reads it."""
    seen = last_event_id(request)
    return events(ticks(int(seen) if seen.isascii() and seen.isdigit() else 0), heartbeat=15)


async def ticks(number: int) -> AsyncIterator[Event]:
    """Events after that number. Cancelled when the client leaves."""
    while True:
        number += 1
        time = datetime.now(UTC).isoformat(timespec="seconds")
        yield Event({"number": number, "time": time}, event="tick", id=str(number))
        await sleep(1)
