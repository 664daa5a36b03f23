"""The reference page of options, in Markdown, made from their rows."""

from collections.abc import Iterable, Iterator

from reactor.config.options import Option, Section, Takes, rows


def reference(tables: Iterable[type]) -> str:
    """A heading and a table for each section, in the order in which the sections come."""
    sections: dict[Section, list[Option]] = {}
    for table in tables:
        for row in rows(table):
            sections.setdefault(row.section, []).append(row)
    return "\n".join(line for section in sections for line in _lines(section, sections[section]))


def _lines(section: Section, options: list[Option]) -> Iterator[str]:
    yield f"## {section.title[:1].upper()}{section.title[1:]}"
    yield ""
    if section.about:
        yield f"These are the options {section.about}."
        yield ""
    yield "| option | default | meaning |"
    yield "| --- | --: | --- |"
    for row in options:
        flags = f"{row.short}, {row.flag}" if row.short else row.flag
        flag = f"{flags} {row.metavar}".strip()
        more = "; repeatable" if row.takes in (Takes.MANY, Takes.LISTS) else ""
        yield f"| `{_cell(flag)}` | {_cell(row.shown_default())} | {_cell(row.meaning)}{more} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
