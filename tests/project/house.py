"""The rules of the house, as functions that yield what breaks them.

`python -m tests.project.house [PATH ...]` prints every offence below these paths.
"""

import ast
import inspect
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.project.glossary import HEADLESS, NAMES, PROSE
from tests.support.paths import ROOT

LONGEST_FUNCTION: Final = 39  # lines, without the docstring
LONGEST_MODULE: Final = 399
LONGEST_LOOP: Final = 249
LOOP: Final = "reactor/loop/reactor.py"
MOST_BOOLEANS: Final = 2

PUBLIC: Final = ("reactor", "reactor.web.middlewares", "reactor.testing", "reactor.simulator")
PRODUCT: Final = ("reactor", "handlers", "loadtest")  # the rest is tests
# These spell the banned words, because they ban them.
DICTIONARY: Final = ("tests/project/glossary.py", "tests/project/house.py")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Offence(NamedTuple):
    """`where` is `path`, or `path:Class.name`."""

    where: str
    line: int
    what: str

    @property
    def path(self) -> str:
        return self.where.partition(":")[0]

    def __str__(self) -> str:
        _, _, name = self.where.partition(":")
        return f"{self.path}:{self.line}: {name + ': ' if name else ''}{self.what}"


class Facts(NamedTuple):
    """What the rules look at in one file. The trees themselves are too large to be kept."""

    lines: int
    functions: list[tuple[str, int, int, str | None]]  # name, line, length, **options: Any
    classes: list[tuple[str, int, list[str]]]  # name, line, booleans of state
    names: list[tuple[int, str]]  # every name that the file defines
    prose: list[tuple[int, str]]
    chunks: list[int]  # lines with that word, in a file without chunked coding


def files(*directories: str) -> Iterator[tuple[str, Facts]]:
    """The facts of every Python file of these directories, by its path."""
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*.py")):
            yield (name := str(path.relative_to(ROOT))), facts(name)


@cache
def facts(path: str) -> Facts:
    text = (ROOT / path).read_text()
    module = ast.parse(text, path)
    nodes = list(ast.walk(module))
    prose = [*docstrings(nodes), *comments(text)]
    if not path.startswith("tests/"):
        prose += literals(nodes)
    return Facts(
        text.count("\n"),
        [
            (name, node.lineno, function_length(node), loose(node))
            for name, node in definitions(module)
            if isinstance(node, Function)
        ],
        [
            (name, node.lineno, booleans(node))
            for name, node in definitions(module)
            if isinstance(node, ast.ClassDef)
        ],
        [(1, Path(path).stem), *defined(nodes)],
        [] if path in DICTIONARY else prose,
        chunks(text),
    )


