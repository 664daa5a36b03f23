"""The tables of options in docs/middlewares.md are those of the signatures, so that none drifts."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from reactor.web import middlewares
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/middlewares.md").read_text()
IN_THE_BOX = [name for name in middlewares.__all__ if name != "Session"]  # which is a dict
BY_NAME = "*"


class Row(NamedTuple):
    """A row of a table, or an argument of a signature; written as in Python."""

    name: str
    type: str
    default: str


def arguments(name: str) -> Iterator[Row]:
    """The arguments of a middleware, with a row for the star before those that are named."""
    made: Any = getattr(middlewares, name).__init__
    tree = ast.parse(textwrap.dedent(inspect.getsource(made))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    types = {
        one.arg: ast.unparse(one.annotation)
        for one in (*tree.args.args, *tree.args.kwonlyargs)
        if one.annotation is not None
    }
    starred = False
    for one in list(inspect.signature(made).parameters.values())[1:]:
        assert one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY), one
        if one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            yield Row(BY_NAME, "", "")
        yield Row(one.name, types[one.name], written(one.default))


def written(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    if callable(default):
        return f"{default.__module__}.{default.__qualname__}"
    return repr(default)


def table(name: str) -> list[list[str]]:
    """The cells of each row below the middleware's heading."""
    section = re.search(rf"^#### {name}\n(.*?)(?=^###? |^#### |\Z)", PAGE, re.M | re.S)
    assert section, f"docs/middlewares.md has no heading for {name}"
    lines = [line for line in section[1].splitlines() if line.startswith("|")]
    assert lines[0] == "| option | type | default | unit | meaning |"
    rows = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in lines[2:]]
    return [[cell.replace("\\|", "|").strip() for cell in row] for row in rows]


@pytest.mark.parametrize("name", IN_THE_BOX)
def test_the_table_of_a_middleware_is_its_signature(name: str) -> None:
    documented = [Row(*(cell.strip("`") for cell in row[:3])) for row in table(name)]
    assert documented == list(arguments(name))


@pytest.mark.parametrize("name", IN_THE_BOX)
def test_each_option_has_a_meaning_and_each_number_a_unit(name: str) -> None:
    for option, kind, _, unit, meaning in table(name):
        if option.strip("`") == BY_NAME:
            continue
        assert len(meaning) > 10, option
        assert bool(unit) == (kind.strip("`") in ("int", "float", "Callable[[], float]")), option


def test_each_middleware_has_a_table_and_no_other_has() -> None:
    assert sorted(re.findall(r"^#### (\w+)$", PAGE, re.M)) == sorted(IN_THE_BOX)
