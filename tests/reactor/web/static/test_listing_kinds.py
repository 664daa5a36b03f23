"""Kinds of files: each one that can be returned has an icon, and each type of a kind is found."""

from importlib.resources import files

import pytest

from reactor.web.static.listing_kinds import KINDS, kind_of


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("a.png", "A.JPG", "x.svg", "x.webp"), "image"),
        (("a.mp3", "b.flac", "c.opus"), "audio"),
        (("a.mp4", "b.mkv", "c.webm"), "video"),
        (("a.zip", "a.tar.gz", "a.tgz", "a.7z", "a.xz", "a.zst", "a.rar", "a.jar"), "archive"),
        (("a.txt", "a.py", "a.md", "a.json", "a.yml", "a.xml", "a.html", "a.js"), "text"),
        (("a.pdf", "a.docx", "a.ods", "a.epub", "a.xls"), "text"),
        (("a", "a.unknown", "a.wasm", "a.ttf", "png"), ""),
    ],
)
def test_kinds(names: tuple[str, ...], kind: str) -> None:
    assert {name: kind_of(name) for name in names} == dict.fromkeys(names, kind)


def test_each_kind_has_an_icon() -> None:
    style = files("reactor.web.static").joinpath("pages", "listing.css").read_text()
    for kind in (*KINDS, "directory"):
        assert f".{kind} td:first-child::before" in style
        assert f"--{kind}: url(" in style
