"""What is written down about an upload, so that a server that starts anew can go on with it.

A record is JSON, in a file that only we write; what is read may still be damaged by a disk or
changed by somebody, and what comes from it goes into paths and fields. So it is checked as if it
had come from a client. It is replaced as a whole: there is the old one, or the new one.
"""

import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from reactor.web.semantics.file_names import is_plain
from reactor.web.storage.private_files import NEW, open_private, set_time, unlink, unlink_or_log
from reactor.web.uploads.atomic_file import sync_directory

log = logging.getLogger("reactor")
_TEXT: Final = re.compile(r"[\t -~\x80-\xff]*")  # of a field's line (RFC 9110, section 5.5)


@dataclass(frozen=True, slots=True)
class Record:
    """What an upload is to become: the file of `segments`, if the conditions hold then.

    `length` is None until the client has told it. `conditions` are fields of the first request.
    """

    segments: tuple[str, ...]
    length: int | None
    conditions: tuple[tuple[str, str], ...] = ()
    ending: bool = False

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Record":
        """Raises ValueError for what is none, or is none any more."""
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
            raise ValueError(f"not a record: {error!r}") from None
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
            raise ValueError("not a record")


def read_record(name: str, directory: int) -> Record | None:
    """None where there is none, or where it is damaged."""
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
    unlink(f"{name}.new", directory)  # of a server that was killed
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
