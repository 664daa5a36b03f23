"""A request as applications like it: arguments, cookies, JSON and forms taken apart.

It is the very object that the connection has made; an Application gives it this class (see
app/application.py), which costs less than an object around it. What is taken apart is kept, in the
one place that middlewares may leave things in as well, `state`.

A body is read once, whole, into `content`, and bounded by `Limits.memory_body_bytes`. Whoever is
`async def` says `await request.json()`; a plain endpoint is called when `content` is there, and
says `json_of(request)`. What cannot be read is the client's fault, and told in a sentence: 415 for
a type or an encoding that is none of ours, before a byte of it is read, and 400 for what is
malformed in one that is.

Whatever comes out of a body can be written again, as UTF-8 or as JSON: what could not is refused
with the rest. The limits are those of the server that the application was prepared for.
"""

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

from reactor.errors import ProtocolError
from reactor.limits import Limits
from reactor.messages import request as messages
from reactor.web.app.request_data import (
    Arguments,
    Form,
    charset_of,
    check_coding,
    check_json_type,
    form_of,
    form_parser,
    form_type,
    json_of,
    parse_cookies,
    parse_pairs,
    text_of,
    wrong_type,
)
from reactor.web.semantics.multipart import FormParser, FormPart, boundary_of

PIECE_BYTES: Final = 64 * 1024


class Request(messages.Request):
    """`reactor.Request` and what can be made of it. Methods raise ProtocolError as said above."""

    __slots__ = ()

    limits: ClassVar[Limits] = Limits()

    @property
    def state(self) -> dict[str, Any]:
        """A place for middlewares to leave things, for as long as the request lasts."""
        try:
            state: dict[str, Any] = self._state
        except AttributeError:
            state = self._state = {}
        return state

    @property
    def url(self) -> str:
        """The whole URL that was asked for (RFC 9110, section 7.1), by the client's word for host.

        Raises ProtocolError(400) where a client of HTTP/1.0 has named no host.
        """
        if not self.host:
            raise ProtocolError(400, "The request does not say which host it is for.")
        path = "" if self.path == "*" else self.path
        return f"{self.scheme}://{self.host}{path}{'?' if self.query else ''}{self.query}"

    @property
    def args(self) -> Arguments:
        """The arguments in the query, `Limits.form_parts` at most: ProtocolError(414) beyond."""
        found: Arguments | None = self.state.get("reactor.args")
        if found is None:
            pairs = parse_pairs(self.query, self.limits.form_parts, 414)
            found = self.state["reactor.args"] = Arguments(pairs)
        return found

    @property
    def cookies(self) -> dict[str, str]:
        """By name. Of several of one name the first counts: its path is longer (RFC 6265, 5.4)."""
        found: dict[str, str] | None = self.state.get("reactor.cookies")
        if found is None:
            value = ";".join(self.headers.get_all("cookie"))
            found = self.state["reactor.cookies"] = parse_cookies(value)
        return found

    async def read(self) -> bytes:
        """The whole body. Raises ProtocolError(413) for one that is too large for the memory."""
        if not self.content and self.length != 0:
            self.content = await self.body.read()
        return self.content

    async def text(self) -> str:
        """The body as text, of the charset that its type says, or UTF-8, without a BOM."""
        charset_of(self)
        await self.read()
        return text_of(self)

    async def json(self) -> Any:
        """What the body says as JSON; see `json_of`."""
        check_json_type(self)
        await self.read()
        return json_of(self)

    async def form(self) -> Form:
        """The fields and files of a form, of either of the two types that browsers send."""
        form_type(self)
        await self.read()
        return form_of(self)

    def parts(self) -> "AsyncIterator[FormPart | bytes]":
        """A form (multipart/form-data) as it comes: each Part, then its content piece by piece.

        Nothing is held but one piece; a part may be as long as `Limits.upload_bytes` lets the body
        be. `form_parts` and `form_head_bytes` bound the rest: ProtocolError(413).
        """
        check_coding(self)
        boundary = boundary_of(self.headers.get("content-type"))
        if boundary is None:
            raise wrong_type("multipart/form-data")
        return _stream_parts(self, form_parser(self, boundary))


def with_limits(limits: Limits) -> type[Request]:
    """The class of the requests of one server: an attribute of each request would cost."""
    made: type[Request] = type("Request", (Request,), {"__slots__": (), "limits": limits})
    return made


async def _stream_parts(request: Request, parser: FormParser) -> AsyncIterator[FormPart | bytes]:
    piece = request.content  # it may have been read before, by a middleware
    while piece or (piece := await request.body.read(PIECE_BYTES)):
        parser.feed(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, FormPart | bytes):
                yield event
        piece = b""
    parser.end()