def definitions(node: ast.AST, outer: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Every class and function below a node, with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{outer}.{child.name}" if outer else child.name
            yield name, child
            yield from definitions(child, name)
        elif not isinstance(child, ast.expr):
            yield from definitions(child, outer)


# Form


def long_functions() -> Iterator[Offence]:
    for path, file in files(*PRODUCT, "tests"):
        for name, line, length, _ in file.functions:
            if length > LONGEST_FUNCTION:
                yield Offence(f"{path}:{name}", line, f"{length} lines")


def function_length(node: Function) -> int:
    """Lines from `def` to the end, without those of the docstring."""
    assert node.end_lineno is not None
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        assert docstring.end_lineno is not None
        length -= docstring.end_lineno - docstring.lineno + 1
    return length


def long_modules() -> Iterator[Offence]:
    for path, file in files(*PRODUCT):
        if file.lines > (LONGEST_LOOP if path == LOOP else LONGEST_MODULE):
            yield Offence(path, 1, f"{file.lines} lines")


def repeated_classes() -> Iterator[Offence]:
    """A class name of `reactor/` means one thing; `_Writer` and `Writer` are two names."""
    found = [
        (path, name, line) for path, file in files("reactor") for name, line, _ in file.classes
    ]
    count = Counter(name.rpartition(".")[2] for _, name, _ in found)
    for path, name, line in found:
        if (same := count[name.rpartition(".")[2]]) > 1:
            yield Offence(f"{path}:{name}", line, f"{same} classes of that name")


def stateful_classes() -> Iterator[Offence]:
    """Two booleans are four states; the third boolean is a state that has no name."""
    for path, file in files(*PRODUCT):
        for name, line, found in file.classes:
            if len(found) > MOST_BOOLEANS:
                yield Offence(f"{path}:{name}", line, f"booleans {', '.join(found)}")


def booleans(node: ast.ClassDef) -> list[str]:
    """The attributes that `__init__` sets to True or False."""
    found: list[str] = []
    for function in node.body:
        if not isinstance(function, Function) or function.name != "__init__":
            continue
        for one in ast.walk(function):
            targets = assigned(one)
            value = getattr(one, "value", None)
            if isinstance(value, ast.Constant) and isinstance(value.value, bool):
                found += [t.attr for t in targets if isinstance(t, ast.Attribute)]
    return found


def assigned(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(
        node, ast.AnnAssign | ast.NamedExpr | ast.For | ast.AsyncFor | ast.comprehension
    ):
        targets = [node.target]
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        targets = [node.optional_vars]
    else:
        return []
    flat: list[ast.expr] = []
    for target in targets:
        flat += target.elts if isinstance(target, ast.Tuple) else [target]
    return flat


def undocumented() -> Iterator[Offence]:
    """Public names, and public members of public classes, without a docstring."""
    for module in PUBLIC:
        package = import_module(module)
        for exported in package.__all__:
            for name, member in members(exported, getattr(package, exported)):
                if not inspect.getdoc(member):  # an overridden method inherits its docstring
                    yield Offence(f"{module}:{name}", 0, "no docstring")


def members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A public name that is ours, and what is public of it if it is a class."""
    if not getattr(value, "__module__", "").startswith("reactor"):
        return
    if inspect.isfunction(value) or inspect.isclass(value):
        yield name, value
    if inspect.isclass(value):
        for attribute, member in vars(value).items():
            if attribute.startswith("_") or getattr(member, "__name__", "") == "<lambda>":
                continue  # a lambda is the default of an attribute
            if inspect.isfunction(member) or isinstance(
                member, classmethod | staticmethod | property
            ):
                yield f"{name}.{attribute}", getattr(value, attribute)


def loose_options() -> Iterator[Offence]:
    """`**options: Any` in a public signature: an editor can complete none of them."""
    for path, file in files("reactor", "handlers"):
        for name, line, _, options in file.functions:
            if options is not None and is_public(name):
                yield Offence(f"{path}:{name}", line, f"**{options}: Any")


def loose(node: Function) -> str | None:
    """The name of a parameter for any option of any type."""
    kwarg = node.args.kwarg
    if kwarg is None or (kwarg.annotation and ast.unparse(kwarg.annotation) != "Any"):
        return None
    return kwarg.arg


def is_public(name: str) -> bool:
    parts = name.split(".")
    return not any(part.startswith("_") and part != "__init__" for part in parts)


# Language


def banned_names() -> Iterator[Offence]:
    """Names that the project defines with a word in them that the glossary replaces."""
    for path, file in files(*PRODUCT, "tests"):
        if path not in DICTIONARY:
            for line, name in file.names:
                for word in words_of(name):
                    if word in NAMES:
                        yield Offence(path, line, f"{name}: {word} -> {NAMES[word]}")


def defined(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Every name that a module gives to something."""
    for node in nodes:
        if isinstance(node, Function | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        for target in assigned(node):
            if isinstance(target, ast.Name):
                yield target.lineno, target.id
            elif isinstance(target, ast.Attribute):
                yield target.lineno, target.attr


def words_of(name: str) -> list[str]:
    """`AnswerHead` and `answer_head` are answer and head."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def banned_words() -> Iterator[Offence]:
    patterns = {
        re.compile(rf"\b(?:{word})\b", re.IGNORECASE): plain for word, plain in PROSE.items()
    }
    for path, line, text in prose():
        for pattern, plain in patterns.items():
            for match in pattern.finditer(text):
                at = line + text.count("\n", 0, match.start())
                yield Offence(path, at, f"{match[0]!r} -> {plain}")


def headless_sentences() -> Iterator[Offence]:
    for path, line, text in prose():
        for at, sentence in sentences(text):
            first = re.match(r"[*_]*([A-Za-z]+)\b(?!\()", sentence)
            if path.endswith(".md") and sentence[0].islower():
                continue  # the cell of a table, which need not be a sentence
            if first and first[1].lower() in HEADLESS and not sentence.endswith("?"):
                yield Offence(path, line + at, f"headless: {' '.join(sentence[:60].split())}")


def headless_tests() -> Iterator[Offence]:
    """`test_who_may_write` says less than `test_only_the_owner_may_write`."""
    for path, file in files("tests"):
        for name, line, _, _ in file.functions:
            words = name.rpartition(".")[2].split("_")
            if words[0] == "test" and words[1] in HEADLESS:
                yield Offence(path, line, f"headless: {name}")


def stray_chunks() -> Iterator[Offence]:
    """A chunk is one of chunked coding; what a body consists of is a piece."""
    for path, file in files(*PRODUCT):
        for line in file.chunks:
            yield Offence(path, line, "chunk -> piece")


def chunks(text: str) -> list[int]:
    if re.search("chunked|last chunk", text, re.IGNORECASE):
        return []
    return [at for at, line in enumerate(text.splitlines(), 1) if "chunk" in line.lower()]


def prose() -> Iterator[tuple[str, int, str]]:
    """Path, first line and text of all that is written for people.

    Of Python files these are docstrings and comments, and string constants with a space in them
    outside of tests; of pages everything but code and headings.
    """
    for path, file in files(*PRODUCT, "tests"):
        yield from ((path, *one) for one in file.prose)
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        path = str(page.relative_to(ROOT))
        yield from ((path, *one) for one in paragraphs(page.read_text()))


def docstrings(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.Module | Function | ast.ClassDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments; those on lines of their own that follow each other are one text."""
    first = last = column = 0
    block: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, start = token.start
        alone = not token.line[:start].strip()
        if block and not (alone and line == last + 1 and start == column):
            yield first, "\n".join(block)
            block = []
        if not block:
            first = line
        block.append(token.string.lstrip("#").removeprefix(" "))
        last, column = line, start
    if block:
        yield first, "\n".join(block)


def literals(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """String constants that may be sentences: error messages, help texts, log lines."""
    statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if not isinstance(node, ast.Constant) or id(node) in statements:
            continue
        if isinstance(node.value, str) and re.search(r"[a-z] [a-z]", node.value):
            yield node.lineno, node.value


def paragraphs(page: str) -> Iterator[tuple[int, str]]:
    """The prose of a Markdown page: paragraphs, items of lists, cells of tables.

    The section Glossary is left out: it names the words that are not written.
    """
    page = re.sub(
        r"^## Glossary\n.*?(?=^## |\Z)", lambda m: "\n" * m[0].count("\n"), page, flags=re.M | re.S
    )
    page = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), page, flags=re.M | re.S)
    page = re.sub(r"`[^`\n]*`", "`code`", page)
    page = re.sub(r"\]\([^)]*\)", "]", page)
    for match in re.finditer(r"(?:^(?!\s*$|#).*\n?)+", page, re.M):
        line = page.count("\n", 0, match.start()) + 1
        for at, text in items(match[0]):
            yield line + at, text


def items(paragraph: str) -> Iterator[tuple[int, str]]:
    """A table is one text for each cell, a list one for each item, a paragraph is one.

    The first row of a table names its columns: no sentence is there.
    """
    block: list[str] = []
    first = 0
    lines = paragraph.splitlines()
    for at, line in enumerate(lines):
        bullet = re.match(r"\s*(?:[-*>]|\d+\.)\s+", line)
        if line.startswith("|") or bullet:
            if block:
                yield first, "\n".join(block)
            block = []
        if re.match(r"\|[\s:|-]+$", line):
            continue
        if line.startswith("|"):
            if not re.match(r"\|[\s:|-]+$", "".join(lines[at + 1 : at + 2])):
                yield from ((at, cell.strip()) for cell in line.strip("|").split("|"))
            continue
        if not block:
            first = at
        block.append(line[bullet.end() :] if bullet else line)
    if block:
        yield first, "\n".join(block)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a text, with the number of lines before each."""
    for paragraph in re.finditer(r"(?:^.*\S.*(?:\n|\Z))+", text, re.M):
        start = 0
        ends = [m.end() for m in re.finditer(r"[.!?][)\"']?\s+(?=[\"'`(*_A-Z])", paragraph[0])]
        for end in (*ends, len(paragraph[0])):
            sentence = paragraph[0][start:end].strip().lstrip("\"'(")
            if sentence:
                yield text.count("\n", 0, paragraph.start() + start), sentence
            start = end


RULES: Final = (
    long_functions,
    long_modules,
    repeated_classes,
    stateful_classes,
    undocumented,
    loose_options,
    banned_names,
    banned_words,
    headless_sentences,
    headless_tests,
    stray_chunks,
)


def main() -> None:
    """Print what breaks a rule below some paths."""
    paths = tuple(sys.argv[1:]) or ("",)
    for one in sorted(one for rule in RULES for one in rule()):
        if one.path.startswith(paths):
            print(one)


if __name__ == "__main__":
    main()
