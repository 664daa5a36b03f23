"""Fields that tell browsers to trust a page less than they would by themselves.

What the application says of an answer counts: a field that the answer has is left as it is. Nothing
here says from where a page may load scripts: that depends on the page, and is for whoever writes it
(`content_security_policy`).
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
    """Adds what an answer does not have of the fields below; an empty value leaves one out.

    X-Content-Type-Options: nosniff (always), Referrer-Policy, Content-Security-Policy and
    X-Frame-Options, Cross-Origin-Opener-Policy, Permissions-Policy, Strict-Transport-Security.
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
        """`frames`: which pages may show this one in a frame, told by both fields that say so.

        Strict-Transport-Security is sent over https only (RFC 6797, section 7.2), and with
        `hsts_always` in any case, for a server behind a proxy that ends TLS. Once a browser has
        seen it, it refuses plain http for `hsts_seconds`; 0 here leaves the field out. Raises
        ValueError for what no field can say.
        """
        if frames and frames not in _ANCESTORS:
            raise ValueError(f"frames is DENY, SAMEORIGIN or empty, not {frames!r}")
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
    """The policy, with the word on frames that X-Frame-Options is an older spelling of."""
    policy = policy.strip("; ")
    if not frames or "frame-ancestors" in policy.lower():
        return policy
    ancestors = f"frame-ancestors {_ANCESTORS[frames]}"
    return f"{policy}; {ancestors}" if policy else ancestors


def _hsts(seconds: int, subdomains: bool, preload: bool) -> str:
    """RFC 6797, section 6.1; preload is what the browsers' list asks for (hstspreload.org)."""
    if seconds < 0:
        raise ValueError(f"hsts_seconds is no less than 0: {seconds}")
    if preload and not (subdomains and seconds >= YEAR):
        raise ValueError("hsts_preload asks for hsts_subdomains and at least a year")
    flags = "; includeSubDomains" * subdomains + "; preload" * preload
    return f"max-age={seconds:d}{flags}" if seconds else ""


def _block(fields: dict[str, str]) -> FieldBlock:
    for name, value in fields.items():
        if value and not _VALUE.fullmatch(value):
            raise ValueError(f"no value of {name}: {value!r}")
    return FieldBlock((name, value) for name, value in fields.items() if value)
