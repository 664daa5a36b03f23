"""What may know what: imports point to lower ranks only, and each effect has one owner.

The table RANKS is section "rooms and ranks" of the design. A new module needs a place in it.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("reactor", "handlers")

# From the lowest rank up; modules in one row do not know each other.
RANKS = (
    (
        "reactor.errors",
        "reactor.limits",
        "reactor.naming",
        "reactor.pagecache",
        "reactor.protocol",
        "reactor.protocol.grammar",
    ),
    (
        "reactor.dates",
        "reactor.futures",
        "reactor.imports",
        "reactor.loop",
        "reactor.regions",
        "reactor.values",
        "reactor.watch",
    ),
    ("reactor.budgets", "reactor.buffers", "reactor.threadpool", "reactor.timing"),
    ("reactor.messages", "reactor.tasks", "reactor.protocol.chunked"),
    (
        "reactor.channels",
        "reactor.protocol.http1",
        "reactor.protocol.heads",
        "reactor.together",
        "reactor.transport",
    ),
    ("reactor.outgoing", "reactor.logwriter", "reactor.ticking"),
    ("reactor.accesslog", "reactor.errorlog"),
    ("reactor.service",),
    ("reactor.connection",),
    ("reactor.statistics",),
    ("reactor.server",),
    (
        "reactor",
        "reactor.loader",
        "reactor.config",
        "reactor.report",
        "reactor.simulator.network",
        "reactor.simulator.swimlane",
    ),
    ("reactor.simulator.sockets", "reactor.simulator.disk"),
    ("reactor.simulator.client", "reactor.simulator.selector"),
    ("reactor.simulator.invariants",),
    ("reactor.simulator.world",),
    ("reactor.simulator",),
    (
        "reactor.testing.answers",
        "reactor.testing.cookies",
        "reactor.testing.encoding",
        "reactor.testing.world",
    ),
    ("reactor.testing.exchange",),
    ("reactor.testing.responses",),
    ("reactor.testing.client",),
    ("reactor.testing",),
    (
        "handlers.codings",
        "handlers.converters",
        "handlers.mediatypes",
        "handlers.negotiation",
        "handlers.health",
        "handlers.origin",
        "handlers.processfigures",
        "handlers.ranges",
        "handlers.validators",
    ),
    (
        "handlers.claims",
        "handlers.codedstreams",
        "handlers.conditions",
        "handlers.locks",
        "handlers.metrics",
        "handlers.router",
        "handlers.safepath",
        "handlers.uploadfields",
    ),
    ("handlers.middleware",),
    (
        "handlers.codedfiles",
        "handlers.compression",
        "handlers.events",
        "handlers.folders",
        "handlers.forms",
        "handlers.monitoring",
        "handlers.ondisk",
        "handlers.uploads",
    ),
    ("handlers.records",),
    ("handlers.listing", "handlers.openfiles", "handlers.receiving", "handlers.unfinished"),
    ("handlers.ledger", "handlers.placing"),
    ("handlers.resumable",),
    ("handlers.files", "handlers.requests"),
    ("handlers.debugpage", "handlers.responses"),
    (
        "handlers.endpoints",
        "handlers.errors",
        "handlers.middlewares.answers",
        "handlers.statics",
    ),
    (
        "handlers.middlewares.basicauth",
        "handlers.middlewares.bodylimit",
        "handlers.middlewares.compression",
        "handlers.middlewares.cors",
        "handlers.middlewares.ratelimit",
        "handlers.middlewares.requestid",
        "handlers.middlewares.securityheaders",
        "handlers.middlewares.sessions",
        "handlers.middlewares.timelimit",
        "handlers.middlewares.trustedhosts",
    ),
    ("handlers.application", "handlers.middlewares"),
    ("handlers",),
    ("handlers.demo",),
    ("handlers.site",),
    ("reactor.handover",),
    ("reactor.reload",),
    ("reactor.__main__",),
)

# Who may catch an OSError, and why: the errors of a socket end in the modules that own sockets.
OSERRORS = {
    "reactor.loop": {"Waker.wake", "Waker.on_events"},  # its pair is full, or closed at the end
    "reactor.transport": {
        "Transport.on_events",
        "Transport.flush",
        "Transport.unacknowledged",
        "Transport.abort",
        "Transport._send_fin",
        "limit_unsent",
    },
    "reactor.server": {
        "Listener.on_events",  # an accept that fails
        "bind",  # what is bound already must be closed
        "_bind",
        "affordable_connections",  # a limit that cannot be raised is taken as it is
    },
    "reactor.regions": {"File.look"},  # "not in memory", which is an answer
    "reactor.watch": {"mark"},  # "there is no such file", which is an answer
    "reactor.handover": {"Child._tell"},  # the parent is gone, and so are we in a moment
    "reactor.reload": {
        "Version._read",  # there is no more
        "Supervisor._start",  # a process that cannot be started becomes a sentence
        "Supervisor._spawn",
        "_say",  # to nobody
    },
    "reactor.logwriter": {  # a log that cannot be written or opened ends no server
        "LogFile.write",
        "LogWriter._reopened",
    },
    "reactor.__main__": {  # each becomes a sentence
        "main",
        "_serve",
        "open_access_log",
        "_supervise",
    },
    "handlers.files": None,  # a file system's errors are its daily bread, and become a status
    "handlers.folders": {"_Reader._look", "_Reader._follow"},  # what cannot be looked at is hidden
    "handlers.locks": None,
    "handlers.openfiles": None,
    "handlers.uploads": None,
    "handlers.ondisk": None,
    "handlers.safepath": None,
    "handlers.processfigures": {"_open_descriptors", "_read"},  # where there is no /proc
    "handlers.records": None,
    "handlers.unfinished": None,
    "handlers.ledger": {
        "Ledger.finish",  # how an upload has ended does not depend on older ones
        "Ledger._send_away",  # then somebody is told that there is no room
    },
    "handlers.resumable": {
        "Resumable.expire",  # what cannot be tidied up is told in the log
        "Resumable._progress",  # what is not on the disk is not told
    },
    "handlers.middlewares.timelimit": {"TimeLimit.__call__", "_told_apart"},  # TimeoutError is one
    "handlers.site": {"Site._mount", "_has"},  # each becomes a sentence
    "reactor.simulator.client": None,  # it is a client
    "reactor.simulator.sockets": None,
}

RECEIVING_AND_SENDING = {
    *("recv", "recv_into", "recvfrom", "recvmsg", "read_into"),
    *("send", "sendall", "sendmsg", "sendto", "sendfile"),
}
SENDERS = {
    "reactor.transport": "Transport.",
    "reactor.loop": "Waker.",
    # The simulator stands in for sockets and clients.
    "reactor.simulator.client": "",
    "reactor.simulator.disk": "",
    "reactor.simulator.world": "SimTransport._sendfile",
    "reactor.testing.exchange": "Exchange._send",
}


def modules() -> dict[str, ast.Module]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


MODULES = modules()
RANK = {name: rank for rank, row in enumerate(RANKS) for name in row}


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """The modules that a module names, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module, node


