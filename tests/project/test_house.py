"""The rules of form and language hold everywhere; and the search for offences finds them."""

from collections.abc import Callable, Iterator

import pytest

from tests.project import glossary, house
from tests.project.house import Offence


@pytest.mark.slow
@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Callable[[], Iterator[Offence]]) -> None:
    offences = [str(one) for one in rule()]
    assert not offences, "\n".join(offences)


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
