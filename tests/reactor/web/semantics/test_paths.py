"""Segments of paths, and references from one path to another."""

from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.errors import ProtocolError
from reactor.protocol.paths import decode_path
from reactor.web.semantics.paths import (
    name_segments,
    path_of,
    relative_reference,
    resolve,
    segments,
)


def test_segments_are_decoded_once() -> None:
    assert segments("/a b/c%2Fd/%2525") == ["", "a b", "c/d", "%25"]
    assert name_segments("/%FF\xe4") == ["", "\udcff\xe4"]
    for path, sentence in (("/%FF", "UTF-8"), ("/%C3(", "UTF-8"), ("/%zz", "two hexadecimal")):
        with pytest.raises(ProtocolError, match=sentence):
            segments(path)
    with pytest.raises(ProtocolError):
        name_segments("/%zz")


@given(st.lists(st.text("ab%/.\udcff\xe9", max_size=5), min_size=1))
def test_a_path_made_of_segments_has_them(names: list[str]) -> None:
    path = path_of(["", *names])
    path.encode()
    bytes_of = [name.encode("utf-8", "surrogateescape") for name in ["", *names]]
    assert [one.encode("utf-8", "surrogateescape") for one in name_segments(path)] == bytes_of
    assert decode_path(path.replace(".", "%2E").replace("\xe9", "%C3%A9")) == path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a", "a"),
        ("a/", "a/"),
        ("", ""),
        ("/", ""),
        ("./a", "a"),
        ("a/./b", "a/b"),
        ("a//b", "a/b"),
        ("a//../b", "a/b"),
        ("a/.", "a/"),
        ("a/b/..", "a/"),
        ("a/..", ""),
        ("a/../b/", "b/"),
        ("a/b/../../c", "c"),
        (".", ""),
        ("..", None),
        ("a/../..", None),
        ("../a", None),
        ("a/../../a", None),
        ("...", "..."),
        (".a/..b", ".a/..b"),
    ],
)
def test_dot_segments_and_empty_ones_are_resolved(given: str, found: str | None) -> None:
    resolved = resolve(given.split("/"))
    assert (None if resolved is None else "/".join(resolved)) == found


@given(st.lists(st.sampled_from(["a", "b", "", ".", "..", "..."]), min_size=1, max_size=9))
def test_a_resolved_path_has_nothing_left_to_resolve(names: list[str]) -> None:
    found = resolve(names)
    if found is not None:
        assert not {".", "..", ""}.intersection(found[:-1])
        assert found[-1] not in (".", "..")
        assert resolve(found) == found


@pytest.mark.parametrize(
    ("path", "target", "reference"),
    [
        ("/files/a", "/files/a/", "a/"),
        ("/files", "/files/", "files/"),
        ("/a/", "/a", "../a"),
        ("/a/b/", "/a/b/", "./"),
        ("/", "/name", "name"),
        ("/files/d/x.bin", "/files/.uploads/7", "../.uploads/7"),
        ("/files/.uploads/7", "/files/d/x.bin", "../d/x.bin"),
        ("/files/a//", "/files/a/", "../"),
        ("/files/./a", "/files/a/", "a/"),
        ("/files/b/../a", "/files/a/", "a/"),
        ("/files/a", "/files/a:b", "./a:b"),
        ("/files/d/a", "/files/d/e/a:b", "e/a:b"),
        ("//evil", "//evil/", "evil/"),
        ("/x", "//evil", ".//evil"),
        ("/a%20b/%C3%A4", "/a b/ä/", "%C3%A4/"),
        ("/a%2Fb", "/a%2Fb/", "a%2Fb/"),
    ],
)
def test_references(path: str, target: str, reference: str) -> None:
    assert relative_reference(path, name_segments(target)) == reference
    assert relative_reference(path, name_segments(target), "q=1") == f"{reference}?q=1"


NAMES = st.text("ab:/?#%\\ \r\n\t\xe4\udcff@.", min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)


@given(
    st.lists(NAMES, max_size=3),
    st.lists(NAMES | st.just(""), min_size=1, max_size=4),
    st.lists(NAMES | st.just(""), min_size=1, max_size=4),
    st.sampled_from(["", "/tenant", "/t/u"]),
)
def test_a_reference_leads_to_its_target_behind_any_prefix(
    shared: list[str], base: list[str], target: list[str], prefix: str
) -> None:
    path = "/".join(map(written, ["", *shared, *base]))
    reference = relative_reference(path, ["", *shared, *target])
    assert reference.isascii()
    assert reference.isprintable()
    assert " " not in reference
    before = ["", *filter(None, prefix.split("/")), *shared]
    joined = urljoin(f"http://host{prefix}{path}", reference)
    assert joined.startswith("http://host/")
    if "" not in base[:-1] and "" not in target[:-1]:  # urljoin drops empty segments
        wanted = "/".join(map(written, [*before, *target]))
        assert unquote(joined, "latin-1") == unquote(f"http://host{wanted}", "latin-1")


def written(segment: str) -> str:
    return "".join(f"%{byte:02X}" for byte in segment.encode("utf-8", "surrogateescape"))
