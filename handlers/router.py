"""From a method and a path to an endpoint.

Patterns are paths whose segments may be parameters: `/echo/{text}` takes one segment, and
`/files/{name:path}` all that are left, as a tuple. They lie in a tree of segments, so matching
costs as much as the path is long, however many routes there are.

The target is split at "/" before anything is decoded, and each segment is decoded once: an encoded
slash is part of a name and never a way into another folder (RFC 3986, section 2.2).

An endpoint that is `async def` pulls the request's body itself. A plain one is called when all of
it is there, in `request.content`.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from reactor import ProtocolError, Request, Response

Answer: TypeAlias = Response | Awaitable[Response]
Endpoint: TypeAlias = Callable[[Request], Answer]

_HEX: Final = frozenset("0123456789abcdefABCDEF")


class _Route:
    """An endpoint, and whether it wants its request's body read for it."""

    __slots__ = ("endpoint", "reads")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.reads = not inspect.iscoroutinefunction(endpoint)


Methods: TypeAlias = dict[str, _Route]
Found: TypeAlias = tuple[Methods, Mapping[str, Any]]  # of a path: what there is, and its parameters

NOTHING: Final[tuple[Methods, dict[str, Any]]] = ({}, {})
SHORT: Final = 128  # characters of a path that is remembered once it is found


class _Node:
    """What may follow one segment."""

    __slots__ = ("children", "methods", "parameter", "rest", "rest_methods")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.methods: Methods = {}  # of the path that ends here
        self.parameter: tuple[str, _Node] | None = None
        self.rest = ""  # the name of a parameter for all that is left
        self.rest_methods: Methods = {}


class Router:
    """A handler that calls the endpoint of a route; 404, 405, HEAD and OPTIONS by itself."""

    def __init__(self) -> None:
        self._root = _Node()
        self._methods = {"OPTIONS"}
        # Many clients ask for the same. No method of this object: that would be a circle of
        # references, and what endpoints hold open would stay so until it is found.
        self._find_short = lru_cache(maxsize=256)(partial(_find, self._root))

    def add(self, method: str, pattern: str, endpoint: Endpoint) -> None:
        """Call `endpoint` for `method` on what `pattern` describes; GET answers HEAD as well.

        Raises ValueError for a pattern that is none, and for one that is there already.
        """
        methods = self._leaf(pattern)
        if method in methods:
            raise ValueError(f"{method} {pattern} is there already")
        methods[method] = _Route(endpoint)
        self._find_short.cache_clear()
        self._methods.update(_allowed(methods))

    def __call__(self, request: Request) -> Answer:
        path = request.path
        found, request.params = (
            self._find_short(path) if len(path) <= SHORT else _find(self._root, path)
        )
        if not found:
            if path == "*":
                return _allow(self._methods)
            raise ProtocolError(404, "There is nothing here.")
        route = found.get(request.method)
        if route is None:
            if request.method != "HEAD" or "GET" not in found:
                return _other_method(request, found)
            route = found["GET"]
        if request.length == 0 or not route.reads:
            return route.endpoint(request)
        return _read_and_call(route.endpoint, request)

    def _leaf(self, pattern: str) -> Methods:
        """The methods at the end of the pattern, whose nodes are made where they are missing."""
        if not pattern.startswith("/"):
            raise ValueError(f"a pattern begins with a slash: {pattern!r}")
        node = self._root
        segments = pattern[1:].split("/")
        for place, segment in enumerate(segments, 1):
            if not segment.startswith("{"):
                node = node.children.setdefault(segment, _Node())
                continue
            name, _, kind = segment[1:-1].partition(":")
            if not segment.endswith("}") or not name.isidentifier() or kind not in ("", "path"):
                raise ValueError(f"no parameter: {segment!r} in {pattern!r}")
            if kind == "path":
                if place < len(segments) or node.rest not in ("", name):
                    raise ValueError(f"{segment!r} must come last, and alone, in {pattern!r}")
                node.rest = name
                return node.rest_methods
            if node.parameter is None:
                node.parameter = (name, _Node())
            elif node.parameter[0] != name:
                raise ValueError(f"{pattern!r} calls {node.parameter[0]!r} {name!r}")
            node = node.parameter[1]
        return node.methods


def _find(root: _Node, path: str) -> Found:
    """Raises ProtocolError(400) for a path that cannot be decoded."""
    segments = path.split("/")
    if "%" in path:
        segments = [decode_segment(segment) for segment in segments]
    methods, params = _descend(root, segments, 1)
    return methods, MappingProxyType(params)  # it is remembered, and shared


def _descend(node: _Node, segments: list[str], place: int) -> tuple[Methods, dict[str, Any]]:
    """What is at the end of a path, and its parameters; nothing where there is no such path.

    A literal segment comes before a parameter, and a parameter before all the rest.
    """
    while place < len(segments):
        segment = segments[place]
        place += 1
        child = node.children.get(segment)
        if node.parameter is None and not node.rest:
            if child is None:
                return NOTHING
            node = child
            continue
        if child is not None and (found := _descend(child, segments, place))[0]:
            return found
        if node.parameter is not None and segment:
            name, child = node.parameter
            methods, params = _descend(child, segments, place)
            if methods:
                return methods, {name: segment, **params}
        if node.rest:
            return node.rest_methods, {node.rest: tuple(segments[place - 1 :])}
        return NOTHING
    return node.methods, {}


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


async def _read_and_call(endpoint: Endpoint, request: Request) -> Response:
    """A plain endpoint is called when all of the body is there."""
    request.content = await request.body.read()
    answer = endpoint(request)
    return answer if isinstance(answer, Response) else await answer


def _other_method(request: Request, found: Methods) -> Response:
    if request.method == "OPTIONS":
        return _allow(_allowed(found))
    allow = ", ".join(sorted(_allowed(found)))
    raise ProtocolError(405, f"Here the methods are {allow}.", [("Allow", allow)])


def _allowed(methods: Methods) -> set[str]:
    return {*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}


def _allow(methods: set[str]) -> Response:
    return Response(204, headers=[("Allow", ", ".join(sorted(methods)))])
