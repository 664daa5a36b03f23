"""The limits of forms and queries, which applications and uploads both read."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from reactor.config.options import Section, Unit, limit
from reactor.limits import ServerLimits

FORMS: Final = Section("limits of forms")

_form = partial(limit, FORMS)


@dataclass(frozen=True, kw_only=True)
class FormLimits(ServerLimits):
    """The server's limits, and those of forms."""

    form_parts: int = _form(
        1000, Unit.COUNT, "parts of a form, or arguments of a query; more: 413, 414"
    )
    form_head_bytes: int = _form(
        8 * 1024, Unit.BYTES, "the header fields of one part of a form; longer: 413"
    )
