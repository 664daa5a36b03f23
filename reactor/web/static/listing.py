"""The listing of a directory: a page for people, JSON for programs.

All readers share the work: one reading of a directory (static/directory_cache.py), one text for
each page of it (static/listing_pages.py). A response adds what stands around the entries, which
depends on the request: see listing_html.py and listing_json.py. The directory is read and the page
is made before the response begins, so that errors still have their status, the length is known, and
the entity tag is that of the content.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.net.client_network import client_network
from reactor.version import __version__
from reactor.web.semantics.file_names import name_of
from reactor.web.semantics.negotiation import prefers_json
from reactor.web.semantics.paths import name_segments, relative_reference
from reactor.web.semantics.preconditions import check_read, has_conditions
from reactor.web.static.directory_cache import ATTEMPTS, DirectoryCache
from reactor.web.static.limits import FileLimits
from reactor.web.static.listing_entries import Shown, asked_for
from reactor.web.static.listing_html import ACTIVE, HTML_FORM, QUIET, html_frame
from reactor.web.static.listing_json import JSON_FORM, json_frame, link_field
from reactor.web.static.listing_pages import (
    Page,
    PageBody,
    PageForm,
    PagePart,
    PageStore,
)
from reactor.web.static.snapshot import Summary
from reactor.web.storage.safe_path import Root

_COMMON: Final = (
    ("Vary", "Accept, Accept-Encoding"),
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
)
_CAN: Final = ("uploads", "deletes", "resumable", "archives")
_OURS: Final = {"content-type", "x-content-type-options"}  # fields of a listing that stay ours
_ADDED: Final = {"vary", "content-security-policy"}  # fields that are added to ours
_OF_CONTENT: Final = frozenset({"content-type", "content-length", "content-encoding", "link"})


class Listings:
    """Directories that were read, and pages: all listings of a mount share them."""

    def __init__(
        self,
        most_bytes: int = FileLimits.listing_bytes,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`most_bytes` of memory: one half is for directories, the other for pages."""
        self.directories = DirectoryCache(most_bytes // 2, clock=clock, wall=wall)
        self.pages = PageStore(most_bytes // 2, clock=clock)

    def drop_idle(self) -> None:
        """Drop what nobody has asked for; to be called now and then."""
        self.directories.drop_idle()
        self.pages.drop_idle()


@dataclass(frozen=True)
class ListingOptions:
    """The options of the listings of one mount.

    `most` is the number of entries of one directory that are listed, `page` the number of entries
    on one page. The fields in `headers` are on every response.
    They replace fields of ours with the same name, but for those that say what the page is and what
    it may do: a policy of theirs is added to ours.
    """

    uploads: bool = False
    deletes: bool = False
    resumable: bool = False
    archives: bool = False
    most: int = FileLimits.listing_entries
    page: int = FileLimits.listing_page
    headers: Fields = ()
    listings: Listings = field(default_factory=Listings, compare=False)


async def list_directory(
    request: BaseRequest, root: Root, segments: Sequence[str], options: ListingOptions
) -> Response:
    """Return a page of the directory's listing as HTML or, where the client prefers it, JSON.

    `segments` are its decoded names below the root, without the empty one after the path's last
    slash. Raises OSError if it is not a directory or cannot be read; ProtocolError(404) for a page
    of the JSON that does not exist, 503 where the client reads too many listings.
    """
    as_json = prefers_json(request.headers.get("accept"))
    form = JSON_FORM if as_json else HTML_FORM
    client = client_network(str(request.client[0]))
    path, names, above = _place_of(request, segments)
    page, summary, shown = await _find(request, root, segments, options, form, client)
    if as_json:
        head, tail = json_frame(summary, shown, path)
        parts: tuple[PagePart, ...] = (head.encode(), page, tail.encode())
        fields: Fields = (("Content-Type", "application/json"), *link_field(shown))
    else:
        layout = ACTIVE if options.uploads or options.deletes else QUIET
        can = [word for word in _CAN if getattr(options, word)]
        head, tail = html_frame(layout, summary, shown, path, names, above, can)
        parts = (layout.start, head.encode(), page, tail.encode(), layout.end)
        fields = layout.fields
    body = PageBody(parts, options.listings.pages.hold(client, page))
    known = (
        ("ETag", _tag(summary, form.name, shown, [part for part in parts if part is not page])),
        ("Content-Length", str(body.length)),
    )
    return Response(200, body, _headers((*known, *fields, *_COMMON), options))


def unless_known(request: BaseRequest, response: Response) -> Response:
    """Return the listing or, where the client has it, a 304 in its place.

    The coding must be chosen before: each one has a tag of its own. Raises ProtocolError(412).
    """
    if not has_conditions(request.headers):
        return response
    tag = next((value for name, value in response.headers if name == "ETag"), None)
    status = None if tag is None else check_read(request.headers, tag, None, 0.0)
    if status is None:
        return response
    response.close()
    if status == 304:
        fields = [one for one in response.headers if one[0].lower() not in _OF_CONTENT]
        return Response(304, b"", fields)
    raise ProtocolError(412, "The listing does not meet the request's If-Match.")


async def _find(
    request: BaseRequest,
    root: Root,
    segments: Sequence[str],
    options: ListingOptions,
    form: PageForm,
    client: str,
) -> tuple[Page, Summary, Shown]:
    """Return the page that the request asks for, and what it shows.

    No variable keeps a snapshot while the page waits for its turn: see PageStore.begin.
    """
    directories, pages = options.listings.directories, options.listings.pages
    for _ in range(ATTEMPTS):
        snapshot = await directories.find(client, root, segments, options.most)
        summary = snapshot.summary()
        shown = _shown(request, summary, options.page, clamped=form is not JSON_FORM)
        found = pages.begin(snapshot, form, shown.order, shown.span)
        del snapshot
        page = found if isinstance(found, Page) else await pages.wait(client, found)
        if page is not None:
            return page, summary, shown
    reason = "The server is listing too many large directories."
    raise ProtocolError(503, reason, [("Retry-After", "5")])


def _shown(request: BaseRequest, summary: Summary, size: int, *, clamped: bool) -> Shown:
    """Return the page to show; `clamped`: the last one where the directory has become smaller."""
    order, page = asked_for(request.query)
    pages = max(1, -(-summary.total // size))
    if page > pages and not clamped:
        raise ProtocolError(404, f"There is no page {page}: this listing ends with page {pages}.")
    return Shown(order, min(page, pages), pages, size, summary.total)


def _tag(summary: Summary, form: str, shown: Shown, frame: Sequence[PagePart]) -> str:
    """Return the entity tag: of all entries and of what stands around those of the page."""
    around = [part if isinstance(part, bytes) else part.checksum for part in frame]
    known = repr((__version__, summary, form, shown, around)).encode()
    return f'"{blake2b(known, digest_size=16).hexdigest()}"'


def _headers(ours: Fields, options: ListingOptions) -> Fields:
    theirs = [field for field in options.headers if field[0].lower() not in _OURS]
    given = {name.lower() for name, _ in theirs} - _ADDED
    return (*((name, value) for name, value in ours if name.lower() not in given), *theirs)


def _place_of(request: BaseRequest, segments: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """Return the path of the directory, the names on the way to it, and references to those above.

    The first name is the mount's. Path and names are text for people: bytes that are not UTF-8 are
    replaced. References start from the path that the client has asked for, whose empty segments
    are steps as well.
    """
    known = name_segments(request.path)[:-1]
    names = [name_of(one).decode(errors="replace") for one in known[1:]]
    before = len(names) - len(segments)
    home = "/".join(names[:before]) or request.host or "/"
    above = [
        relative_reference(request.raw_path, [*known[: before + 1 + depth], ""])
        for depth in range(len(segments))
    ]
    return "/".join(("", *names, "")), [home, *names[before:]], above
