"""Any error, BaseExceptions included, costs its owner: a 500 or a cut response, and a log record.

The places are those at which the server calls the code of a program.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from reactor import Cancelled, Response, Trailed, compress, events, gather, in_pool, sleep, timeout
from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.group import Group
from reactor.web.app.responses import stream
from reactor.web.endpoint import Middleware, before_only, may_wait
from tests.support.app_parts import served


class Outcome(BaseException):
    """As pytest.fail raises it."""


ERRORS = [asyncio.CancelledError, SystemExit, GeneratorExit, Outcome, Cancelled, KeyboardInterrupt]
Raise = Callable[[], Any]


@pytest.fixture(autouse=True)
def own_signal_handler() -> Iterator[None]:
    """As under `serve`, which replaces Python's own handler of SIGINT."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=ERRORS, ids=lambda error: error.__name__)
def fail(request: pytest.FixtureRequest) -> Raise:
    def fail() -> Any:
        raise request.param("as the test wants it")

    return fail


# --- endpoints, middlewares, error handlers: 500 -------------------------------------------------

Place = Callable[[Application, Raise], None]


def plain(app: Application, fail: Raise) -> None:
    app.add("GET", "/fails", lambda request: fail())


def asynchronous(app: Application, fail: Raise) -> None:
    async def endpoint(request: Any) -> Any:
        return fail()

    app.add("GET", "/fails", endpoint)


def after_an_await(app: Application, fail: Raise) -> None:
    async def endpoint(request: Any) -> Any:
        await sleep(1)
        return fail()

    app.add("GET", "/fails", endpoint)


def one_that_may_wait(app: Application, fail: Raise) -> None:
    async def later() -> Any:
        await sleep(1)
        return fail()

    app.add("GET", "/fails", may_wait(lambda request: later()))


def real_asyncio(app: Application, fail: Raise) -> None:
    """As in the wild: a task that was cancelled, awaited in `asyncio.run`."""

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        await task

    app.add("GET", "/fails", lambda request: asyncio.run(main()))


def a_plain_middleware(app: Application, fail: Raise) -> None:
    group = Group("/fails", lambda request, next: fail())
    group.add("GET", "", lambda request: "x")
    app.include(group)


def a_before_only_middleware(app: Application, fail: Raise) -> None:
    group = Group("/fails", before_only(lambda request, next: fail()))
    group.add("GET", "", lambda request: "x")
    app.include(group)


def an_asynchronous_middleware(app: Application, fail: Raise) -> None:
    async def middleware(request: Any, next: Any) -> Any:
        await next(request)
        return fail()

    group = Group("/fails", middleware)
    group.add("GET", "", lambda request: "x")
    app.include(group)


def a_before_hook(app: Application, fail: Raise) -> None:
    class Hook(Middleware):
        def before(self, request: Any) -> Any:
            return fail()

    group = Group("/fails", Hook())
    group.add("GET", "", lambda request: "x")
    app.include(group)


def an_after_hook(app: Application, fail: Raise) -> None:
    class Hook(Middleware):
        def after(self, request: Any, response: Any) -> Any:
            return fail()

    group = Group("/fails", Hook())
    group.add("GET", "", lambda request: "x")
    app.include(group)


def an_asynchronous_after_hook(app: Application, fail: Raise) -> None:
    class Hook(Middleware):
        async def after(self, request: Any, response: Any) -> Any:
            await sleep(1)
            return fail()

    group = Group("/fails", Hook())
    group.add("GET", "", lambda request: "x")
    app.include(group)


def an_error_handler(app: Application, fail: Raise) -> None:
    def endpoint(request: Any) -> Any:
        raise LookupError

    app.add("GET", "/fails", endpoint)
    app.error(LookupError)(lambda request, error: fail())


def a_handler_of_404(app: Application, fail: Raise) -> None:
    app.error(404)(lambda request, error: fail())


def a_converter(app: Application, fail: Raise) -> None:
    app.converter("odd", lambda text: fail())
    app.add("GET", "/{name:odd}", lambda request, name: "x")


