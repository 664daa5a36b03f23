"""An event stream in a real browser: the events of its page, and its reconnects."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from reactor import Response, sleep
from reactor.messages.request import BaseRequest
from reactor.web.compression.responses import compress
from reactor.web.realtime.server_sent_events import Event, events, last_event_id
from tests.conftest import Serve
from tests.support.chromium import PROGRAM, Browser, Page

pytestmark = pytest.mark.system

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on the PATH")

PAGE = b"""<!doctype html><title>listening</title><link rel="icon" href="data:,"><script>
const heard = [];
const source = new EventSource("/events");
const note = event => heard.push([event.type, event.data, event.lastEventId]);
source.onmessage = note;
source.addEventListener("tick", note);
</script>"""


@pytest.fixture
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    page = browser.open()
    yield page
    page.close()
    browser.close()


@pytest.mark.plain
@pytest.mark.parametrize("gzip", [True, False])
def test_a_page_receives_all_events_and_resumes(serve: Serve, page: Page, gzip: bool) -> None:
    """The first stream ends behind its second event; the next one continues there."""
    asked: list[str] = []

    async def news(since: str) -> AsyncIterator[Any]:
        if not since:
            yield "two\nlines"
            await sleep(0.2)  # two heartbeats
            yield Event({"n": 1}, event="tick", id="ü1")
        else:
            yield Event(f"since {since}", id="2")
            await sleep(1000)

    def handle(request: BaseRequest) -> Any:
        if request.path != "/events":
            return Response(200, PAGE, [("Content-Type", "text/html")])
        asked.append(last_event_id(request))
        response = events(news(asked[-1]), heartbeat=0.08, retry=50)
        return compress(request, response) if gzip else response

    running = serve(handle)
    page.go(f"http://127.0.0.1:{running.address[1]}/")
    page.wait_until("heard.length == 3")
    assert page.evaluate("heard") == [
        ["message", "two\nlines", ""],
        ["tick", '{"n":1}', "ü1"],
        ["message", "since ü1", "2"],
    ]
    assert asked == ["", "ü1"]
