"""The modules of `reactor`, what they import, and the rank of each package.

RANKS lists the packages from the lowest rank up; a new package needs a place in it.
"""

import ast
from collections.abc import Iterator

from tests.support.paths import ROOT

# From the lowest rank up.
RANKS = (
    (
        "reactor.version",
        "reactor.config",
        "reactor.errors",
        "reactor.log_limit",
        "reactor.remembered",
    ),
    ("reactor.loop", "reactor.files"),
    ("reactor.limits", "reactor.tasks", "reactor.net"),
    ("reactor.messages",),
    ("reactor.protocol",),
    ("reactor.http",),
    ("reactor.observe",),
    ("reactor.server",),
    ("reactor.process", "reactor.simulator"),
    ("reactor.testing",),
    ("reactor.web.endpoint", "reactor.web.streams", "reactor.web.semantics"),
    ("reactor.web.problems",),
    (
        "reactor.web.storage",
        "reactor.web.compression",
        "reactor.web.operations",
        "reactor.web.realtime",
    ),
    ("reactor.web.static", "reactor.web.uploads"),
    ("reactor.web.limits",),
    ("reactor.web.app",),
    ("reactor.web.middlewares",),
    ("reactor.web.site",),
    ("reactor",),  # the public names
    ("reactor.__main__",),
)


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "reactor").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


MODULES = modules()
RANK = {name: rank for rank, row in enumerate(RANKS) for name in row}


def package_of(module: str) -> str:
    """The row's entry that a module stands for or in; only `reactor` itself is `reactor`."""
    if module == "reactor":
        return module
    while module not in RANK:
        module = module.rpartition(".")[0]
    return module


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


def ours(name: str) -> Iterator[tuple[str, ast.stmt]]:
    """The imports of a module from this project."""
    for other, node in imported(MODULES[name]):
        if other.split(".")[0] == "reactor":
            yield other, node
