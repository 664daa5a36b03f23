"""The router: from a path and a method to a stored value.

Patterns are paths whose segments may be parameters: `/echo/{text}` takes one segment,
`/user/{id:int}` one that is a number, and `/files/{name:path}` all that remain (the kinds are in
app/converters.py). Patterns are kept in a tree of segments, so that the cost of a match grows with
the length of the path and not with the number of routes. A literal segment comes before a
parameter, a narrow kind before a wide one, and one segment before all that remain; a branch that
ends without a route is left again.

A path is that of a request (see protocol/paths.py): it is split at "/", and each segment is decoded
to its end, so an encoded slash is part of a name and never a way into another directory (RFC 3986,
section 2.2). Below a mount of files, whose parameter is of the kind `names`, empty and dot segments
are removed (see `Router.resolve`), and the path that is left is looked up anew, so that each file
has the guards of the one path that it has.

The router knows methods as words, and nothing of the values that it stores: app/application.py
calls them.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from reactor.errors import ProtocolError
from reactor.remembered import remember
from reactor.web.app.converters import CONVERTERS, Converter, Names
from reactor.web.semantics.paths import (
    is_text,
    name_segments,
    path_of,
    quote_segment,
    resolve,
    segments,
)

ANY: Final = "*"  # the method of a route that takes every method
SHORT: Final = 128  # characters; a path up to this length is remembered once it was found
PATHS: Final = 256  # so many are remembered, and then forgotten all at once

B = TypeVar("B")
T = TypeVar("T")


class RouteError(ValueError):
    """A malformed pattern or prefix, or two routes that fit the same requests."""


class Parameter(NamedTuple):
    """A segment of a pattern in braces: `{name}` or `{name:kind}`."""

    name: str
    converter: Converter


class Target(NamedTuple, Generic[T]):
    """A stored value, with the names of its path parameters and the route that it came from."""

    names: tuple[str, ...]
    value: T
    route: str  # for error messages


Leaf: TypeAlias = dict[str, Target[T]]  # by method
Found: TypeAlias = tuple[Leaf[T], tuple[Any, ...]]  # and the values of the path parameters


class _Node(Generic[T]):
    """A node of the tree: the parts of patterns that may follow one segment."""

    __slots__ = ("children", "is_literal", "leaf", "parameters", "rests")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.leaf: Leaf[T] = {}  # for the path that ends here
        self.is_literal = True  # there is nothing in the two lists below
        # In the order in which they are tried, each with the route that added it.
        self.parameters: list[tuple[Converter, _Node[T], str]] = []
        self.rests: list[tuple[Converter, Leaf[T], str]] = []


class Router(Generic[T]):
    """Values by path and method."""

    def __init__(self, converters: Mapping[str, Converter] = CONVERTERS) -> None:
        self._converters = converters
        self._root: _Node[T] = _Node()
        # Short paths with what was found for them, since many clients ask for the same.
        self.known: dict[str, Found[T]] = {}

    def add(self, method: str, pattern: str, value: T, place: str = "") -> Leaf[T]:
        """Store the value, and return all that is stored for the pattern, by method.

        `place` describes the value in error messages. Raises RouteError for a malformed pattern,
        for a method and pattern that are stored already, and for parameters that fit the same
        segments as others at their place.
        """
        route = f"{method} {pattern}{place and f' ({place})'}"
        parts = parse_pattern(pattern, self._converters)
        leaf = self._leaf(parts, route)
        if method in leaf:
            raise RouteError(f"{route} exists already, as {leaf[method].route}")
        names = tuple(part.name for part in parts if isinstance(part, Parameter))
        leaf[method] = Target(names, value, route)
        self.known.clear()
        return leaf

    def find(self, path: str) -> Found[T] | None:
        """The best match of the path, or None; also None for a path that has to be resolved first.

        A match is looked for in `known` first, by the caller. Raises ProtocolError (400): see
        `segments`.
        """
        try:
            parts = segments(path) if "%" in path else path.split("/")
        except ProtocolError:
            name_segments(path)  # raises the error of a path that is malformed
            return None
        found = _first_match(self._root, parts, 1, ())
        if found is None:
            return None
        if found[1]:
            names = found[1][-1]
            if isinstance(names, Names) and ("//" in path or "/." in path):
                return found if resolve(names) in (None, list(names)) else None
        if len(path) <= SHORT:
            remember(self.known, path, found, PATHS)
        return found

    def find_all(self, path: str) -> Iterator[Found[T]]:
        """All matches of a resolved path, the best first. Raises ProtocolError (400)."""
        parts = name_segments(path)
        return _all_matches(self._root, parts, 1, (), all(map(is_text, parts)))

    def resolve(self, path: str) -> str:
        """The path without empty and dot segments, if its best match is a mount of files.

        A path whose ".." leads above the mount is returned as it is: no file has it. Raises
        ProtocolError (400) for a path that cannot be decoded, or that only names of files can have.
        """
        parts = name_segments(path)
        text = all(map(is_text, parts))
        if text and "//" not in path and "/." not in path:
            return path
        _, values = next(_all_matches(self._root, parts, 1, (), text), (None, ()))
        names = values[-1] if values else None
        if not isinstance(names, Names):
            segments(path)  # raises an error unless all of it is text
            return path
        rest = resolve(names)
        return path if rest is None else path_of([*parts[: -len(names)], *rest])

    def routes(self) -> list[tuple[str, str]]:
        """The method of each route, and its pattern with its place; sorted by pattern."""
        found: set[tuple[str, ...]] = set()
        nodes = [self._root]
        for node in nodes:
            nodes += [*node.children.values(), *(branch for _, branch, _ in node.parameters)]
            for leaf in (node.leaf, *(leaf for _, leaf, _ in node.rests)):
                found |= {tuple(target.route.split(" ", 1)) for target in leaf.values()}
        return sorted(((method, route) for method, route in found), key=itemgetter(1, 0))

    def _leaf(self, parts: Sequence[str | Parameter], route: str) -> Leaf[T]:
        """The leaf at the end of a pattern; missing nodes are made."""
        node = self._root
        for part in parts:
            if isinstance(part, str):
                node = node.children.setdefault(part, _Node())
                continue
            node.is_literal = False
            if part.converter.takes_rest:
                return _branch(node.rests, part.converter, {}, route)
            node = _branch(node.parameters, part.converter, _Node(), route)
        return node.leaf


def _branch(
    branches: list[tuple[Converter, B, str]], converter: Converter, new: B, route: str
) -> B:
    """The branch behind a parameter of this kind; `new` is added if there is none."""
    for known, branch, other in branches:
        if known == converter:
            return branch
        if known.rank == converter.rank:
            raise RouteError(
                f"{route} and {other} fit the same paths: "
                f"the kinds {converter.kind!r} and {known.kind!r} have the same rank"
            )
    branches.append((converter, new, route))
    branches.sort(key=lambda one: one[0].rank)
    return new


def parse_pattern(
    pattern: str, converters: Mapping[str, Converter] = CONVERTERS
) -> list[str | Parameter]:
    """The segments of a pattern: text for a literal, or a Parameter. Raises RouteError."""
    if not pattern.startswith("/"):
        raise RouteError(f"a pattern must begin with a slash, not {pattern!r}")
    parts = [_parse_part(segment, pattern, converters) for segment in pattern[1:].split("/")]
    parameters = [part for part in parts if isinstance(part, Parameter)]
    for part in parameters:
        if part.converter.takes_rest and part is not parts[-1]:
            raise RouteError(
                f"the parameter {part.name!r} takes all remaining segments and must be the last "
                f"in {pattern!r}"
            )
    if len({part.name for part in parameters}) < len(parameters):
        raise RouteError(f"two parameters have the same name in {pattern!r}")
    return parts


def _parse_part(segment: str, pattern: str, converters: Mapping[str, Converter]) -> str | Parameter:
    if "{" not in segment and "}" not in segment:
        return segment
    name, colon, kind = segment[1:-1].partition(":")
    if segment[0] != "{" or segment[-1] != "}" or not name.isidentifier():
        raise RouteError(
            f"a parameter must be {{name}} or {{name:kind}}, not {segment!r} in {pattern!r}"
        )
    converter = converters.get(kind if colon else "str")
    if converter is None:
        raise RouteError(
            f"the parameter kind {kind!r} in {pattern!r} is unknown; "
            f"known kinds: {', '.join(converters)}"
        )
    return Parameter(name, converter)


def build_path(parts: Sequence[str | Parameter], values: Mapping[str, Any]) -> str:
    """The path of a pattern with these values, percent-encoded.

    Raises ValueError for a value that is not of its kind, and for a path that would lead elsewhere.
    """
    written: list[str] = []
    for part in parts:
        if isinstance(part, str):
            written.append(part)
            continue
        value = part.converter.write(values[part.name])
        written += value if part.converter.takes_rest else [value]
    if (not written[0] and len(written) > 1) or not {".", ".."}.isdisjoint(written):
        # The path would begin with another server's name, or mean another path once resolved.
        raise ValueError(f"these values make the path of another place: {dict(values)!r}")
    return "/" + "/".join(map(quote_segment, written))


# --- finding -------------------------------------------------------------------------------------


def _first_match(
    node: _Node[T], segments: list[str], place: int, values: tuple[Any, ...]
) -> Found[T] | None:
    """The first of `_all_matches`, without the cost of generators."""
    count = len(segments)
    while place < count:
        segment = segments[place]
        place += 1
        child = node.children.get(segment)
        if child is not None:
            if node.is_literal:
                node = child
                continue
            if (found := _first_match(child, segments, place, values)) is not None:
                return found
        if segment:
            for converter, after, _ in node.parameters:
                try:
                    value = converter.read(segment)
                except ValueError:
                    continue
                if place < count:
                    found = _first_match(after, segments, place, (*values, value))
                    if found is not None:
                        return found
                elif after.leaf:
                    return after.leaf, (*values, value)
        for converter, leaf, _ in node.rests:
            try:
                return leaf, (*values, converter.read(segments[place - 1 :]))
            except ValueError:
                continue
        return None
    return (node.leaf, values) if node.leaf else None


def _all_matches(
    node: _Node[T], segments: list[str], place: int, values: tuple[Any, ...], text: bool
) -> Iterator[Found[T]]:
    """`text`: all segments are text. Otherwise the rest of the path can only be names of files."""
    while place < len(segments):
        segment = segments[place]
        child = node.children.get(segment)
        if node.is_literal:
            if child is None:
                return
            node, place = child, place + 1
            continue
        if child is not None:
            yield from _all_matches(child, segments, place + 1, values, text)
        if segment and (text or is_text(segment)):
            for converter, after, _ in node.parameters:
                try:
                    value = converter.read(segment)
                except ValueError:
                    continue
                yield from _all_matches(after, segments, place + 1, (*values, value), text)
        for converter, leaf, _ in node.rests:
            try:
                value = converter.read(segments[place:])
            except ValueError:
                continue
            if text or isinstance(value, Names):
                yield leaf, (*values, value)
        return
    if node.leaf:
        yield node.leaf, values
