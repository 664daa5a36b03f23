"""The rules of form and language; those that break them today stand in offenders.py."""

from collections.abc import Callable, Iterator

import pytest

from tests.project import glossary, house, offenders
from tests.project.house import Offence
from tests.support.paths import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("name", house.FORM)
def test_form(name: str) -> None:
    listed = getattr(offenders, name)
    new = [str(one) for one in house.FORM[name]() if one.where not in listed]
    assert not new, "\n".join(new)


@pytest.mark.slow
@pytest.mark.parametrize("rule", house.LANGUAGE, ids=lambda rule: rule.__name__)
def test_language(rule: Callable[[], Iterator[Offence]]) -> None:
    new = [str(one) for one in rule() if not one.path.startswith(tuple(offenders.LANGUAGE))]
    assert not new, "\n".join(new)


def test_offenders_are_files_that_exist() -> None:
    for entry in offenders.LANGUAGE:
        assert (ROOT / entry).exists(), entry


def test_every_replacement_may_be_written() -> None:
    """A word that the glossary recommends is none that it replaces."""
    for plain in glossary.NAMES.values():
        assert not set(house.words_of(plain)) & set(glossary.NAMES), plain


PAGE = """# What a heading may begin with

What is here has
no subject. The second sentence folder has one.

```python
# What code says is not prose
```

| what a column is named | b |
| --- | --- |
| Nor this | fine |

- fine
- Of three, one
"""


def test_a_page_is_taken_apart() -> None:
    found = [
        (line + at, sentence)
        for line, text in house.paragraphs(PAGE)
        for at, sentence in house.sentences(text)
    ]
    assert found == [
        (3, "What is here has\nno subject."),
        (4, "The second sentence folder has one."),
        (12, "Nor this"),
        (12, "fine"),
        (14, "fine"),
        (15, "Of three, one"),
    ]


def test_comments_are_taken_apart() -> None:
    source = "x = 1  # who\n# One comment\n# of two lines.\n\n# Another.\n    # A third.\n"
    assert list(house.comments(source)) == [
        (1, "who"),
        (2, "One comment\nof two lines."),
        (5, "Another."),
        (6, "A third."),
    ]


def test_names_are_taken_apart() -> None:
    assert house.words_of("AnswerHead") == ["answer", "head"]
    assert house.words_of("_as_HTTPDate2_told") == ["", "as", "httpdate2", "told"]
