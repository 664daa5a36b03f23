"""A directory that takes resumable uploads, driven without a server, and the responses of it."""

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import pytest

from reactor import Body, Cancelled, Headers, Limits, ProtocolError, Response
from reactor.messages.request import BaseRequest
from reactor.web.app.application import Application
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.receiver import Receiver
from reactor.web.uploads.resumable import ResumableUploads
from tests.support.coroutine_driver import Feed, drive

NOW = 1_900_000_000.0
PARTIAL = "application/partial-upload"
INTEROP: dict[str, Any] = {"Upload_Draft_Interop_Version": "8"}


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def __getattr__(self, name: str) -> str | None:  # reply.upload_offset
        return self.headers.get(name.replace("_", "-").title())


class Source(Feed):
    """A body that records its informational responses."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        super().__init__(*pieces)
        self.informed: list[tuple[int, dict[str, str]]] = []

    def inform(self, status: int, headers: Any) -> bool:
        self.informed.append((status, dict(headers)))
        return True


class Cut(Cancelled):
    """The task is cancelled, because the connection is gone."""


class Bench:
    """A directory that takes resumable uploads, and a clock."""

    def __init__(self, path: Path, **limits: Any) -> None:
        self.path = path
        self.limits = Limits(**limits)
        self.now = NOW
        self.client = ""  # the address of the next requests; empty: unknown
        self.forgotten: list[Place] = []
        self.informed: list[tuple[int, dict[str, str]]] = []
        self.restart()

    def restart(self) -> None:
        """Start again as a restarted server does: nothing is known but the files on the disk."""
        root = Root(self.path)
        self.resumable = ResumableUploads(
            root, "/files/", self.limits, self.forgotten.append, lambda: self.now
        )
        self.receiver = Receiver(root, self.limits, self.forgotten.append, resumable=self.resumable)
        self.router = Application()
        for method in ("PUT", "POST"):
            self.router.add(
                method, "/files/{name:segments}", getattr(self.receiver, method.lower())
            )
        for method, endpoint in (
            ("HEAD", self.resumable.head),
            ("PATCH", self.resumable.append),
            ("DELETE", self.resumable.cancel),
            ("OPTIONS", self.resumable.options),
        ):
            self.router.add(method, "/files/.uploads/{id}", endpoint)

    def request(
        self,
        method: str,
        path: str,
        *pieces: bytes | BaseException,
        chunked: bool = False,
        minor: int = 1,
        **fields: object,
    ) -> BaseRequest:
        lines = [f"\r\n{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        request = BaseRequest(method, path, path, "", minor, Headers("".join(lines)))
        request.host = "example.com"
        request.client = (self.client, 0)
        size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        if pieces or chunked:
            broken = any(isinstance(piece, BaseException) for piece in pieces)
            request.length = None if chunked else size + 1000 * broken
            source = Source(*pieces)
            self.informed = source.informed
            request.body = Body(source, request.length, 0)
        return request

    def ask(self, method: str, path: str, *pieces: bytes | BaseException, **fields: Any) -> Reply:
        """The response that the connection would send."""
        self.informed = []
        request = self.request(method, path, *pieces, **fields)
        try:
            response = self.router(request)
            response = response if isinstance(response, Response) else drive(response)  # type: ignore[arg-type]
        except ProtocolError as error:
            headers = {name.title(): value for name, value in error.headers}
            return Reply(error.status, self._resolved(path, headers), error.reason.encode())
        assert isinstance(response.body, bytes)
        names = [name.title() for name, _ in response.headers]
        assert len(set(names)) == len(names)
        headers = {name.title(): value for name, value in response.headers}
        return Reply(response.status, self._resolved(path, headers), response.body)

    def _resolved(self, path: str, headers: dict[str, str]) -> dict[str, str]:
        """The fields with the location that the client finds."""
        if (location := headers.get("Location")) is None:
            return headers
        assert not location.startswith("/"), "a proxy may have removed a prefix"
        return {**headers, "Location": urljoin(path, location)}

    @property
    def places(self) -> list[str]:
        """The paths of the upload resources that interim responses have announced."""
        found = [fields["Location"] for status, fields in self.informed if status == 104]
        return [urljoin("/files/a.bin", location) for location in found]

    def create(self, name: str, *pieces: bytes | BaseException, **fields: Any) -> Reply:
        fields.setdefault("Upload_Complete", "?0")
        return self.ask("PUT", f"/files/{name}", *pieces, **fields)

    def begun(self, name: str = "a.bin", *pieces: bytes, **fields: Any) -> str:
        """The path of a new upload."""
        reply = self.create(name, *pieces, **fields)
        assert reply.status == 201, reply
        assert reply.location is not None
        return reply.location

    def append(
        self,
        path: str,
        offset: int,
        *pieces: bytes | BaseException,
        end: bool = False,
        **fields: Any,
    ) -> Reply:
        fields.setdefault("Content_Type", PARTIAL)
        fields.setdefault("Upload_Complete", f"?{int(end)}")
        return self.ask("PATCH", path, *pieces, Upload_Offset=offset, **fields)

    def head(self, path: str) -> Reply:
        return self.ask("HEAD", path)

    def offset(self, path: str) -> int:
        reply = self.head(path)
        assert (reply.status, reply.upload_complete) == (204, "?0"), reply
        return int(reply.headers["Upload-Offset"])

    def cut(self, method: str, path: str, *pieces: bytes, **fields: Any) -> None:
        """Send a request whose connection is lost behind these bytes."""
        with pytest.raises(Cut):
            self.ask(method, path, *pieces, Cut(), **fields)

    def expire(self) -> None:
        drive(self.resumable.expire())

    def content(self, name: str = "a.bin") -> bytes | None:
        path = self.path / name
        return path.read_bytes() if path.exists() else None

    def left(self) -> list[str]:
        directory = self.path / ".uploads"
        return sorted(os.listdir(directory)) if directory.exists() else []

    def statuses(self, *paths: str) -> list[int]:
        """The statuses of HEAD for these uploads: 204 where they are there."""
        return [self.head(path).status for path in paths]
