"""Which module may import which, and which effect belongs to which module.

A module imports from packages of lower ranks (see modules.py) and, without a cycle, from its own
package; packages in one row do not import each other.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from tests.project.modules import MODULES, RANK, RANKS, imported, ours, package_of
from tests.support.paths import ROOT

# The functions that may catch an OSError, and why: the errors of a socket end in the modules that
# own sockets.
OSERRORS = {
    "reactor.http.request_body": {"RequestBody._await_room"},  # TimeoutError is one
    "reactor.loop.waker": {
        "Waker.wake",
        "Waker.on_events",
    },  # its pair is full, or closed at the end
    "reactor.net.transport": {"Transport.on_events", "Transport.flush"},
    "reactor.net.stream": {"Stream.unacknowledged", "Stream.abort", "Stream._send_fin"},
    "reactor.net.pacing": {"limit_unsent"},
    "reactor.net.tls": {"TlsTransport.on_events", "TlsTransport.flush"},
    "reactor.net.listener": {"Listener._accept"},  # an accept that fails
    "reactor.net.spare_descriptors": {"SpareDescriptors.fill"},  # as many as there are
    "reactor.net.binding": {
        "bind_hosts",  # sockets that are bound already must be closed
        "_bind",
        "_resolve",  # it becomes a sentence
        "_bind_addresses",  # the other addresses of a host may do
    },
    "reactor.net.certificates": {  # each becomes a sentence
        "read_chain",
        "_load_key",
        "_load_key.password",
        "_load_authorities",
    },
    "reactor.net.self_signed": {"self_signed", "_make", "_run_openssl"},  # it becomes a sentence
    "reactor.server.admission": {
        "affordable_connections",  # a limit that cannot be raised is taken as it is
    },
    "reactor.config.standard_streams": {
        "fill_standard_descriptors",  # one that is closed is what it looks for
        "print_error",  # nobody reads it
    },
    "reactor.files.file": {"File.look"},  # "not in memory", which is a result
    "reactor.simulator.tls": {"SecureSimSocket._sent"},  # there is no room: it goes on later
    "reactor.web.site.suggestions": {"application_names"},  # no suggestion, which is a result
    "reactor.process.file_watcher": {"mark"},  # "there is no such file", which is a result
    "reactor.process.child": {"ReloadChild._report"},  # the parent has ended
    "reactor.process.terminal": {"has_terminal"},  # there is none
    "reactor.process.tls_start": {"_first_line"},  # it becomes a sentence
    "reactor.process.supervisor": {
        "Child._read",  # there is no more
        "Supervisor.start",  # a process that cannot be started becomes a sentence
        "Supervisor._spawn",
    },
    "reactor.observe.log_file": {  # lines that cannot be written are kept or counted
        "LogFile._write",
        "LogFile._take_back",
        "_mode",
    },
    "reactor.observe.log_writer": {"LogWriter._reopened"},  # the old file is kept
    "reactor.process.serve": {  # each becomes a sentence
        "open_access_log",
        "open_error_log",
    },
    "reactor.process.urls": {  # addresses that the machine lacks
        "_outgoing_address",
        "_ipv4_addresses",
        "_ipv6_addresses",
    },
    # Errors of a file system become a status.
    "reactor.web.static.file_server": None,
    "reactor.web.static.directory_reader": {
        "DirectoryReader._examine",
        "DirectoryReader._follow",
    },  # entries that cannot be looked at are hidden
    "reactor.web.static.archive_reader": {
        "ArchiveReader._next_member",
        "ArchiveReader._member",
    },  # names that cannot be read are left out
    "reactor.web.storage.locks": None,
    "reactor.web.static.open_file_cache": None,
    "reactor.web.uploads.atomic_file": None,
    "reactor.web.uploads.directories": None,
    "reactor.web.uploads.publish": None,
    "reactor.web.uploads.sweep": None,
    "reactor.web.storage.disk_errors": None,
    "reactor.web.storage.safe_path": None,
    "reactor.web.operations.process_metrics": {
        "_open_descriptors",
        "_read",
    },  # where there is no /proc
    "reactor.web.uploads.metadata": None,
    "reactor.web.storage.private_files": None,
    "reactor.web.uploads.partial_store": None,
    "reactor.web.uploads.partial_upload": None,
    "reactor.web.uploads.access": {"UploadAccess.make_room"},  # then the disk stays full
    "reactor.web.uploads.quota": {
        "UploadQuota.finish",  # how an upload has ended does not depend on older ones
        "UploadQuota._evict",  # then the client gets a 507
    },
    "reactor.web.uploads.resumable": {
        "ResumableUploads.expire",  # files that cannot be removed are logged
        "ResumableUploads._progress",  # bytes that are not on the disk do not count
    },
    "reactor.web.middlewares.time_limit": {
        "TimeLimit.__call__",
        "_response_or_timeout",
    },  # TimeoutError is one
    "reactor.web.site.opening": {"open_root", "has_file", "check_file"},  # each becomes a sentence
    "reactor.web.site.users": {"read_users"},  # it becomes a sentence
    "reactor.simulator.client": None,  # it is a client
    "reactor.simulator.sockets": None,
}

RECEIVING_AND_SENDING = {
    *("recv", "recv_into", "recvfrom", "recvmsg", "read_into"),
    *("send", "sendall", "sendmsg", "sendto", "sendfile"),
}
SPEAK_TLS = {  # all others know no more of it than `request.tls`
    "reactor.net.certificates",
    "reactor.net.handshakes",
    "reactor.net.tls",
    "reactor.net.tls_session",
    "reactor.server.listeners",
    "reactor.simulator.tls",
}
SENDERS = {
    "reactor.net.transport": "Transport.",
    "reactor.net.stream": "Stream._sendfile",
    "reactor.net.tls": "TlsTransport.",
    "reactor.loop.waker": "Waker.",
    # The simulator stands in for sockets and clients.
    "reactor.simulator.client": "",
    "reactor.simulator.disk": "",
    "reactor.simulator.tls": "",
    "reactor.simulator.world": "SimTransport._sendfile",
    "reactor.testing.exchange": "Exchange._send",
}


def named_nodes(tree: ast.AST, name: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the class and function that it stands in."""
    for child in ast.iter_child_nodes(tree):
        inner = name
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{name}.{child.name}" if name else child.name
        yield inner, child
        yield from named_nodes(child, inner)


