"""The record of an upload on the disk, from which a restarted server can continue it.

A record is JSON, in a file that only the server writes. It may still be damaged by a disk or
changed by another program, and its values go into paths and fields. So it is checked as if it had
come from a client. It is replaced as a whole: readers see the old record or the new one.
"""

import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from reactor.web.semantics.file_names import is_plain
from reactor.web.storage.private_files import NEW, open_private, set_time, unlink, unlink_or_log
from reactor.web.uploads.publish import sync_directory

log = logging.getLogger("reactor")
_TEXT: Final = re.compile(r"[\t -~\x80-\xff]*")  # a field value (RFC 9110, section 5.5)


@dataclass(frozen=True, slots=True)
class Record:
    """The file that an upload is to become: that of `segments`, if the preconditions hold then.

    `length` is None until the client has sent it. `conditions` are fields of the first request.
    `ending` is set when all bytes are there and the upload is about to be published.
    """

    segments: tuple[str, ...]
    length: int | None
    conditions: tuple[tuple[str, str], ...] = ()
    ending: bool = False

    def encode(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Record":
        """Return the record of this JSON. Raises ValueError for invalid data."""
        try:
            fields: Any = json.loads(data)
            record = cls(
                tuple(fields["segments"]),
                fields["length"],
                tuple((name, value) for name, value in fields["conditions"]),
                fields["ending"],
            )
            record._check()
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"invalid record: {error!r}") from None
        return record

    def _check(self) -> None:
        texts = [text for pair in self.conditions for text in pair]
        if (
            not self.segments
            or not is_plain(self.segments)
            or not all(_TEXT.fullmatch(text) for text in texts)
            or type(self.ending) is not bool
            or not (self.length is None or (type(self.length) is int and self.length >= 0))
        ):
            raise ValueError("invalid record: a value is not allowed")


def read_record(name: str, directory: int) -> Record | None:
    """Return the record of an upload; None where there is none, or a damaged one."""
    file = open_private(f"{name}.json", os.O_RDONLY, directory)
    if file is None:
        return None
    try:
        return Record.decode(os.read(file, os.fstat(file).st_size))
    except ValueError:
        return None
    finally:
        os.close(file)


def write_record(directory: int, name: str, record: Record, now: float) -> None:
    """Replace the record of an upload, on the disk. Raises OSError."""
    unlink(f"{name}.new", directory)  # a killed server may have left it
    file = os.open(f"{name}.new", os.O_WRONLY | NEW, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as stream:
            stream.write(record.encode())
            stream.flush()
            set_time(file, now)
            os.fsync(file)
        os.replace(f"{name}.new", f"{name}.json", src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        unlink_or_log(f"{name}.new", directory)
        raise
    sync_directory(directory)
