"""Set-Cookie fields (RFC 6265): made, checked, deleted."""

import re
from datetime import datetime
from typing import Final, Literal

from reactor.messages.response import Response
from reactor.protocol.dates import http_date

_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token
_COOKIE_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")  # cookie-octets
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|")
_PATH: Final = re.compile(r"/[ -:<-~]*|")
_SAME_SITE: Final = ("Strict", "Lax", "None")
_COOKIE_BYTES: Final = 4096  # of name and value; browsers drop more (rfc6265bis, section 5.6)


def set_cookie(
    response: Response,
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    expires: datetime | None = None,
    path: str = "/",
    domain: str = "",
    secure: bool = False,
    http_only: bool = True,
    same_site: Literal["Strict", "Lax", "None"] | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """The same response with a cookie; `max_age` is in seconds, and 0 takes the cookie away.

    By default it is for the whole site, out of reach of scripts, not sent along from other sites,
    and gone with the browser. An empty `path` is that of the request, an empty `domain` the host
    alone. Raises ValueError for what a cookie cannot be, or what browsers would drop: a name that
    is no token, a value with spaces, commas, semicolons, quotes or what is not ASCII, more than
    4,096 bytes, a time without a zone, `SameSite=None` or `Partitioned` without `Secure`.
    """
    _check_cookie(name, value)
    _check_scope(name, path, domain, secure)
    _check_sites(same_site, secure, partitioned)
    attributes = [f"{name}={value}"]
    if max_age is not None:
        attributes.append(f"Max-Age={max_age:d}")
    if expires is not None:
        attributes.append(f"Expires={_expiry(expires)}")
    texts = (("Domain", domain), ("Path", path), ("SameSite", same_site))
    attributes += [f"{attribute}={value}" for attribute, value in texts if value]
    flags = (("Secure", secure), ("HttpOnly", http_only), ("Partitioned", partitioned))
    attributes += [flag for flag, wanted in flags if wanted]
    response.headers = (*response.headers, ("Set-Cookie", "; ".join(attributes)))
    return response


def delete_cookie(
    response: Response,
    name: str,
    *,
    path: str = "/",
    domain: str = "",
    secure: bool = False,
    same_site: Literal["Strict", "Lax", "None"] | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """The same response, taking the cookie away.

    `path`, `domain` and `partitioned` are those that it was set with; it would be another cookie
    otherwise. Raises ValueError as `set_cookie` does.
    """
    return set_cookie(
        response, name, "", max_age=0, path=path, domain=domain, secure=secure,
        same_site=same_site, partitioned=partitioned,
    )  # fmt: skip


def _check_cookie(name: str, value: str) -> None:
    if not _COOKIE_NAME.fullmatch(name):
        raise ValueError(f"no name of a cookie: {name!r}")
    if not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(f"no value of a cookie, unless it is encoded: {value!r}")
    if len(name) + len(value) > _COOKIE_BYTES:
        raise ValueError(f"more than {_COOKIE_BYTES} bytes in the cookie {name!r}")


def _check_scope(name: str, path: str, domain: str, secure: bool) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError(f"no path of a cookie: {path!r}")
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"no domain of a cookie: {domain!r}")
    # What browsers ask of the two prefixes, in any case (rfc6265bis, section 4.1.3).
    folded = name.lower()
    if folded.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"a cookie of this name has to be Secure: {name!r}")
    if folded.startswith("__host-") and (path != "/" or domain):
        raise ValueError(f"a cookie of this name has the path / and no domain: {name!r}")


def _check_sites(same_site: str | None, secure: bool, partitioned: bool) -> None:
    if same_site is not None and same_site not in _SAME_SITE:
        raise ValueError(f"SameSite is one of {', '.join(_SAME_SITE)}, not {same_site!r}")
    if not secure and (same_site == "None" or partitioned):
        raise ValueError("browsers take SameSite=None and Partitioned only with Secure")


def _expiry(expires: datetime) -> str:
    if expires.utcoffset() is None:  # it would be taken for the server's local time
        raise ValueError(f"a time without a zone: {expires}")
    return http_date(expires.timestamp())
