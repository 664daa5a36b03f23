"""Tables of what may come again, such as texts of clients and what was made of them.

A table is a dict with a limit, and looking up in it costs what a dict costs. A full one is emptied:
beginning again costs less than keeping an order, and clients that never send the same text twice
cost no more than what is made of each.
"""

from collections.abc import MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def remember(table: MutableMapping[K, V], key: K, value: V, most: int) -> V:
    """Add to the table, which is emptied first if it has `most` entries. Returns the value."""
    if len(table) >= most:
        table.clear()
    table[key] = value
    return value
