"""The limits of uploads, and of those that can be resumed."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from reactor.config.options import Section, Unit, limit
from reactor.web.semantics.limits import FormLimits

UPLOADS: Final = Section("limits of uploads")

_upload = partial(limit, UPLOADS)


@dataclass(frozen=True, kw_only=True)
class UploadLimits(FormLimits):
    """The limits of forms, and those of uploads."""

    directory_depth: int = _upload(
        32, Unit.COUNT, "levels of directories that uploads make below the mount; deeper: 409"
    )
    resumable_uploads: int = _upload(1000, Unit.COUNT, "partial uploads at a time; more: 507")
    resumable_bytes: int = _upload(
        16 * 1024**3, Unit.BYTES, "the bytes of all partial uploads together; more: 507"
    )
    resumable_age: float = _upload(
        86400.0, Unit.SECONDS, "how long a partial upload is kept that receives nothing more"
    )
    resumable_idle: float = _upload(
        3600.0,
        Unit.SECONDS,
        "how long an idle partial upload keeps its room while others need it or the disk is full; "
        "then it is evicted",
    )
