"""GET /user-agent: the header field that names the client's program, as the bytes that it sent."""

from typing import Final

from reactor import FieldBlock, Request, Response

PLAIN: Final = FieldBlock([("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff")])


def user_agent(request: Request) -> Response:
    """The value of User-Agent; an empty body where there is none."""
    return Response(200, request.headers.get("user-agent").encode("latin-1"), PLAIN)
