"""One file at its own name, to which `/` redirects. Its neighbours are not served.

The name stands in the URL, since programs and browsers save a file under the last name of its
path. The file server looks the file up as in any directory, so it may be replaced while it is
served.
"""

from collections.abc import Callable

from reactor.errors import ProtocolError
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.web.app.application import Application
from reactor.web.app.responses import redirect
from reactor.web.endpoint import Endpoint, ResponseOrAwaitable, may_wait
from reactor.web.semantics.paths import relative_reference


def add_file(router: Application, name: str, get: Endpoint) -> None:
    """Add the routes of the file; `get` serves it by `params["name"]`."""
    router.add("GET", "/", _to(name))
    router.add("GET", "/{name:names}", _only(name, get))


def _to(name: str) -> Callable[[BaseRequest], Response]:
    def to_file(request: BaseRequest) -> Response:
        return redirect(relative_reference(request.raw_path, ("", name), request.query))

    return to_file


def _only(name: str, get: Endpoint) -> Endpoint:
    @may_wait
    def only(request: BaseRequest) -> ResponseOrAwaitable:
        if request.params["name"] != (name,):
            raise ProtocolError(404, "There is nothing here by that name.")
        return get(request)

    return only
