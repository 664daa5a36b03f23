"""From a path to what belongs there.

Patterns are paths whose segments may be parameters: `/echo/{text}` takes one segment,
`/user/{id:int}` one that is a number, and `/files/{name:path}` all that are left (the kinds are in
app/converters.py). They lie in a tree of segments, so matching costs as much as the path is long,
however many routes there are. A literal segment comes before a parameter, a narrow kind before a
wide one, and a parameter before all the rest; what leads nowhere is left again.

The target is split at "/" before anything is decoded, and each segment is decoded once: an encoded
slash is part of a name and never a way into another folder (RFC 3986, section 2.2).

It knows methods as words and what it stores not at all; who answers is the business of
app/application.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, unquote_to_bytes

from reactor.errors import ProtocolError
from reactor.web.app.converters import CONVERTERS, Converter

ANY: Final = "*"  # the method of a route that takes them all
SHORT: Final = 128  # characters of a path that is remembered once it is found

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_UNQUOTED: Final = ":@!$&'()*+,;=~"  # what may stand in a segment as it is (RFC 3986, section 3.3)

T = TypeVar("T")


class RouteError(ValueError):
    """A pattern that is none, or routes that cannot stand beside each other."""


class Parameter(NamedTuple):
    """A part of a pattern that is no literal."""

    name: str
    converter: Converter


class Target(NamedTuple, Generic[T]):
    """What is stored for a method: the names of its parameters, and where it came from."""

    names: tuple[str, ...]
    value: T
    route: str  # for people


Leaf: TypeAlias = dict[str, Target[T]]  # by method
Found: TypeAlias = tuple[Leaf[T], tuple[Any, ...]]  # what there is, and the parameters' values


Finder: TypeAlias = Callable[[str], Found[T] | None]


class _Node(Generic[T]):
    """What may follow one segment."""

    __slots__ = ("children", "leaf", "parameters", "rests")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.leaf: Leaf[T] = {}  # of the path that ends here
        # In the order in which they are tried; the routes that came first, for people.
        self.parameters: list[tuple[Converter, _Node[T], str]] = []
        self.rests: list[tuple[Converter, Leaf[T], str]] = []


class Router(Generic[T]):
    """Values by method and path."""

    def __init__(self, converters: Mapping[str, Converter] = CONVERTERS) -> None:
        self._converters = converters
        self._root: _Node[T] = _Node()
        # `find` of long and of short paths, of which many clients ask for the same. No methods of
        # this object: that would be a circle of references, and what values hold open would stay
        # so until it is found.
        self.find_long: Finder[T] = partial(_find, self._root)
        self.find_short: Finder[T] = lru_cache(maxsize=256)(self.find_long)

    def add(self, method: str, pattern: str, value: T, place: str = "") -> Leaf[T]:
        """Store the value; all that is stored for paths like this. `place` says who wants it.

        Raises RouteError for a pattern that is none, for one that is there already, and where it
        would be a matter of luck which of two is meant.
        """
        route = f"{method} {pattern}{place and f' ({place})'}"
        parts = parse_pattern(pattern, self._converters)
        leaf = self._leaf(parts, route)
        if method in leaf:
            raise RouteError(f"{route} is there already, as {leaf[method].route}")
        names = tuple(part.name for part in parts if isinstance(part, Parameter))
        leaf[method] = Target(names, value, route)
        self.find_short = lru_cache(maxsize=256)(self.find_long)
        return leaf

    def find(self, path: str) -> Found[T] | None:
        """What belongs to the path, before all else. Raises ProtocolError(400): see `segments`."""
        return self.find_short(path) if len(path) <= SHORT else self.find_long(path)

    def find_all(self, path: str) -> Iterator[Found[T]]:
        """Everything that fits, in the order of `find`."""
        return _every(self._root, segments(path), 1, ())

    def _leaf(self, parts: Sequence[str | Parameter], route: str) -> Leaf[T]:
        """What is stored at the end of a pattern, whose nodes are made where they are missing."""
        node = self._root
        for part in parts:
            if isinstance(part, str):
                node = node.children.setdefault(part, _Node())
            elif part.converter.takes_rest:
                return _branch(node.rests, part.converter, {}, route)
            else:
                node = _branch(node.parameters, part.converter, _Node(), route)
        return node.leaf


B = TypeVar("B")


def _branch(
    branches: list[tuple[Converter, B, str]], converter: Converter, new: B, route: str
) -> B:
    """What follows a parameter of this kind; `new` where there was none."""
    for known, branch, other in branches:
        if known == converter:
            return branch
        if known.rank == converter.rank:
            raise RouteError(
                f"{route} and {other} fit the same paths: "
                f"neither of {converter.kind!r} and {known.kind!r} comes first"
            )
    branches.append((converter, new, route))
    branches.sort(key=lambda one: one[0].rank)
    return new


def parse_pattern(
    pattern: str, converters: Mapping[str, Converter] = CONVERTERS
) -> list[str | Parameter]:
    """The segments of a pattern. Raises RouteError."""
    if not pattern.startswith("/"):
        raise RouteError(f"a pattern begins with a slash: {pattern!r}")
    parts = [_parse_part(segment, pattern, converters) for segment in pattern[1:].split("/")]
    parameters = [part for part in parts if isinstance(part, Parameter)]
    for part in parameters:
        if part.converter.takes_rest and part is not parts[-1]:
            raise RouteError(f"{part.name!r} takes all the rest and must come last in {pattern!r}")
    if len({part.name for part in parameters}) < len(parameters):
        raise RouteError(f"two parameters have one name in {pattern!r}")
    return parts


def _parse_part(
    segment: str, pattern: str, converters: Mapping[str, Converter]
) -> "str | Parameter":
    if "{" not in segment and "}" not in segment:
        return segment
    name, colon, kind = segment[1:-1].partition(":")
    if segment[0] != "{" or segment[-1] != "}" or not name.isidentifier():
        raise RouteError(f"no parameter: {segment!r} in {pattern!r}")
    converter = converters.get(kind if colon else "str")
    if converter is None:
        raise RouteError(f"there is no kind {kind!r} of parameters: {segment!r} in {pattern!r}")
    return Parameter(name, converter)


def build_path(parts: Sequence[str | Parameter], values: Mapping[str, Any]) -> str:
    """The path of a pattern with these parameters. Raises ValueError for one that does not fit."""
    written: list[str] = []
    for part in parts:
        if isinstance(part, str):
            written.append(part)
            continue
        value = part.converter.write(values[part.name])
        written += value if part.converter.takes_rest else [value]
    if (not written[0] and len(written) > 1) or not {".", ".."}.isdisjoint(written):
        # It would begin with another server's name, or be another path for who resolves it.
        raise ValueError(f"no path of one's own can be made of {dict(values)!r}")
    return "/" + "/".join(quote(segment, _UNQUOTED) for segment in written)


# --- finding -------------------------------------------------------------------------------------


def _find(root: _Node[T], path: str) -> Found[T] | None:
    return _first(root, segments(path) if "%" in path else path.split("/"), 1, ())


def segments(path: str) -> list[str]:
    """The decoded segments of a path, the first of them empty.

    Raises ProtocolError(400) for a path that cannot be decoded.
    """
    return [decode_segment(segment) for segment in path.split("/")]


def _first(
    node: _Node[T], segments: list[str], place: int, values: tuple[Any, ...]
) -> Found[T] | None:
    """The first of `_every`, without the cost of generators."""
    while place < len(segments):
        segment = segments[place]
        place += 1
        child = node.children.get(segment)
        if not node.parameters and not node.rests:
            if child is None:
                return None
            node = child
            continue
        if child is not None and (found := _first(child, segments, place, values)) is not None:
            return found
        if segment:
            for converter, after, _ in node.parameters:
                try:
                    value = converter.read(segment)
                except ValueError:
                    continue
                found = _first(after, segments, place, (*values, value))
                if found is not None:
                    return found
        for converter, leaf, _ in node.rests:
            try:
                return leaf, (*values, converter.read(segments[place - 1 :]))
            except ValueError:
                continue
        return None
    return (node.leaf, values) if node.leaf else None


def _every(
    node: _Node[T], segments: list[str], place: int, values: tuple[Any, ...]
) -> Iterator[Found[T]]:
    while place < len(segments):
        segment = segments[place]
        child = node.children.get(segment)
        if not node.parameters and not node.rests:
            if child is None:
                return
            node, place = child, place + 1
            continue
        if child is not None:
            yield from _every(child, segments, place + 1, values)
        if segment:
            for converter, after, _ in node.parameters:
                try:
                    value = converter.read(segment)
                except ValueError:
                    continue
                yield from _every(after, segments, place + 1, (*values, value))
        for converter, leaf, _ in node.rests:
            try:
                yield leaf, (*values, converter.read(segments[place:]))
            except ValueError:
                continue
        return
    if node.leaf:
        yield node.leaf, values


def decode_segment(segment: str) -> str:
    """Percent-decoded UTF-8. Raises ProtocolError(400) for a bad "%" and for what is no UTF-8."""
    before, *escapes = segment.split("%")
    for escape in escapes:
        if len(escape) < 2 or not _HEX.issuperset(escape[:2]):
            raise ProtocolError(400, "A '%' in the path is not followed by two digits.")
    try:
        return unquote_to_bytes(segment).decode() if escapes else before
    except UnicodeDecodeError:
        raise ProtocolError(400, "The path is not UTF-8.") from None
