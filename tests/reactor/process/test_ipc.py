"""Messages between parent and child: in any pieces, and among lines that are none."""

import json
from typing import Any

import pytest

from reactor.process.ipc import (
    MESSAGE_BYTES,
    Ended,
    Message,
    MessageDecoder,
    Ready,
    Seen,
)


def lines(*messages: Any) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def read(*pieces: bytes) -> list[Message]:
    messages = MessageDecoder()
    return [message for piece in pieces for message in messages.feed(piece)]


def test_messages_in_any_pieces() -> None:
    data = lines(["file", "/ä\udcff", [1, 2, 3]], ["file", "/b", None], ["ready"], ["ended", 2])
    expected = [Seen("/ä\udcff", (1, 2, 3)), Seen("/b", None), Ready(), Ended(2)]
    assert read(data) == expected
    assert read(*(data[at : at + 1] for at in range(len(data)))) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"hello",
            b"\xff\xfe",
            b"{",
            b"3",
            b"null",
            b'"ready"',
            b"{}",
            b"[]",
            b'["readily"]',
        ),
        *(b'["ready", 1]', b'["ended"]', b'["ended", "1"]', b'["file", 1, null]', b'["file", "a"]'),
        *(b'["file", "a", [1, 2]]', b'["file", "a", [1, 2, "3"]]', b'["file", "a", 1]'),
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_no_message_is_skipped(line: bytes) -> None:
    assert read(line + b"\n" + lines(["ready"])) == [Ready()]


def test_a_line_without_an_end_is_not_kept() -> None:
    piece = b"x" * 65536
    messages = MessageDecoder()
    for _ in range(2 * MESSAGE_BYTES // len(piece)):
        assert list(messages.feed(piece)) == []
        assert len(messages._buffer) <= MESSAGE_BYTES
    assert list(messages.feed(b"\n" + lines(["ready"]))) == [Ready()]
