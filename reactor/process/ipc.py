"""The messages between the parent of `--reload` and its children, and the descriptors they need.

A child inherits the listening sockets, the writing end of a pipe for its messages, and the reading
end of a pipe into which nobody writes. The kernel closes that one with the parent, however the
parent ends, and the child ends with it. The environment variable VARIABLE says which file
descriptors these are.

A message is a line of JSON: `["file", path, mark]` before a file is imported, for as long as the
child runs; `["ready"]` when the application is loaded and the loop begins; `["ended", status]`
before the child ends in order. A child that ends without that message has crashed.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from reactor.process.file_watcher import Mark

VARIABLE: Final = "_REACTOR_RELOAD"
MESSAGE_BYTES: Final = 1 << 20  # a longer line is not a message


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The file descriptors that a child inherits, and whether it is the first one to serve."""

    listening: list[tuple[int, str]]  # with the Role of each
    reports: int
    lifeline: int
    first: bool

    @property
    def descriptors(self) -> list[int]:
        """All of them, to be passed on to the child."""
        return [*(one for one, _ in self.listening), self.reports, self.lifeline]

    def environment(self) -> dict[str, str]:
        """The environment of this process with the variable."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def take(cls) -> "Inheritance | None":
        """The inheritance of this process, taken out of its environment; None without one.

        The descriptors become private, so that programs that the application starts inherit none.
        """
        value = os.environ.pop(VARIABLE, None)
        if value is None:
            return None
        inheritance = cls(**json.loads(value))
        for descriptor in inheritance.descriptors:
            os.set_inheritable(descriptor, False)
        return inheritance


@dataclass(frozen=True, slots=True)
class Seen:
    """A file is about to be imported, or would be if it existed."""

    path: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Ready:
    """The application is loaded, and the child accepts connections."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The child has printed why, and ends with this exit status."""

    status: int


Message: TypeAlias = Seen | Ready | Ended


class MessageDecoder:
    """Makes messages of the bytes that come through the pipe."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield each message that is complete. Other lines, which the application wrote, are
        skipped.
        """
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MESSAGE_BYTES:
            self._buffer = b""
        for line in lines:
            message = _parse(line)
            if message is not None:
                yield message


def encode_message(*parts: object) -> bytes:
    """The line of a message."""
    return json.dumps(parts).encode() + b"\n"


def _parse(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match message:
        case ["file", str(path), None]:
            return Seen(path, None)
        case ["file", str(path), [int(changed), int(size), int(inode)]]:
            return Seen(path, (changed, size, inode))
        case ["ready"]:
            return Ready()
        case ["ended", int(status)]:
            return Ended(status)
        case _:
            return None