def a_result_that_cannot_be_made(app: Application, fail: Raise) -> None:
    class Odd(dict[str, str]):
        def items(self) -> Any:
            return fail()

    app.add("GET", "/fails", lambda request: (200, "x", Odd(a="b")))


def an_operation(app: Application, fail: Raise) -> None:
    class Odd:
        def start(self, runtime: Any) -> Any:
            return fail()

        def __await__(self) -> Any:
            return (yield self).result()

    async def endpoint(request: Any) -> Any:
        return await Odd()

    app.add("GET", "/fails", endpoint)


def what_an_operation_passes_through(app: Application, fail: Raise) -> None:
    async def endpoint(request: Any) -> Any:
        return await sleep(1).then(lambda _: fail())

    app.add("GET", "/fails", endpoint)


def a_job(app: Application, fail: Raise) -> None:
    async def endpoint(request: Any) -> Any:
        return await in_pool(fail)

    app.add("GET", "/fails", endpoint)


def a_child(app: Application, fail: Raise) -> None:
    async def child() -> None:
        await sleep(1)
        fail()

    async def endpoint(request: Any) -> Any:
        await gather(child(), sleep(2))

    app.add("GET", "/fails", endpoint)


def a_child_with_a_timeout(app: Application, fail: Raise) -> None:
    async def child() -> None:
        await sleep(1)
        fail()

    async def endpoint(request: Any) -> Any:
        await timeout(5, child())

    app.add("GET", "/fails", endpoint)


def a_mounted_handler(app: Application, fail: Raise) -> None:
    app.mount("/fails", lambda request: fail())


