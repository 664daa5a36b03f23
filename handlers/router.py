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
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from reactor import ProtocolError, Request, Response

Answer: TypeAlias = Response | Awaitable[Response]
Endpoint: TypeAlias = Callable[[Request], Answer]

_HEX: Final = frozenset("0123456789abcdefABCDEF")


class _Node:
    """What may follow one segment."""

    __slots__ = ("children", "methods", "parameter", "rest", "rest_methods")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.methods: dict[str, Endpoint] = {}  # of the path that ends here
        self.parameter: tuple[str, _Node] | None = None
        self.rest = ""  # the name of a parameter for all that is left
        self.rest_methods: dict[str, Endpoint] = {}


class Router:
    """A handler that calls the endpoint of a route; 404, 405, HEAD and OPTIONS by itself."""

    def __init__(self) -> None:
        self._root = _Node()
        self._methods = {"OPTIONS"}

    def add(self, method: str, pattern: str, endpoint: Endpoint) -> None:
        """Call `endpoint` for `method` on what `pattern` describes; GET answers HEAD as well.

        Raises ValueError for a pattern that is none, and for one that is there already.
        """
        methods = self._leaf(pattern)
        if method in methods:
            raise ValueError(f"{method} {pattern} is there already")
        methods[method] = _with_content(endpoint)
        self._methods.update(_allowed({method: endpoint}))

    def __call__(self, request: Request) -> Answer:
        found = self._find(request.path, request)
        if found is None:
            if request.path == "*":
                return _allow(self._methods)
            raise ProtocolError(404, "There is nothing here.")
        endpoint = found.get(request.method)
        if endpoint is not None:
            return endpoint(request)
        if request.method == "HEAD" and "GET" in found:
            return found["GET"](request)
        if request.method == "OPTIONS":
            return _allow(_allowed(found))
        allow = ", ".join(sorted(_allowed(found)))
        raise ProtocolError(405, f"Here the methods are {allow}.", [("Allow", allow)])

    def _leaf(self, pattern: str) -> dict[str, Endpoint]:
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

    def _find(self, path: str, request: Request) -> dict[str, Endpoint] | None:
        """The methods for a path, its parameters left in the request; None for 404."""
        raw = path.split("/")
        if raw[0]:
            return None  # the asterisk
        segments = [decode_segment(one) for one in raw] if "%" in path else raw
        return _descend(self._root, segments, 1, request)


def _descend(
    node: _Node, segments: list[str], place: int, request: Request
) -> dict[str, Endpoint] | None:
    """A literal segment before a parameter, a parameter before the rest."""
    if place == len(segments):
        return node.methods or None
    child = node.children.get(segments[place])
    if child is not None and (found := _descend(child, segments, place + 1, request)):
        return found
    if node.parameter is not None and segments[place]:
        name, child = node.parameter
        if found := _descend(child, segments, place + 1, request):
            request.params[name] = segments[place]
            return found
    if node.rest:
        request.params[node.rest] = tuple(segments[place:])
        return node.rest_methods
    return None


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


def _with_content(endpoint: Endpoint) -> Endpoint:
    """Let a plain function wait for its request's body, where there is one."""
    if inspect.iscoroutinefunction(endpoint):
        return endpoint

    async def read_and_call(request: Request) -> Response:
        request.content = await request.body.read()
        answer = endpoint(request)
        return answer if isinstance(answer, Response) else await answer

    def call(request: Request) -> Answer:
        return endpoint(request) if request.length == 0 else read_and_call(request)

    return call


def _allowed(methods: dict[str, Endpoint]) -> set[str]:
    return {*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}


def _allow(methods: set[str]) -> Response:
    return Response(204, headers=[("Allow", ", ".join(sorted(methods)))])
