"""Files that clients may have uploaded, and that must not act in the name of the server.

A browser runs the script of a page with the rights of the server that has sent it. So a file of a
type in which browsers run script is sandboxed: its page has an origin of its own, runs no script
and reads nothing of the server's other pages (CSP Level 3, section 6.4.2; HTML, section 7.1.5). The
policy is a field line of its own, beside those of the operator and of middlewares: browsers enforce
all of them. And no such file is the script of a service worker, which would go on serving all pages
below its directory when the file is gone.
"""

from collections.abc import Iterable
from typing import Final

from reactor.errors import ProtocolError
from reactor.messages.headers import Fields
from reactor.messages.request import BaseRequest
from reactor.web.semantics.media_types import runs_script

_SANDBOX: Final = (("Content-Security-Policy", "sandbox"),)


def policy_for(media_types: Iterable[str]) -> Fields:
    """Return the fields that sandbox a file with these values of Content-Type, if it needs that."""
    return _SANDBOX if any(map(runs_script, media_types)) else ()


def asks_for_worker(request: BaseRequest) -> bool:
    """Return whether a browser asks for the script of a service worker (its spec, "Update")."""
    return "service-worker" in request.headers


def worker_refusal(fields: Fields = ()) -> ProtocolError:
    """Return the 403 for such a request, with these fields."""
    sentence = "An uploaded file cannot be the script of a service worker."
    return ProtocolError(403, sentence, fields)
