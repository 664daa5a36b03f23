"""The Cache-Control of files by their paths: the rules of --cache-control."""

import re
from collections.abc import Callable, Sequence
from fnmatch import translate


def cache_rules(rules: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """A function from a path below a mount to its Cache-Control; "" where no pattern matches.

    The first match counts. A pattern with a slash is for the whole path, one without for its last
    name. Case counts, and `*` matches slashes, too (see fnmatch).
    """
    compiled = [
        ("/" in pattern, re.compile(translate(pattern.removeprefix("/"))), value)
        for pattern, value in rules
    ]

    def cache_control(path: str) -> str:
        name = path[path.rfind("/") + 1 :]
        for whole, pattern, value in compiled:
            if pattern.match(path if whole else name):
                return value
        return ""

    return cache_control
