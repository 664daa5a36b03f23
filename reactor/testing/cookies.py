"""A client's cookies, as RFC 6265, section 5, has them stored and sent.

A cookie is made from a `Set-Cookie` line and the request that its response belongs to: a missing
Domain means this host alone, a missing Path the directory of the request. Time is an argument, so
that a cookie lives as long as the simulated clock says. The standard library's jar would ask the
real one, and follows the rules that RFC 6265 replaced.

Left out: a list of public suffixes (a domain without a dot is taken for one), and SameSite, which
is about pages that are not there; its value is kept for who wants to look at it.
"""

import re
from calendar import timegm
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from reactor.protocol.dates import MONTHS

_MONTHS: Final = tuple(month.lower() for month in MONTHS)
# Section 5.1.1: what separates the tokens of a date, and what they are.
_DELIMITERS: Final = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY: Final = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR: Final = re.compile(r"([0-9]{2,4})(?![0-9])")
_SECONDS: Final = re.compile(r"-?[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie. A domain begins with a dot where the hosts below it are meant, too."""

    name: str
    value: str
    domain: str = ""  # "": any host, for cookies that the test itself has set
    path: str = "/"
    expires: float | None = None  # seconds since 1970; None: until the client is closed
    secure: bool = False
    http_only: bool = False
    same_site: str = ""

    def is_for(self, host: str, path: str, secure: bool) -> bool:
        """Whether a request is sent with it (section 5.4)."""
        return (
            (not self.secure or secure)
            and (not self.domain or _domain_matches(self.domain, host))
            and _path_matches(self.path, path)
        )


def parse_set_cookie(line: str, host: str, path: str, now: float) -> Cookie | None:
    """The cookie of a `Set-Cookie` line; None for one to be ignored (sections 5.2 and 5.3).

    `host` and `path` are those of the request, `now` is in seconds since 1970.
    """
    pair, *rest = line.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip(" \t")
    if not equals or not name:
        return None
    attributes: dict[str, str] = {}
    for one in rest:
        key, _, text = one.partition("=")
        _take_attribute(attributes, key.strip(" \t").lower(), text.strip(" \t"))
    domain = _domain(attributes.get("domain", ""), host)
    if domain is None:
        return None
    return Cookie(
        name,
        value.strip(" \t"),
        domain,
        attributes.get("path") or _default_path(path),
        _expiry(attributes, now),
        "secure" in attributes,
        "httponly" in attributes,
        attributes.get("samesite", ""),
    )


def parse_date(text: str) -> float | None:
    """A cookie's date in seconds since 1970, in any form (section 5.1.1)."""
    clock = day = month = year = None
    for token in _DELIMITERS.split(text):
        if clock is None and (match := _TIME.match(token)):
            clock = tuple(map(int, match.groups()))
        elif day is None and (match := _DAY.match(token)):
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = 1 + _MONTHS.index(token[:3].lower())
        elif year is None and (match := _YEAR.match(token)):
            year = int(match[1])
    if clock is None or day is None or month is None or year is None:
        return None
    if year < 100:
        year += 1900 if year >= 70 else 2000
    hour, minute, second = clock
    days = 31 if month != 2 else 28 + (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    days -= month in (4, 6, 9, 11)
    if not 1 <= day <= days or year < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    return float(timegm((year, month, day, hour, minute, second)))


class CookieJar:
    """The cookies of one client. `jar["name"]` is a value; iterating gives the cookies."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` says the time in seconds since 1970."""
        self._clock = clock
        # By what makes a cookie another one (section 5.3, step 11), in the order of creation.
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def store(self, lines: Iterable[str], host: str, path: str) -> None:
        """Take what a response's `Set-Cookie` lines say. One that has expired is removed."""
        for line in lines:
            cookie = parse_set_cookie(line, host, path, self._clock())
            if cookie is not None:
                self._cookies[cookie.name, cookie.domain, cookie.path] = cookie

    def to_send(self, host: str, path: str, secure: bool) -> list[Cookie]:
        """The cookies for a request: longer paths first, then older ones (section 5.4)."""
        fitting = [cookie for cookie in self if cookie.is_for(host, path, secure)]
        return sorted(fitting, key=lambda cookie: -len(cookie.path))

    def set(self, name: str, value: str, *, domain: str = "", path: str = "/") -> None:
        """Put one in: for any host, or for `domain` (".example.com": and the hosts below it).

        Raises ValueError for what would not be one cookie in a `Cookie` field.
        """
        if not name or re.search(r"[=;\s\x00-\x1f\x7f]", name):
            raise ValueError(f"not the name of a cookie: {name!r}")
        if re.search(r"[;\x00-\x1f\x7f]", value):
            raise ValueError(f"not the value of a cookie: {value!r}")
        self._cookies[name, domain, path] = Cookie(name, value, domain.lower(), path)

    def delete(self, name: str) -> None:
        """Forget every cookie of this name; nothing happens where there is none."""
        for key in [key for key in self._cookies if key[0] == name]:
            del self._cookies[key]

    def clear(self) -> None:
        """Forget all cookies."""
        self._cookies.clear()

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value; of several cookies of this name, the one that came last."""
        values = [cookie.value for cookie in self if cookie.name == name]
        return values[-1] if values else default

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __iter__(self) -> Iterator[Cookie]:
        now = self._clock()
        for key, cookie in tuple(self._cookies.items()):
            if cookie.expires is not None and cookie.expires <= now:
                del self._cookies[key]
        return iter(tuple(self._cookies.values()))

    def __len__(self) -> int:
        return len(tuple(iter(self)))


def _take_attribute(attributes: dict[str, str], key: str, value: str) -> None:
    """The last one counts, but one that says nothing is as if it were not there (section 5.2)."""
    if key == "path":
        value = value if value.startswith("/") else ""
    elif (
        (key == "domain" and not value)
        or (key == "max-age" and not _SECONDS.fullmatch(value))
        or (key == "expires" and parse_date(value) is None)
    ):
        return
    attributes[key] = value


def _expiry(attributes: dict[str, str], now: float) -> float | None:
    """Max-Age comes before Expires (section 5.3, step 3)."""
    if "max-age" in attributes:
        seconds = int(attributes["max-age"])
        return now + seconds if seconds > 0 else float("-inf")
    return parse_date(attributes["expires"]) if "expires" in attributes else None


def _domain(attribute: str, host: str) -> str | None:
    """Where the cookie is sent; None where this host may not say so (section 5.3, steps 4 to 6)."""
    domain = attribute.removeprefix(".").lower()
    if domain in ("", host):
        # A host that names itself means the hosts below it as well, where there can be any.
        return f".{host}" if domain and "." in host and not _is_address(host) else host
    if "." not in domain or not _domain_matches(f".{domain}", host):
        return None
    return f".{domain}"


def _domain_matches(domain: str, host: str) -> bool:
    """Section 5.1.3."""
    if not domain.startswith("."):
        return host == domain
    return host == domain[1:] or (host.endswith(domain) and not _is_address(host))


def _path_matches(cookie: str, path: str) -> bool:
    """Section 5.1.4: the path itself, and what is below it."""
    return path == cookie or (
        path.startswith(cookie) and (cookie.endswith("/") or path[len(cookie)] == "/")
    )


def _default_path(path: str) -> str:
    return path[: path.rfind("/")] if path.count("/") > 1 and path.startswith("/") else "/"


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
