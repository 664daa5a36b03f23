"""An open loop: requests are sent when they are due, whether or not answers come.

A closed loop asks less of a server that stalls, since each of its users waits for an answer before
it asks again. So a stall of a second is one slow request for each user, and all those that would
have come meanwhile are in no statistics: coordinated omission. Here the schedule is known before
(see mix.py), each request has a greenlet of its own, and its time begins when it was due, even if
no connection was free then. Every request is reported twice: under its name with the time since it
was sent (GET), and as "... (intended)" with the time since it was due (OPEN).

One user is a whole open loop, so its rate is that of one locust process; for more, start more. A
request goes out up to a millisecond late, as the event loop's clock has no finer step.
"""

import time
from math import inf
from typing import Final
from urllib.parse import urlsplit

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Group
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from locust import User, tag, task
from locust.exception import StopTest, StopUser
from locust.runners import LocalRunner

from loadtest.clients import connection
from loadtest.scenarios import checks
from loadtest.scenarios.checks import Refused, Unanswered, Wrong
from loadtest.scenarios.outcome import DUE, INTENDED, SENT, SINCE, WARM_UP_SECONDS
from loadtest.scenarios.schedule import MIX, Due, Kind, schedule

CONNECTIONS: Final = 256  # at most; a request that finds none free waits, and its time goes on
TIMEOUT: Final = 10.0  # seconds without a byte, or until a connection is made
DRAIN_SECONDS: Final = 5.0  # for answers that are under way when the schedule ends
YOUNG_SECONDS: Final = 2.0  # a new file's tag is weak, and another one a second later
BLOCK_BYTES: Final = 64 * 1024  # read at once

FAILURES: Final = (OSError, HTTPParseError, Wrong, Refused)


class OpenLoop(User):
    """`--rate` requests a second of the mix, for `--open-seconds` or until the run ends."""

    fixed_count = 1

    def on_start(self) -> None:
        where = urlsplit(self.host or "")
        self._client = HTTPClient(
            where.hostname or "",
            where.port,
            concurrency=CONNECTIONS,
            connection_timeout=TIMEOUT,
            network_timeout=TIMEOUT,
            block_size=BLOCK_BYTES,
        )
        self._free = BoundedSemaphore(CONNECTIONS)
        self._running = Group()
        self._drained_by = 0.0
        try:
            self._fields = {kind.name: self._fields_of(kind) for kind in MIX}
        except StopTest:  # for locust, a user that ends by itself is no reason to end the run
            self._end_the_run()
            raise

    def on_stop(self) -> None:
        self._client.close()

    @tag("open")
    @task
    def offer(self) -> None:
        """All of the schedule, and then nothing more."""
        options = self.environment.parsed_options
        assert options is not None
        seconds = options.open_seconds or inf
        announce = connection.announce if options.announce else connection.ignore
        self._start = time.perf_counter()
        opening = gevent.spawn_later(WARM_UP_SECONDS, announce, "open")
        try:
            for due in schedule(options.rate, seconds, options.seed, options.arrivals):
                self._sleep_until(due.at)
                self._running.start(gevent.Greenlet(self._send, due))
            self._sleep_until(seconds)
            announce("over")
            self._drain()
        finally:  # the run may end before the schedule does
            opening.kill()
            self._drain()
        self._end_the_run()
        raise StopUser

    def _end_the_run(self) -> None:
        """Where nobody else has anything to do, and nobody may want to begin again."""
        options, runner = self.environment.parsed_options, self.environment.runner
        assert options is not None
        alone = self.environment.user_classes == [type(self)]
        if alone and options.headless and isinstance(runner, LocalRunner):
            gevent.spawn(runner.quit)

    def _sleep_until(self, at: float) -> None:
        """Others run meanwhile, even if it is late already; gevent's timers may come early."""
        gevent.sleep(0)
        while (left := self._start + at - time.perf_counter()) > 0.0:
            gevent.sleep(left)

    def _drain(self) -> None:
        """Wait for what is under way; what has no answer then is reported as a failure."""
        now = time.perf_counter()
        self._drained_by = self._drained_by or now + DRAIN_SECONDS
        self._running.join(max(self._drained_by - now, 0.0))
        self._running.kill()

    def _send(self, due: Due) -> None:
        sent = 0.0
        problem: BaseException | None = None
        length = 0
        try:
            with self._free:
                sent = time.perf_counter()
                length = self._ask(due.kind)
        except FAILURES as error:
            problem = error
        except gevent.GreenletExit:
            problem = Unanswered("no answer until the end")
        end = time.perf_counter()
        self._report(due, SENT, end - (sent or end), length, problem)
        self._report(due, INTENDED, end - (self._start + due.at), length, problem)

    def _ask(self, kind: Kind) -> int:
        """The length of the answer's body. Raises what FAILURES names."""
        response = self._client.request("GET", kind.path, headers=self._fields[kind.name])
        try:
            body = response.read()
            whole = response.message_complete
        finally:
            response.release()
        if response.status_code == 503:
            raise Refused("503")
        if response.status_code != kind.status:
            raise Wrong(f"{kind.name}: status {response.status_code}")
        if not whole:
            raise Wrong(f"{kind.name}: cut")
        if wrong := kind.wrong(body):
            raise Wrong(f"{kind.name}: {wrong}")
        return len(body)

    def _report(
        self, due: Due, since: str, seconds: float, length: int, problem: BaseException | None
    ) -> None:
        intended = since == INTENDED
        self.environment.events.request.fire(
            request_type="OPEN" if intended else "GET",
            name=f"{due.kind.name} (intended)" if intended else due.kind.name,
            response_time=seconds * 1000,
            response_length=length,
            exception=problem,
            context={DUE: due.at, SINCE: since},
        )

    def _fields_of(self, kind: Kind) -> dict[str, str]:
        """What it is asked with; the tag of a file is the server's to tell, before the start."""
        if not kind.conditional:
            return kind.fields
        until = time.perf_counter() + YOUNG_SECONDS
        while (entity_tag := self._tag_of(kind.path)).startswith("W/"):
            if time.perf_counter() > until:
                break
            gevent.sleep(YOUNG_SECONDS / 10)
        return {"If-None-Match": entity_tag}

    def _tag_of(self, path: str) -> str:
        try:
            response = self._client.request("GET", path)
            wrong = checks.of_file(path, response.read())
        except (OSError, HTTPParseError) as error:
            raise StopTest(f"{path}: {error}") from error
        entity_tag = response.get("etag")
        if response.status_code != 200 or wrong or not isinstance(entity_tag, str):
            raise StopTest(f"{path}: {wrong or 'no tag'}, status {response.status_code}")
        return entity_tag
