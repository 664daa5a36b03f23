"""Header fields of a request, kept as they were received.

A look-up is a search in the text of the whole head: most handlers ask for one or two fields of ten,
so building an index would cost more than it saves.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

Fields: TypeAlias = Sequence[tuple[str, str]]


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    """How a field begins, in lower case."""
    return f"\r\n{name.lower()}:"


class Headers:
    """Header fields as they were received: ordered, multi-valued, names in any case."""

    __slots__ = ("_folded", "_raw")

    def __init__(self, raw: str = "") -> None:
        """`raw`: fields, each begun by CRLF, already checked; decoded as Latin-1."""
        self._raw = raw
        self._folded: str | None = None  # made for the first look-up

    def get(self, name: str, default: str = "") -> str:
        """The field's value; several lines are joined by ", " (RFC 9110, section 5.3)."""
        folded = self._folded
        if folded is None:
            folded = self._fold()
        key = _key(name)
        start = folded.find(key)
        if start < 0:
            return default
        if folded.find(key, start + 1) >= 0:
            return ", ".join(self.get_all(name))
        begin = start + len(key)
        end = folded.find("\r\n", begin)
        return (self._raw[begin:end] if end >= 0 else self._raw[begin:]).strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """The field's values, one a line, without the white space around them."""
        folded = name.lower()
        return [value for other, value in self if other.lower() == folded]

    def __contains__(self, name: str) -> bool:
        return _key(name) in (self._folded or self._fold())

    def has_prefix(self, prefix: str) -> bool:
        """Whether any field begins with this, in lower case; cheap, for families like `if-`."""
        return "\r\n" + prefix in (self._folded or self._fold())

    def folded(self) -> str:
        """All of them in lower case, each begun by CRLF, for who has several things to look for."""
        return self._folded or self._fold()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for line in self._raw.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            yield name, value.strip(" \t")

    def _fold(self) -> str:
        """The same in lower case, for look-ups."""
        self._folded = self._raw.lower()
        return self._folded
