"""Header fields of a request, kept as they were received: a read-only, case-insensitive mapping.

The parser, which looks at each line anyway, makes the index by name. The text of the head stays
beside it, for callers that want the lines as they came.

A name may stand in several field lines. As a mapping, Headers has each name once, in the order and
the spelling of its first line, with the values of all its lines joined by ", " (RFC 9110, section
5.3). `get_all` returns the values one by one, and `fields` every line as it was received.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, overload

from reactor.messages.kinds import Kind, convert, missing
from reactor.remembered import remember

T = TypeVar("T")
K = TypeVar("K")

Fields: TypeAlias = Sequence[tuple[str, str]]
GivenFields: TypeAlias = Fields | Mapping[str, str]

_NOT_GIVEN: Final = object()

# Fields with a value that must not get into a log by way of a repr.
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


NAMES: Final = 256  # names that are remembered in lower case


class _LowerCase(dict[object, str]):
    """Names that are asked for, each in lower case. Raises TypeError for a name that is no str."""

    def __missing__(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"the name of a header field is a str, not {type(name).__name__}")
        return remember(self, name, name.lower(), NAMES)


_KEYS: Final = _LowerCase()


def as_pairs(headers: object) -> Fields:
    """A tuple of the pairs of fields that are given as pairs or as a mapping.

    Raises TypeError for anything else, with the first member that is no pair.
    """
    if isinstance(headers, tuple):
        return headers
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise TypeError(f"header fields are pairs of name and value, or a mapping, not {headers!r}")
    pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"a header field is a pair of name and value, not {pair!r}")
    return tuple((name, value) for name, value in pairs)


class Headers(Mapping[str, str]):
    """Header fields as a read-only mapping from names, in any case, to values.

    `headers["name"]` raises KeyError for an absent field; `headers.get("name")` returns "". The
    values of several lines of one name are joined by ", "; `get_all` returns a list of them, which
    a field like Set-Cookie needs, and `fields` yields a pair for every line. All values are str,
    decoded as Latin-1, without white space around them.
    """

    __slots__ = ("_raw", "_values")

    def __init__(self, raw: str = "", values: Mapping[str, str] | None = None) -> None:
        """`raw`: fields, each begun by CRLF, already checked; decoded as Latin-1.

        `values` are those of `joined_by_name`, where they are there already.
        """
        self._raw = raw
        if values is None:
            values = joined_by_name([(name.lower(), value) for name, value in self.fields()])
        self._values = values  # by name in lower case

    @overload
    def get(self, name: str, default: str = "") -> str: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    @overload
    def get(self, name: str, *, kind: Kind[K]) -> K | None: ...
    @overload
    def get(self, name: str, default: T, *, kind: Kind[K]) -> K | T: ...
    def get(self, name: str, default: object = _NOT_GIVEN, kind: Kind[Any] | None = None) -> object:
        """The field's value; several lines are joined by ", " (RFC 9110, section 5.3).

        The default is "", so that the result is a str to work with: `headers.get("accept").lower()`
        needs no check. `headers.get(name, None)` returns None for an absent field alone.

        With a `kind`, the value of that kind (see messages/kinds.py), and None by default. Raises
        ArgumentError, which is a 400, for a value that is not of the kind.
        """
        value = self._values.get(_KEYS[name])
        if value is None:
            if default is not _NOT_GIVEN:
                return default
            return "" if kind is None else None
        return value if kind is None else convert(value, kind, "header field", name)

    def get_all(self, name: str) -> list[str]:
        """The values of all field lines of this name, without the white space around them."""
        folded = name.lower()
        return [value for other, value in self.fields() if other.lower() == folded]

    def fields(self) -> Iterator[tuple[str, str]]:
        """Name and value of every field line, in the order in which they were received."""
        for line in self._raw.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            yield name, value.strip(" \t")

    @overload
    def require(self, name: str) -> str: ...
    @overload
    def require(self, name: str, kind: Kind[K]) -> K: ...
    def require(self, name: str, kind: Kind[Any] = str) -> object:
        """The field's value, of this kind.

        Raises ArgumentError, which is a 400, for an absent field and a value of another kind.
        """
        text = self.get(name, None)
        if text is None:
            raise missing("header field", name, kind)
        return convert(text, kind, "header field", name)

    def __getitem__(self, name: str) -> str:
        value = self.get(name, None)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return _KEYS[name] in self._values

    def __iter__(self) -> Iterator[str]:
        """The names, each once, in the order and the spelling of its first line."""
        names: dict[str, str] = {}
        for name, _ in self.fields():
            names.setdefault(name.lower(), name)
        return iter(names.values())

    def __len__(self) -> int:
        """The number of different names."""
        return len(self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __eq__(self, other: object) -> bool:
        """Whether the other mapping has the same names, in any case and order, and values."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return _in_lower_case(self) == _in_lower_case(other)

    def __repr__(self) -> str:
        """Without the values of cookies and credentials."""
        shown = {name: "***" if name.lower() in _SECRET else self[name] for name in self}
        return f"{type(self).__name__}({shown!r})"

    def has_prefix(self, prefix: str) -> bool:
        """Whether any field begins with this, in lower case: for families like `if-`."""
        return any(f"{name}:".startswith(prefix) for name in self._values)

    def folded(self) -> str:
        """All field lines in lower case, each begun by CRLF: for several look-ups at once."""
        return self._raw.lower()


def _in_lower_case(fields: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in fields.items()}


def joined_by_name(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Values by name; those of several lines are joined by ", ". The names are in lower case."""
    values = dict(pairs)
    if len(values) != len(pairs):
        lists: dict[str, list[str]] = {}
        for name, value in pairs:
            lists.setdefault(name, []).append(value)
        values = {name: ", ".join(several) for name, several in lists.items()}
    return values
