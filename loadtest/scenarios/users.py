"""Users that send a request and read the response: a closed loop, in which each user waits.

A user is a greenlet with connections of its own. Its weight is its share of all users; its tags
select the tasks that run with `--tags` and `--exclude-tags`. Every body is checked: a fast wrong
response is a failure. Requests are named after the path without its query, so the table stays
short.
"""

import random
from typing import Any, Final

from locust import FastHttpUser, between, constant, tag, task
from locust.contrib.fasthttp import ResponseContextManager

from loadtest.scenarios import checks

BLOCK_MILLISECONDS: Final = 20
BURN_MILLISECONDS: Final = 50
UPLOAD_SIZES: Final = (0, 100, 4 * 1024, 64 * 1024, 1024 * 1024)  # bytes
UPLOAD_BODY: Final = random.Random(1).randbytes(max(UPLOAD_SIZES))


class Visitor(FastHttpUser):
    """The base of all users."""

    abstract = True
    network_timeout = 30.0  # seconds
    connection_timeout = 10.0  # seconds

    def body_of(self, response: ResponseContextManager) -> bytes | None:
        """The body; None without a response or with another status than 200, which is reported."""
        if response.status_code == 503:
            response.failure(checks.Refused("503"))
        elif response.status_code == 200:
            return response.content or b""
        elif response.status_code:
            response.failure(checks.Wrong(f"status {response.status_code}"))
        return None

    def judge(self, response: ResponseContextManager, wrong: str) -> None:
        """Report a failure where a check returned a text."""
        if wrong:
            response.failure(checks.Wrong(wrong))

    def ask_for_hello(self, path: str) -> None:
        """Request a path whose response is that of /hello."""
        name = path.partition("?")[0]
        with self.client.get(path, name=name, catch_response=True) as response:
            if (body := self.body_of(response)) is not None:
                self.judge(response, checks.of_hello(body))


class Hello(Visitor):
    """Requests the smallest response, ten times a second."""

    weight = 3
    wait_time = constant(0.1)

    @tag("hello", "quick")
    @task
    def hello(self) -> None:
        self.ask_for_hello("/hello")


class Browser(Visitor):
    """Reads a page with its text and files, and pauses; its next visit has conditional requests."""

    weight = 10
    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        self.known: dict[str, str] = {}  # tags of files, by path

    @tag("browse", "page", "files")
    @task(4)
    def visit(self) -> None:
        self._page()
        self._text()
        self._file(checks.SMALL)
        self._file(checks.LARGE)

    @tag("browse", "page")
    @task(1)
    def read(self) -> None:
        self._page()

    def _page(self) -> None:
        with self.client.get("/page", catch_response=True) as response:
            if (body := self.body_of(response)) is not None:
                self.judge(response, checks.of_page(body))

    def _text(self) -> None:
        fields = {"Accept-Encoding": "gzip"}
        with self.client.get("/text", headers=fields, catch_response=True) as response:
            if (body := self.body_of(response)) is not None:
                packed = response.headers is not None and "content-encoding" in response.headers
                self.judge(response, checks.of_text(body) if packed else "it is not compressed")

    def _file(self, path: str) -> None:
        known = self.known.get(path)
        fields = {"If-None-Match": known} if known else {}
        name = f"{path} again" if known else path
        with self.client.get(path, name=name, headers=fields, catch_response=True) as response:
            if known and response.status_code == 304:
                self.judge(response, checks.of_nothing(response.content or b""))
            elif (body := self.body_of(response)) is not None:
                self.known[path] = str((response.headers or {}).get("etag", ""))
                again = bool(known) and self.known[path] == known
                self.judge(response, "the same again" if again else checks.of_file(path, body))


class Uploader(Visitor):
    """Sends bodies of 0 bytes to 1 MiB, and checks the length that comes back."""

    weight = 2
    wait_time = between(0.2, 1.0)

    @tag("upload")
    @task
    def upload(self) -> None:
        size = random.choice(UPLOAD_SIZES)
        data: Any = UPLOAD_BODY[:size]  # it says text, and sends bytes as they are
        with self.client.post("/upload", data=data, catch_response=True) as response:
            if (body := self.body_of(response)) is not None:
                right = body.strip() == str(size).encode()
                self.judge(response, "" if right else f"{body!r} instead of {size}")


class Blocking(Visitor):
    """Makes the server's thread wait, as a handler on a loop should never do."""

    weight = 1
    wait_time = constant(1.0)

    @tag("harmful", "block")
    @task
    def block(self) -> None:
        self.ask_for_hello(f"/block?ms={BLOCK_MILLISECONDS}")


class Burning(Visitor):
    """Makes the server's thread compute, as a handler on a loop should never do."""

    weight = 1
    wait_time = constant(1.0)

    @tag("harmful", "burn")
    @task
    def burn(self) -> None:
        self.ask_for_hello(f"/burn?ms={BURN_MILLISECONDS}")
