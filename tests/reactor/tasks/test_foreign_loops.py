"""asyncio in a handler: the error says what to use instead, in the log and on the debug page."""

import asyncio
import logging
import re
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import reduce
from types import CodeType
from typing import Any

import pytest

import reactor
from reactor import Application, Request
from reactor.tasks.foreign_loops import EQUIVALENTS, LIBRARIES, explain
from reactor.testing import Client
from tests.support.paths import ROOT

Call = Callable[[], Awaitable[Any]]


async def nothing() -> None:
    pass


async def timeout() -> None:
    async with asyncio.timeout(1):
        pass


async def task_group() -> None:
    async with asyncio.TaskGroup():
        pass


async def create_task() -> None:
    coroutine = nothing()
    try:
        await asyncio.create_task(coroutine)
    finally:
        coroutine.close()


async def gather() -> None:
    coroutine = nothing()
    try:
        await asyncio.gather(coroutine)
    finally:
        coroutine.close()


async def wait_for() -> None:
    coroutine = nothing()
    try:
        await asyncio.wait_for(coroutine, 1)
    finally:
        coroutine.close()


async def lock() -> None:
    one = asyncio.Lock()
    await one.acquire()
    await one.acquire()


async def running_loop() -> None:
    asyncio.get_running_loop()


async def future() -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()
    finally:
        loop.close()


CALLS: dict[str, tuple[Call, str]] = {
    "sleep": (lambda: asyncio.sleep(1), "reactor.sleep"),
    "sleep 0": (lambda: asyncio.sleep(0), "reactor.sleep"),
    "to_thread": (lambda: asyncio.to_thread(len, ""), "reactor.in_pool"),
    "gather": (gather, "reactor.gather"),
    "wait_for": (wait_for, "reactor.timeout"),
    "timeout": (timeout, "reactor.timeout"),
    "TaskGroup": (task_group, "reactor.gather"),
    "create_task": (create_task, "reactor.gather"),
    "Queue": (lambda: asyncio.Queue[int]().get(), "reactor.Broadcast"),
    "Event": (lambda: asyncio.Event().wait(), "reactor.Future"),
    "Lock": (lock, "reactor.WeightedSemaphore"),
    "get_running_loop": (running_loop, "reactor.sleep"),
    "open_connection": (lambda: asyncio.open_connection("localhost", 1), "reactor.in_pool"),
    "Future": (future, "reactor.Future"),
}


@pytest.fixture(autouse=True)
def _no_loop() -> Iterator[None]:
    """Python warns of `gather` without a loop, and may make one for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("nested", [False, True])
def test_the_error_names_the_call_and_its_equivalent(
    name: str, nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    call, use = CALLS[name]
    app = Application()
    app.debug = True

    @app.get("/")
    async def endpoint(request: Request) -> str:
        if nested:
            await reactor.gather(reactor.timeout(100, waiting()))
        await call()
        return "never"

    async def waiting() -> None:
        await call()

    caplog.set_level(logging.ERROR)
    with Client(app, raise_server_exceptions=False) as client:
        page = client.get("/", headers={"accept": "text/html"})
    assert page.status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    (note,) = record.exc_info[1].__notes__
    assert f"asyncio.{name.partition(' ')[0]} was used in " in note
    assert f"{__file__}, line " in note
    assert "reactor's own" in note
    assert use in note
    assert note[:40] in page.text
    assert note in caplog.text


@pytest.mark.parametrize("name", CALLS)
def test_the_error_in_an_asynchronous_generator(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is awaited by way of an object that hides the generator."""
    call, use = CALLS[name]
    app = Application()

    async def inner() -> AsyncIterator[str]:
        await call()
        yield "never"

    @app.get("/")
    async def endpoint(request: Request) -> AsyncIterator[str]:
        async for piece in inner():
            yield piece

    with Client(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is not None
    (note,) = record.exc_info[1].__notes__
    assert f"asyncio.{name.partition(' ')[0]} was used in " in note
    assert f"{__file__}, line " in note
    assert use in note


def test_a_plain_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    app = Application()

    @app.get("/")
    def endpoint(request: Request) -> str:
        coroutine = nothing()
        try:
            asyncio.create_task(coroutine)  # noqa: RUF006
        finally:
            coroutine.close()
        return "never"

    with Client(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert "asyncio.create_task was used in" in caplog.text
    assert "reactor.Request.after" in caplog.text


def test_a_handler_without_an_application(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any) -> Any:
        await asyncio.sleep(1)

    with Client(handler, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert "`await reactor.sleep(seconds)`" in caplog.text


def library(source: str) -> dict[str, Any]:
    """The names of a module of a package that somebody has installed."""
    code: CodeType = compile(source, "/usr/lib/python3/site-packages/fetcher/client.py", "exec")
    names: dict[str, Any] = {"__name__": "fetcher.client"}
    exec(code, names)
    return names


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasync def get():\n    await asyncio.sleep(1)",
        "import asyncio\nasync def get():\n    asyncio.get_running_loop()",
        "class AsyncLibraryNotFoundError(RuntimeError): pass\n"
        "async def get():\n    raise AsyncLibraryNotFoundError('unknown async library')",
    ],
)
def test_a_library_on_asyncio_is_named(source: str, caplog: pytest.LogCaptureFixture) -> None:
    get = library(source)["get"]
    app = Application()

    @app.get("/")
    async def endpoint(request: Request) -> str:
        await get()
        return "never"

    with Client(app, raise_server_exceptions=False) as client:
        assert client.get("/").status == 500
    assert "fetcher was called in" in caplog.text
    assert f"{__file__}, line " in caplog.text
    assert LIBRARIES in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("something else"),
        AttributeError("'NoneType' object has no attribute 'create'"),
        ValueError("no running event loop"),
        TimeoutError(),
    ],
)
def test_other_errors_get_no_note(error: BaseException) -> None:
    explain(error)
    assert not hasattr(error, "__notes__")


def test_an_error_whose_text_fails() -> None:
    class Broken(RuntimeError):
        def __str__(self) -> str:
            raise KeyError

    explain(Broken())


def test_a_note_is_added_once() -> None:
    error = RuntimeError("no running event loop")
    explain(error)
    explain(error)
    assert len(error.__notes__) == 1


# --- the table of the docs -----------------------------------------------------------------------


def test_every_name_exists() -> None:
    uses = [*EQUIVALENTS.values(), LIBRARIES]
    names = {name for use in uses for name in re.findall(r"reactor((?:\.\w+)+)", use)}
    assert len(names) >= 10
    for name in names:
        assert reduce(getattr, name[1:].split("."), reactor), name
    loop_methods = {"run_in_executor", "create_future", "create_connection"}
    for name in {name for names in EQUIVALENTS for name in names} - loop_methods:
        assert hasattr(asyncio, name), name


def test_the_docs_have_the_table() -> None:
    page = (ROOT / "docs/streaming.md").read_text()
    for names, use in EQUIVALENTS.items():
        assert f"| {', '.join(f'`{name}`' for name in names)} | {use} |\n" in page
    assert f"| a library on asyncio | {LIBRARIES} |\n" in page