PLACES: list[Place] = [
    *(plain, asynchronous, after_an_await, one_that_may_wait, real_asyncio),
    *(a_plain_middleware, a_before_only_middleware, an_asynchronous_middleware),
    *(a_before_hook, an_after_hook, an_asynchronous_after_hook),
    *(an_error_handler, a_handler_of_404, a_converter, a_result_that_cannot_be_made),
    *(an_operation, what_an_operation_passes_through, a_job, a_child, a_child_with_a_timeout),
    a_mounted_handler,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_an_error_before_the_response_is_500(
    place: Place, fail: Raise, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application()
    app.add("GET", "/well", lambda request: "well")
    place(app, fail)
    with served(app) as client:
        response = client.get("/fails")
        assert (response.status, client.get("/well").status) == (500, 200)
        assert response.text == "The server failed to process this request.\n"
    assert [record for record in caplog.records if record.exc_info], "a traceback in the log"
    assert not [record for record in caplog.records if "in the loop" in record.getMessage()]


def test_the_500_of_the_application_and_its_hooks_take_part(fail: Raise) -> None:
    class Stamp(Middleware):
        def after(self, request: Any, response: Response) -> Response:
            return response.with_headers(("X-Stamp", "seen"))

    app = Application(Stamp())
    seen: list[BaseException] = []

    @app.error(Exception)
    def failed(request: Any, error: BaseException) -> Any:
        seen.append(error)
        return 500, "oops"

    plain(app, fail)
    with served(app) as client:
        response = client.get("/fails")
    assert (response.status, response.text, response.headers["X-Stamp"]) == (500, "oops", "seen")
    assert len(seen) == 1


def test_a_debug_page_shows_it(fail: Raise) -> None:
    app = Application()
    app.debug = True
    after_an_await(app, fail)
    with served(app) as client:
        response = client.get("/fails", headers={"Accept": "text/html"})
    cancelling = (Cancelled, GeneratorExit)
    try:
        fail()
    except cancelling:
        assert response.status == 500  # they pass all of the application
    except BaseException:
        assert "as the test wants it" in response.text


# --- bodies: the response is cut -----------------------------------------------------------------


def an_iterator(fail: Raise) -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        fail()

    return Response(200, pieces())


def an_asynchronous_iterator(fail: Raise) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await sleep(1)
        fail()

    return Response(200, pieces())


def an_asynchronous_iterator_without_a_wait(fail: Raise) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        fail()

    return Response(200, pieces())


def the_first_piece(fail: Raise) -> Response:
    return Response(200, (fail() for _ in [1]))


def a_stream(fail: Raise) -> Response:
    return stream("first" if number else fail() for number in [1, 0])


def trailers(fail: Raise) -> Response:
    return Response(200, Trailed(iter([b"first"]), fail))


def a_close(fail: Raise) -> Response:
    class Pieces:
        def __iter__(self) -> "Pieces":
            return self

        def __next__(self) -> bytes:
            raise ValueError("as the test wants it")

        def close(self) -> None:
            fail()

    return Response(200, Pieces())


def an_asynchronous_close(fail: Raise) -> Response:
    class Pieces:
        def __aiter__(self) -> "Pieces":
            return self

        async def __anext__(self) -> bytes:
            raise ValueError("as the test wants it")

        async def aclose(self) -> None:
            await sleep(0.1)
            fail()

    return Response(200, Pieces())


def server_sent_events(fail: Raise) -> Response:
    async def source() -> AsyncIterator[str]:
        yield "first"
        await sleep(1)
        fail()

    return events(source())


BODIES = [
    *(an_iterator, an_asynchronous_iterator, an_asynchronous_iterator_without_a_wait),
    *(a_stream, trailers, server_sent_events),
]
# These fail before their first piece, when the head has not left.
BODIES_WITHOUT_A_PIECE = [the_first_piece, a_close, an_asynchronous_close]


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_an_error_of_a_body_cuts_the_response(
    body: Callable[[Raise], Response], fail: Raise, encoded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: BaseRequest) -> Any:
        if request.target == "/well":
            return Response(200, b"well")
        response = body(fail).with_headers(("Content-Type", "text/plain"))
        return compress(request, response) if encoded else response

    with Client(handler, raise_server_exceptions=False) as client:
        with pytest.raises((ConnectionError, EOFError, TimeoutError, OSError)):
            client.get("/fails", headers={"TE": "trailers", "Accept-Encoding": "gzip"})
        assert client.get("/well").text == "well"
    assert [record for record in caplog.records if record.exc_info], "a traceback in the log"
    assert not [record for record in caplog.records if "in the loop" in record.getMessage()]


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("body", BODIES_WITHOUT_A_PIECE, ids=lambda body: body.__name__)
def test_an_error_before_the_first_piece_is_a_500(
    body: Callable[[Raise], Response], fail: Raise, encoded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: BaseRequest) -> Any:
        response = body(fail).with_headers(("Content-Type", "text/plain"))
        return compress(request, response) if encoded else response

    with Client(handler, raise_server_exceptions=False) as client:
        for _ in range(2):
            assert client.get("/", headers={"Accept-Encoding": "gzip"}).status == 500
    assert [record for record in caplog.records if record.exc_info], "a traceback in the log"
    assert not [record for record in caplog.records if "in the loop" in record.getMessage()]


def test_a_body_that_is_not_sent_may_fail_to_close(fail: Raise) -> None:
    def handler(request: BaseRequest) -> Response:
        return a_close(fail) if request.target == "/close" else an_asynchronous_close(fail)

    with Client(handler, raise_server_exceptions=False) as client:
        for target in ("/close", "/aclose"):
            assert client.head(target).status == 500  # as that of a GET
            assert client.head(target).status == 500


def test_a_protocol_error_keeps_its_status() -> None:
    def handler(request: BaseRequest) -> Response:
        raise ProtocolError(418, "A teapot.")

    with Client(handler) as client:
        assert client.get("/").status == 418


def test_a_record_that_cannot_be_formatted_costs_nothing(
    fail: Raise, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(BaseException):
        def __str__(self) -> str:
            return str(fail())

        __repr__ = __str__

    def handler(request: BaseRequest) -> Response:
        raise Odd

    with Client(handler, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert logging.getLogger("reactor").isEnabledFor(logging.ERROR)
