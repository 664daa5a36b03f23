"""Content Security Policy: how a policy names an inline style or script (CSP Level 3, 2.3.1)."""

from base64 import b64encode
from hashlib import sha256


def source_of(text: str) -> str:
    """Return the source expression that allows exactly this inline text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