def named_nodes(tree: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the class and function that it stands in."""
    for child in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{child.name}" if name else child.name
        yield inner, child
        yield from named_nodes(child, inner)


def test_the_table_is_that_of_the_modules() -> None:
    assert set(RANK) == set(MODULES)
    assert len(RANK) == sum(map(len, RANKS)), "a module has two ranks"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_to_lower_ranks(name: str) -> None:
    for other, node in imported(MODULES[name]):
        if other.split(".")[0] in PACKAGES:
            assert RANK[other] < RANK[name], f"{name}, line {node.lineno}: {other}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_stand_at_the_top(name: str) -> None:
    """Not in a function, nor under an `if` or `try`: what a module needs is seen at once."""
    top = set(MODULES[name].body)
    hidden = [node.lineno for _, node in imported(MODULES[name]) if node not in top]
    assert not hidden, f"{name}, lines {hidden}"
    names = {node.id for node in ast.walk(MODULES[name]) if isinstance(node, ast.Name)}
    assert not names & {"TYPE_CHECKING", "__import__"}
    attributes = {n.attr for n in ast.walk(MODULES[name]) if isinstance(n, ast.Attribute)}
    assert not attributes & {"TYPE_CHECKING", "import_module"}


@pytest.mark.parametrize("name", MODULES)
def test_the_standard_library_is_all_there_is(name: str) -> None:
    for other, node in imported(MODULES[name]):
        first = other.split(".")[0]
        assert first in PACKAGES or first in sys.stdlib_module_names, f"line {node.lineno}: {other}"
        assert first not in {"asyncio", "concurrent", "http.server", "socketserver", "ssl"}


def test_only_the_command_line_knows_the_handlers() -> None:
    for name, tree in MODULES.items():
        if name.startswith("reactor") and name != "reactor.__main__":
            assert not [other for other, _ in imported(tree) if other.startswith("handlers")], name


def test_handlers_use_the_public_names_only() -> None:
    for name, tree in MODULES.items():
        if name.startswith("handlers"):
            used = {other for other, _ in imported(tree) if other.split(".")[0] == "reactor"}
            assert used <= {"reactor"}, f"{name} imports {used}"


@pytest.mark.parametrize("name", MODULES)
def test_receiving_and_sending_has_one_owner(name: str) -> None:
    owner = SENDERS.get(name)
    for where, node in named_nodes(MODULES[name]):
        if (verb := receives_or_sends(node)) is not None:
            assert owner is not None, f"{where}: {verb}"
            assert where.startswith(owner), f"{where}: {verb}"


def test_the_owners_are_found() -> None:
    """The search above finds what there is: otherwise it would hold of anything."""
    found = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if receives_or_sends(node) is not None
    }
    assert {"reactor.transport", "reactor.loop"} <= found <= set(SENDERS)


@pytest.mark.parametrize("name", MODULES)
def test_who_catches_an_oserror(name: str) -> None:
    allowed = OSERRORS.get(name, set())
    for where, node in named_nodes(MODULES[name]):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            if any(is_oserror(one) for one in caught):
                assert allowed is None or where in allowed, f"{where}, line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_caught_blindly(name: str) -> None:
    """A bare `except`, or one of BaseException, would swallow Ctrl-C and cancelling."""
    for where, node in named_nodes(MODULES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}, line {node.lineno}"
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            assert "BaseException" not in caught or any(
                isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node)
            ), f"{where}, line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(MODULES[name])


def receives_or_sends(node: ast.AST) -> str | None:
    """The name of the call, if it is one of those."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr if node.func.attr in RECEIVING_AND_SENDING else None
    return None


def is_oserror(name: str) -> bool:
    error = getattr(__import__("builtins"), name, None)
    return isinstance(error, type) and issubclass(error, OSError)
