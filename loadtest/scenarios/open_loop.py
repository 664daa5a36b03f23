"""An open loop: requests are sent when they are due, also while others wait for a response.

A closed loop sends fewer requests to a server that stalls, since each of its users waits for a
response before its next request. So a stall of a second is one slow request for each user, and the
requests that would have come in that second are in no statistics: coordinated omission. Here the
schedule is fixed before (see schedule.py), each request has a greenlet of its own, and its time
begins when it was due, even if no connection was free then. Every request is reported twice: under
its name with the time since it was sent (GET), and as "... (intended)" with the time since it was
due (OPEN).

One user is a whole open loop, so its rate is that of one locust process; a higher rate needs more
processes. A request is sent up to a millisecond late, since the event loop's clock has whole
milliseconds.
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

CONNECTIONS: Final = 256  # at most; a request waits for a free one, and its time counts
TIMEOUT: Final = 10.0  # seconds without a byte, or until a connection is made
DRAIN_SECONDS: Final = 5.0  # for responses that are missing when the schedule ends
YOUNG_SECONDS: Final = 2.0  # the tag of a new file is weak, and changes a second later
BLOCK_BYTES: Final = 64 * 1024  # read at once

FAILURES: Final = (OSError, HTTPParseError, Wrong, Refused)


class OpenLoop(User):
    """`--rate` requests a second of the mix, for `--open-seconds` or until the run ends."""

    fixed_count = 1

    def on_start(self) -> None:
        """Make the client, and fetch the entity tags for conditional requests."""
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
        except StopTest:  # locust does not end a run where a user ends by itself
            self._end_the_run()
            raise

    def on_stop(self) -> None:
        """Close the connections."""
        self._client.close()

    @tag("open")
    @task
    def offer(self) -> None:
        """Send all requests of the schedule, and end."""
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
        """End a headless, local run that has no other users."""
        options, runner = self.environment.parsed_options, self.environment.runner
        assert options is not None
        alone = self.environment.user_classes == [type(self)]
        if alone and options.headless and isinstance(runner, LocalRunner):
            gevent.spawn(runner.quit)

    def _sleep_until(self, at: float) -> None:
        """Sleep, at least for one turn of the loop; gevent's timers may fire early."""
        gevent.sleep(0)
        while (left := self._start + at - time.perf_counter()) > 0.0:
            gevent.sleep(left)

    def _drain(self) -> None:
        """Wait for running requests; those without a response then are reported as failures."""
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
            problem = Unanswered("no response until the end")
        end = time.perf_counter()
        self._report(due, SENT, end - (sent or end), length, problem)
        self._report(due, INTENDED, end - (self._start + due.at), length, problem)

    def _ask(self, kind: Kind) -> int:
        """Send a request; returns the length of the response's body. Raises one of FAILURES."""
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
        """The header fields of a kind of request; the server is asked for the file's tag."""
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
