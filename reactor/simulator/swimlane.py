"""A trace as a table of actions in time, with a lane for each side.

For a learner, and for the reader of a failing seed: time runs downwards, clients are on the left,
the server's end of the same connection beside them, and the pool, the waker and the listener on
the right.
"""

from collections.abc import Iterable

CLIENT, SERVER, OTHER = 0, 1, 2
WIDTH = 34


def swimlanes(trace: Iterable[tuple[float, str, str]]) -> str:
    """The trace, a line for each thing that happened."""
    titles = ("client", "its connection in the server", "listener, waker, pool")
    lines = ["    seconds  " + "".join(f"{title:<{WIDTH}}" for title in titles).rstrip()]
    lines += [_line(when, who, what) for when, who, what in trace]
    return "\n".join(lines)


def _line(when: float, who: str, what: str) -> str:
    name, _, role = who.partition("'s ")
    if role == "server":
        lane, text = SERVER, f"{name}: {what}"
    elif who.startswith("client"):
        lane, text = CLIENT, f"{name}: {what}"
    else:
        lane, text = OTHER, f"{who}: {what}"
    return f"{when:11.6f}  {' ' * (lane * WIDTH)}{text}"
