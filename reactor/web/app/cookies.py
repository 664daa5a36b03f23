"""Set-Cookie fields (RFC 6265, section 4.1): a new Response with one more.

A name or a value that a cookie cannot have is a mistake of the application: it raises ValueError
before anything is sent. Nothing is encoded silently.
"""

import re
from datetime import datetime
from typing import Final, Literal, TypeAlias

from reactor.messages.response import Response
from reactor.protocol.dates import http_date
from reactor.protocol.grammar import is_token

SameSite: TypeAlias = Literal["Strict", "Lax", "None"]

_VALUE: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")  # cookie-octets
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|")
_PATH: Final = re.compile(r"/[ -:<-~]*|")
_SAME_SITE: Final = ("Strict", "Lax", "None")
_MAX_BYTES: Final = 4096  # with the name; browsers drop more (rfc6265bis, section 5.6)


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
    same_site: SameSite | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """A new response: `response` with a cookie, in a Set-Cookie field.

        return set_cookie(redirect("/"), "theme", "dark", max_age=86400, secure=True)

    By default the cookie is for the whole site, hidden from scripts, not sent with requests from
    other sites, and kept until the browser is closed. `max_age` is in seconds; 0 deletes the
    cookie. An empty `path` is the directory of the request's path, an empty `domain` the host
    alone.

    Raises ValueError for options that a cookie cannot have or browsers would drop: a name that is
    no token; a value with spaces, commas, semicolons, quotes, backslashes or characters beyond
    ASCII; more than 4,096 bytes of name and value; `expires` without a time zone; `SameSite=None`
    or `Partitioned` without `secure`; `__Secure-` and `__Host-` names without the options that they
    require.
    """
    _check_pair(name, value)
    _check_scope(name, path, domain, secure)
    _check_sites(same_site, secure, partitioned)
    attributes = [f"{name}={value}"]
    if max_age is not None:
        attributes.append(f"Max-Age={max_age:d}")
    if expires is not None:
        attributes.append(f"Expires={_http_date(expires)}")
    texts = (("Domain", domain), ("Path", path), ("SameSite", same_site))
    attributes += [f"{attribute}={text}" for attribute, text in texts if text]
    flags = (("Secure", secure), ("HttpOnly", http_only), ("Partitioned", partitioned))
    attributes += [flag for flag, wanted in flags if wanted]
    return response.with_headers(("Set-Cookie", "; ".join(attributes)))


def delete_cookie(
    response: Response,
    name: str,
    *,
    path: str = "/",
    domain: str = "",
    secure: bool = False,
    same_site: SameSite | None = "Lax",
    partitioned: bool = False,
) -> Response:
    """A new response: `response` with a Set-Cookie field that deletes the cookie.

    `path`, `domain` and `partitioned` have to be those that it was set with; other values are about
    another cookie. Raises ValueError as `set_cookie` does.
    """
    return set_cookie(
        response, name, "", max_age=0, path=path, domain=domain, secure=secure,
        same_site=same_site, partitioned=partitioned,
    )  # fmt: skip


def _check_pair(name: str, value: str) -> None:
    if not is_token(name):
        raise ValueError(f"a cookie's name must be a token (RFC 9110, section 5.6.2), not {name!r}")
    if not _VALUE.fullmatch(value):
        raise ValueError(
            "a cookie's value must be ASCII without spaces, commas, semicolons, quotes and "
            f"backslashes; encode it first: {value!r}"
        )
    if len(name) + len(value) > _MAX_BYTES:
        raise ValueError(
            f"the cookie {name!r} has {len(name) + len(value)} bytes of name and value; "
            f"at most {_MAX_BYTES} are kept by browsers"
        )


def _check_scope(name: str, path: str, domain: str, secure: bool) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"a cookie's path must begin with a slash and have no semicolon, not {path!r}"
        )
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"a cookie's domain must be a host name, not {domain!r}")
    # The rules of browsers for the two prefixes, in any case (rfc6265bis, section 4.1.3).
    folded = name.lower()
    if folded.startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"a cookie with the prefix of {name!r} must be secure=True")
    if folded.startswith("__host-") and (path != "/" or domain):
        raise ValueError(f"a cookie with the prefix of {name!r} must have path='/' and no domain")


def _check_sites(same_site: str | None, secure: bool, partitioned: bool) -> None:
    if same_site is not None and same_site not in _SAME_SITE:
        raise ValueError(f"same_site must be {', '.join(_SAME_SITE)} or None, not {same_site!r}")
    if not secure and (same_site == "None" or partitioned):
        raise ValueError("browsers accept SameSite=None and Partitioned only with secure=True")


def _http_date(expires: datetime) -> str:
    if expires.utcoffset() is None:  # it would be taken for the server's local time
        raise ValueError(f"expires must have a time zone: {expires}")
    return http_date(expires.timestamp())
