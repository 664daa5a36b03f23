"""Response fields that make browsers trust a page less than they would by default.

A field that the response has already is left as it is: the application decides. No default limits
where a page may load scripts from, since that depends on the page: its author sets
`content_security_policy`.
"""

import re
from typing import Final, Literal

from reactor.messages.response import Response
from reactor.protocol.response_encoder import FieldBlock
from reactor.web.app.requests import Request
from reactor.web.endpoint import Middleware

YEAR: Final = 365 * 24 * 60 * 60

_ANCESTORS: Final = {"DENY": "'none'", "SAMEORIGIN": "'self'"}
_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class SecurityHeaders(Middleware):
    """Adds security fields to every response that lacks them.

        app = Application(SecurityHeaders(content_security_policy="default-src 'self'"))

    The fields are X-Content-Type-Options: nosniff (always), Referrer-Policy,
    Content-Security-Policy and X-Frame-Options, Cross-Origin-Opener-Policy, Permissions-Policy and
    Strict-Transport-Security. An empty value leaves a field out.
    """

    def __init__(
        self,
        *,
        referrer_policy: str = "strict-origin-when-cross-origin",
        frames: Literal["DENY", "SAMEORIGIN", ""] = "DENY",
        content_security_policy: str = "",
        opener_policy: str = "same-origin",
        permissions_policy: str = "",
        hsts_seconds: int = YEAR,
        hsts_subdomains: bool = False,
        hsts_preload: bool = False,
        hsts_always: bool = False,
    ) -> None:
        """Each option is the value of its field; an empty one leaves the field out.

        `frames` sets which pages may show this one in a frame, with both fields for that purpose:
        none (DENY), those of the same origin (SAMEORIGIN), or all ("").

        Strict-Transport-Security is sent over https only (RFC 6797, section 7.2), or always with
        `hsts_always`, for a server behind a proxy that terminates TLS. A browser that has seen it
        refuses plain http for `hsts_seconds`; 0 leaves the field out. `hsts_preload` requires
        `hsts_subdomains` and at least a year. Raises ValueError for a value that its field cannot
        have.
        """
        if frames and frames not in _ANCESTORS:
            raise ValueError(f"frames must be DENY, SAMEORIGIN or empty, not {frames!r}")
        hsts = _hsts(hsts_seconds, hsts_subdomains, hsts_preload)
        fields = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": referrer_policy,
            "X-Frame-Options": frames,
            "Content-Security-Policy": _with_ancestors(content_security_policy, frames),
            "Cross-Origin-Opener-Policy": opener_policy,
            "Permissions-Policy": permissions_policy,
        }
        secure = {**fields, "Strict-Transport-Security": hsts}
        self._secure = _block(secure)
        self._plain = _block(secure if hsts_always else fields)
        self._names = frozenset(name.lower() for name, _ in self._secure)

    def after(self, request: Request, response: Response) -> Response:
        ours = self._secure if request.scheme == "https" else self._plain
        theirs = response.headers
        names = {name.lower() for name, _ in theirs}
        if names.isdisjoint(self._names):
            return response.with_headers(*ours)
        added = (field for field in ours if field[0].lower() not in names)
        return response.with_headers(*added)


def _with_ancestors(policy: str, frames: str) -> str:
    """The policy with frame-ancestors, of which X-Frame-Options is an older spelling."""
    policy = policy.strip("; ")
    if not frames or "frame-ancestors" in policy.lower():
        return policy
    ancestors = f"frame-ancestors {_ANCESTORS[frames]}"
    return f"{policy}; {ancestors}" if policy else ancestors


def _hsts(seconds: int, subdomains: bool, preload: bool) -> str:
    """The value of Strict-Transport-Security (RFC 6797, section 6.1), "" for 0 seconds.

    The rules for `preload` are those of the browsers' list (hstspreload.org).
    """
    if seconds < 0:
        raise ValueError(f"hsts_seconds must be 0 or more, not {seconds}")
    if preload and not (subdomains and seconds >= YEAR):
        raise ValueError(
            f"hsts_preload requires hsts_subdomains and an hsts_seconds of at least {YEAR}"
        )
    flags = "; includeSubDomains" * subdomains + "; preload" * preload
    return f"max-age={seconds:d}{flags}" if seconds else ""


def _block(fields: dict[str, str]) -> FieldBlock:
    for name, value in fields.items():
        if value and not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} must be printable ASCII, not {value!r}")
    return FieldBlock((name, value) for name, value in fields.items() if value)
