"""The request that applications get: query arguments, cookies, text, JSON and forms, decoded.

The parser makes the requests for an Application of this class: an object around a request would
cost more. Decoded data is cached in `state`, where middlewares may keep their own.

A body is read once, whole, into `content`, up to `Limits.memory_body_bytes`. An `async def` says
`await request.json()`; a plain endpoint is called when `content` is there, and says
`json_of(request)`. Mistakes of the client raise a ProtocolError with a sentence: 415 for a type or
a content coding that is not supported, before a byte of the body is read; 400 for malformed data.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

from reactor.errors import ProtocolError
from reactor.messages.body import PIECE_BYTES, Body
from reactor.messages.request import BaseRequest
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
    unsupported_type,
)
from reactor.web.limits import Limits
from reactor.web.semantics.multipart import FormParser, FormPart, boundary_of

READS_FOR_CALLERS: Final = True  # see messages/body.py


class Request(BaseRequest):
    """A request, as the endpoints and middlewares of an Application get it.

    `method`, `target`, `raw_path` and `query` are as the client sent them, the last two still
    percent-encoded. `path` is decoded, except for encoded slashes (`%2F`), percent signs (`%25`)
    and bytes that are not UTF-8; `params` are the decoded parameters of the path. `headers` is a
    case-insensitive mapping. `scheme` is http or https; `host` is the Host field. `client` is the
    address and port of the client, and `client_closed` is True when it sends nothing more. `body`
    is a stream of bytes that is read on demand; `content` are its bytes once it was read whole.

    `limits` are those of the server. The methods that read the body raise ProtocolError: 400, 413,
    415, or 408 for a client that is too slow.
    """

    __slots__ = ()

    limits_class = Limits
    limits: Limits

    @property
    def state(self) -> dict[str, Any]:
        """A dict for middlewares and endpoints to share data of this request."""
        try:
            state: dict[str, Any] = self._state
        except AttributeError:
            state = self._state = {}
        return state

    @property
    def url(self) -> str:
        """The URL of the request (RFC 9110, section 7.1), with the host that the client named.

        Raises ProtocolError (400) for an HTTP/1.0 request without a host.
        """
        if not self.host:
            raise ProtocolError(400, "The request does not name its host.")
        path = "" if self.path == "*" else self.raw_path
        return f"{self.scheme}://{self.host}{path}{'?' if self.query else ''}{self.query}"

    @property
    def args(self) -> Arguments:
        """The decoded arguments of the query.

        Raises ProtocolError: 414 for more than `Limits.form_parts`, 400 for bytes that are not
        UTF-8.
        """
        found: Arguments | None = self.state.get("reactor.args")
        if found is None:
            pairs = parse_pairs(self.query, self.limits.form_parts, 414)
            found = self.state["reactor.args"] = Arguments(pairs)
        return found

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name.

        The first of one name counts: its path is the longest (RFC 6265, section 5.4).
        The dict is cached: treat it as read-only.
        """
        found: dict[str, str] | None = self.state.get("reactor.cookies")
        if found is None:
            value = ";".join(self.headers.get_all("cookie"))
            found = self.state["reactor.cookies"] = parse_cookies(value)
        return found

    async def read(self) -> bytes:
        """The whole body. Raises ProtocolError (413) beyond `Limits.memory_body_bytes`."""
        if not self.content and self.length != 0:
            self.content = await self.body.whole()
        return self.content

    async def text(self) -> str:
        """The body as text; see `text_of`."""
        charset_of(self)
        await self.read()
        return text_of(self)

    async def json(self) -> Any:
        """The body as JSON; see `json_of`."""
        check_json_type(self)
        await self.read()
        return json_of(self)

    async def form(self) -> Form:
        """The fields and files of a form, held in memory; see `form_of`."""
        form_type(self)
        await self.read()
        return form_of(self)

    def parts(self) -> AsyncIterator[FormPart | bytes]:
        """The parts of a form (multipart/form-data) as they arrive.

            async for event in request.parts():
                if isinstance(event, FormPart):
                    ...  # a new part: event.name, event.filename, event.media_type
                else:
                    ...  # bytes, the next piece of its content

        One piece is held in memory; a part may be as long as `Limits.upload_bytes` allows the body
        to be. Raises ProtocolError: 415 for another Content-Type, 413 beyond `Limits.form_parts`
        or `Limits.form_head_bytes`, 400 for a malformed form.
        """
        check_coding(self)
        boundary = boundary_of(self.headers.get("content-type"))
        if boundary is None:
            raise unsupported_type("multipart/form-data")
        return _stream_parts(self, form_parser(self, boundary))


def adopt(request: BaseRequest) -> None:
    """Make a request of the engine's class one of this class, in place.

    A server makes the requests for an Application of this class (see `Application.request_class`).
    This is for the requests that come by way of another handler, which has no such attribute. The
    connection holds the very object, so that a copy would not do.
    """
    if not isinstance(request, Request):
        request.__class__ = Request
        if isinstance(request.body, Body):
            request.body.rewind()  # the other handler may have read some of it


async def _stream_parts(request: Request, parser: FormParser) -> AsyncIterator[FormPart | bytes]:
    request.body.rewind()
    piece = request.content  # a middleware may have read it before, and may have changed it
    while piece or (piece := await request.body.read(PIECE_BYTES)):
        parser.feed(piece)
        while (event := parser.next_event()) is not None:
            if isinstance(event, FormPart | bytes):
                yield event
        piece = b""
        if request.content:
            break
    parser.end()
