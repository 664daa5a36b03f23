"""The rules of --cache-control: which of them counts for a path."""

import pytest

from reactor.web.site.cache_rules import cache_rules


@pytest.mark.parametrize(
    ("rules", "path", "value"),
    [
        ([], "a.css", ""),
        ([("*.css", "x")], "a.css", "x"),
        ([("*.css", "x")], "b/c/a.css", "x"),
        ([("*.css", "x")], "a.css/b", ""),
        ([("*.css", "x")], "a.CSS", ""),
        ([("*.css", "x")], "a.css\n", ""),
        ([("*.css", "x")], "a\n.css", "x"),
        ([("*", "x")], "", "x"),
        ([("a", "x")], "b/a", "x"),
        ([("a", "x")], "ba", ""),
        ([("a", "x")], "ab", ""),
        ([("/a", "x")], "a", "x"),
        ([("/a", "x")], "b/a", ""),
        ([("/a*", "x")], "a/b/c", "x"),
        ([("b/*", "x")], "b/a", "x"),
        ([("b/*", "x")], "b/c/a", "x"),
        ([("b/*", "x")], "c/b/a", ""),
        ([("*/b/*", "x")], "c/b/a", "x"),
        ([("[ab]?", "x")], "b1", "x"),
        ([("[!ab]?", "x")], "b1", ""),
        ([("[", "x")], "[", "x"),
        ([("*.css", "x"), ("*", "y")], "a.css", "x"),
        ([("*.css", "x"), ("*", "y")], "a.js", "y"),
        ([("*", "y"), ("*.css", "x")], "a.css", "y"),
        ([("\u00e9*", "y")], "\u00e9t\u00e9", "y"),
        ([("?.css", "x")], "\udcff.css", "x"),
    ],
)
def test_rules_for_caches(rules: list[tuple[str, str]], path: str, value: str) -> None:
    assert cache_rules(rules)(path) == value