def test_every_package_has_a_rank() -> None:
    assert len(RANK) == sum(map(len, RANKS)), "a package has two ranks"
    assert set(RANK) <= set(MODULES)
    misplaced = [
        name
        for name in MODULES
        if package_of(name) == "reactor" and name not in ("reactor", "reactor.web")
    ]
    assert not misplaced, "in no package that has a rank"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_to_lower_ranks(name: str) -> None:
    package = package_of(name)
    for other, node in ours(name):
        if package_of(other) != package:
            lower = RANK[package_of(other)] < RANK[package]
            assert lower, f"{name}, line {node.lineno}: {other}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: {other for other, _ in ours(name)} for name in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


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
        assert first == "reactor" or first in sys.stdlib_module_names, (
            f"line {node.lineno}: {other}"
        )
        assert first not in {"asyncio", "concurrent", "http.server", "socketserver"}
        assert first != "ssl" or name in SPEAK_TLS, f"line {node.lineno}"


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
    assert {"reactor.net.transport", "reactor.loop.waker"} <= found <= set(SENDERS)


@pytest.mark.parametrize("name", MODULES)
def test_owners_alone_catch_oserrors(name: str) -> None:
    allowed = OSERRORS.get(name, set())
    for where, node in named_nodes(MODULES[name]):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            if any(is_oserror(one) for one in caught):
                assert allowed is None or where in allowed, f"{where}, line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_caught_blindly(name: str) -> None:
    """A bare `except`, or one of BaseException, would swallow Ctrl-C and cancelling.

    One of Exception lets asyncio's CancelledError and the like end the loop: see reactor/errors.py.
    """
    for where, node in named_nodes(MODULES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}, line {node.lineno}"
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            assert not caught & {"Exception", "BaseException"} or any(
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


@pytest.mark.parametrize(
    "name", [name for name in MODULES if (ROOT / name.replace(".", "/")).is_dir()]
)
def test_a_package_that_opens_with_its_modules_names_all(name: str) -> None:
    directory = ROOT / name.replace(".", "/")
    opening = ast.get_docstring(MODULES[name]) or ""
    modules = {file.name for file in directory.glob("*.py")} - {"__init__.py", "__main__.py"}
    missing = {module for module in modules if module not in opening}
    assert not missing or missing == modules
