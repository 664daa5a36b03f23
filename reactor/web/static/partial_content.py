"""206 (Partial Content): the response to a Range, for any file (RFC 9110, sections 14 and 15.3.7).

The static file server and the application's `file` share it. It knows no preconditions: the caller
evaluates them first, If-Range among them (section 13.2.2).
"""

import os

from reactor.files.file import File
from reactor.files.region import FileRegion, MultiRegion
from reactor.messages.headers import Fields
from reactor.messages.response import Response
from reactor.web.semantics.ranges import content_range, multipart, parse_ranges


def partial_response(
    value: str, file: File, media_type: str, fields: Fields, most: int
) -> Response | None:
    """Return the 206 for a Range of `value`, or None where the whole file is to be sent.

    `fields` are those of the whole file's 200, Content-Type among them; `most` limits the number of
    ranges. Each region of the body holds the file. Raises Unsatisfiable (416).
    """
    found = parse_ranges(value, file.size, most)
    if found is None:
        return None

    def region(offset: int, length: int) -> FileRegion:
        return FileRegion(file.hold(), offset, length)

    if len(found) == 1:
        offset, length = found[0]
        content = ("Content-Range", content_range(offset, length, file.size))
        return Response(206, region(offset, length), (*fields, content))
    boundary = os.urandom(12).hex()
    kind, pieces = multipart(found, file.size, media_type, region, boundary)
    rest = (field for field in fields if field[0].lower() != "content-type")
    return Response(206, MultiRegion(pieces), (("Content-Type", kind), *rest))
