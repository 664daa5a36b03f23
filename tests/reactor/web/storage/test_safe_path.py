"""No path leads out of the directory, no call blocks, and no descriptor stays open."""

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactor.web.semantics.file_names import is_plain
from reactor.web.storage import safe_path
from reactor.web.storage.safe_path import MOST_LINKS, Place, Root, place_in
from tests.support.system_calls import record_opens

pytestmark = [pytest.mark.timeout(30), pytest.mark.usefixtures("closes_files")]

_PARTS = st.sampled_from(["", ".", "..", "sub", "deep", "a.txt", "l0", "l1", "l2", "site"])
_TARGETS = st.tuples(
    st.sampled_from(["", "/", "{site}/", "{site}/../", "../", "../../"]),
    st.lists(_PARTS, min_size=1, max_size=5),
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with files, beside things that must stay secret."""
    site = tmp_path / "site"
    (site / "sub" / "deep").mkdir(parents=True)
    (site / "a.txt").write_text("a")
    (site / "sub" / "b.txt").write_text("b")
    (site / "sub" / "deep" / "c.txt").write_text("c")
    (site / ".hidden").write_text("secret")
    (site / ".git").mkdir()
    (site / ".git" / "config").write_text("secret")
    (site / "back\\slash").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "site-2").mkdir()
    (tmp_path / "site-2" / "secret.txt").write_text("secret")
    return site


def read(root: Root, *segments: str) -> str:
    descriptor, status = root.open_file(segments)
    with open(descriptor, "rb") as file:
        content = file.read()
    assert status.st_size == len(content)
    return content.decode()


@pytest.mark.usefixtures("flags")
def test_files_at_any_depth(site: Path) -> None:
    root = Root(site)
    assert read(root, "a.txt") == "a"
    assert read(root, "sub", "b.txt") == "b"
    assert read(root, "sub", "deep", "c.txt") == "c"


@pytest.mark.slow
@pytest.mark.parametrize(
    "segments",
    [
        (),
        ("",),
        ("a.txt", ""),
        ("", "a.txt"),
        ("sub", "", "b.txt"),
        ("sub", ""),
        (".",),
        (".", "a.txt"),
        ("..",),
        ("..", "secret.txt"),
        ("sub", "..", "a.txt"),
        ("sub", "..", "..", "secret.txt"),
        ("../secret.txt",),
        ("..\\secret.txt",),
        ("sub/b.txt",),
        ("/etc/passwd",),
        ("", "etc", "passwd"),
        ("a.txt\0",),
        ("a.txt\0.png",),
        ("\0",),
        (".hidden",),
        (".git", "config"),
        ("a.txt", "b.txt"),
        ("none",),
        ("none", "b.txt"),
        ("sub",),
        ("sub", "deep"),
        ("x" * 255,),
        ("x" * 256,),
        ("x" * 100_000,),
        ("\uff0e\uff0e", "secret.txt"),
        ("%2e%2e", "secret.txt"),
        ("a.txt\n",),
    ],
)
def test_missing_files(site: Path, segments: tuple[str, ...]) -> None:
    with pytest.raises(OSError) as caught:
        Root(site).open_file(segments)
    assert caught.value.errno in (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    )


@pytest.mark.parametrize("segment", ["a", "a.b", "a..b", "...".replace(".", "a."), "é", "\n", " "])
def test_plain_segments(segment: str) -> None:
    assert is_plain([segment])


@pytest.mark.parametrize("segment", ["", ".", "..", "...", ".a", "a/b", "/", "a\\b", "a\0", "\0"])
def test_segments_that_are_not_plain(segment: str) -> None:
    assert not is_plain(["a", segment])


@pytest.mark.parametrize(
    ("link", "target", "content"),
    [
        ("link", "a.txt", "a"),
        ("link", "./sub//deep/../b.txt", "b"),
        ("link", "{site}/sub/b.txt", "b"),
        ("link", "{site}//./sub/b.txt", "b"),
        ("sub/link", "../a.txt", "a"),
        ("sub/deep/link", "../../a.txt", "a"),
        ("sub/deep/link", "{site}/a.txt", "a"),
        ("sub/link", "deep/../../sub/deep/c.txt", "c"),
    ],
)
def test_links_that_stay_inside(site: Path, link: str, target: str, content: str) -> None:
    (site / link).symlink_to(target.format(site=site))
    assert read(Root(site), *link.split("/")) == content


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "../secret.txt",
        "../site-2/secret.txt",
        "../site/a.txt",  # it comes back, but it left the root
        "sub/../../secret.txt",
        "sub/../../site/a.txt",
        "{site}/../secret.txt",
        "{site}/sub/../../secret.txt",
        "{site}-2/secret.txt",
        "{site}",
        "{site}/",
        "/etc/passwd",
        "/proc/self/cwd",
        "/dev/null",
        "/",
        "//etc/passwd",
        "..",
        ".",
        "nowhere",
        "link",
        "./link",
        "{site}/link",
        "a.txt/",
        "a.txt/.",
        "a.txt/../a.txt",
        ".hidden",
        ".git/config",
        "sub/../.hidden",
    ],
)
def test_links_that_lead_nowhere(site: Path, target: str) -> None:
    (site / "link").symlink_to(target.format(site=site))
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("link",))
    assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR)


def test_link_to_a_neighbour_whose_name_begins_like_the_root(site: Path) -> None:
    (site / "-2").mkdir()
    (site / "-2" / "secret.txt").write_text("another")
    (site / "link").symlink_to(f"{site}-2/secret.txt")
    with pytest.raises(FileNotFoundError):
        Root(site).open_file(("link",))


def test_links_to_directories(site: Path) -> None:
    (site / "inside").symlink_to("sub/deep")
    (site / "absolute").symlink_to(site / "sub")
    (site / "outside").symlink_to("../site-2")
    (site / "etc").symlink_to("/etc")
    (site / "sub" / "deep" / "up").symlink_to("..")
    root = Root(site)
    assert read(root, "inside", "c.txt") == "c"
    assert read(root, "absolute", "b.txt") == "b"
    # A link's ".." belongs to the directory that holds the link, not to the way that led there.
    assert read(root, "inside", "up", "b.txt") == "b"
    for segments in (("outside", "secret.txt"), ("etc", "passwd")):
        with pytest.raises(FileNotFoundError):
            root.open_file(segments)
        with pytest.raises(FileNotFoundError):
            root.open_directory(segments[:1])


def test_as_many_links_as_the_kernel_follows(site: Path) -> None:
    (site / "link1").symlink_to("a.txt")
    for number in range(2, MOST_LINKS + 2):
        (site / f"link{number}").symlink_to(f"link{number - 1}")
    assert read(Root(site), f"link{MOST_LINKS}") == "a"
    with pytest.raises(OSError) as caught:
        Root(site).open_file((f"link{MOST_LINKS + 1}",))
    assert caught.value.errno == errno.ELOOP


def test_links_that_grow_without_end(site: Path) -> None:
    (site / "x").symlink_to("x/x/x/x")
    (site / "here").symlink_to(".")
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("x",))
    assert caught.value.errno == errno.ELOOP
    assert read(Root(site), *["here"] * MOST_LINKS, "a.txt") == "a"
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("here",) * (MOST_LINKS + 1) + ("a.txt",))
    assert caught.value.errno == errno.ELOOP


@pytest.mark.system
@pytest.mark.timeout(5)  # a FIFO without a writer would block
def test_other_kinds_of_files(site: Path) -> None:
    os.mkfifo(site / "fifo")
    (site / "link").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(site / "socket"))
    for name in ("fifo", "link", "socket"):
        with pytest.raises(FileNotFoundError):
            Root(site).open_file((name,))
    with pytest.raises(NotADirectoryError):
        Root(site).open_directory(("fifo",))


@pytest.mark.parametrize("name", ["null", "zero", "tty", "ptmx", "random"])
def test_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = record_opens(monkeypatch)
    with pytest.raises(FileNotFoundError):
        Root("/dev").open_file((name,))
    assert opened[0] == b"/dev"
    assert name.encode() not in opened  # the device was not even opened


def test_links_that_only_the_kernel_can_follow() -> None:
    with pytest.raises(OSError):
        Root("/proc/self").open_file(("exe",))
    with pytest.raises(OSError):
        Root("/proc/self").open_file(("root", "etc", "passwd"))


def after_stat(
    monkeypatch: pytest.MonkeyPatch, name: bytes, change: Any, *, call: str = "open"
) -> None:
    """Run `change` between the stat of `name` and the call that uses it."""
    real = getattr(os, call)

    def raced(path: Any, *arguments: Any, **named: Any) -> Any:
        if path == name and "dir_fd" in named:
            change()
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, call, raced)


@pytest.mark.usefixtures("flags")
def test_directory_that_becomes_a_link(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.parent / "site-2" / "b.txt").write_text("secret")

    def swap() -> None:
        (site / "sub").rename(site / "old")
        (site / "sub").symlink_to("../site-2")

    after_stat(monkeypatch, b"sub", swap)
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("sub", "b.txt"))
    assert caught.value.errno in (errno.ENOTDIR, errno.ELOOP)


def test_file_that_becomes_a_link(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap() -> None:
        (site / "a.txt").unlink()
        (site / "a.txt").symlink_to("../secret.txt")

    after_stat(monkeypatch, b"a.txt", swap)
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("a.txt",))
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("now", ["file", "directory", "none", "outside", "fifo"])
@pytest.mark.timeout(5)
def test_link_that_becomes_something_else(
    site: Path, now: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deployments do that, by a rename; the name is examined again, and its new state counts."""
    (site / "link").symlink_to("sub/b.txt")

    def swap() -> None:
        (site / "link").unlink()
        if now == "file":
            (site / "link").write_text("new")
        elif now == "directory":
            (site / "link").mkdir()
        elif now == "outside":
            (site / "link").symlink_to("../secret.txt")
        elif now == "fifo":
            os.mkfifo(site / "link")
        monkeypatch.undo()

    after_stat(monkeypatch, b"link", swap, call="readlink")
    if now == "file":
        assert read(Root(site), "link") == "new"
    else:
        kind = IsADirectoryError if now == "directory" else FileNotFoundError
        with pytest.raises(kind):
            Root(site).open_file(("link",))


@pytest.mark.timeout(5)
def test_name_that_is_a_link_only_at_the_stat(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker's game ends after as many rounds as links are followed."""
    (site / "link").symlink_to("a.txt")

    def refuse(*arguments: Any, **named: Any) -> bytes:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "readlink", refuse)
    with pytest.raises(OSError) as caught:
        Root(site).open_file(("link",))
    assert caught.value.errno == errno.ELOOP


@pytest.mark.timeout(5)
def test_file_that_becomes_a_fifo(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap() -> None:
        (site / "a.txt").unlink()
        os.mkfifo(site / "a.txt")

    after_stat(monkeypatch, b"a.txt", swap)
    with pytest.raises(FileNotFoundError):
        Root(site).open_file(("a.txt",))


def test_directory_that_is_moved_out_while_a_link_climbs(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's ".." would now be the directory with the secrets; ours returns to where we came
    from.
    """
    (site / "sub" / "deep" / "link").symlink_to("../../secret.txt")
    (site / "secret.txt").write_text("harmless")

    def move() -> None:
        (site / "sub" / "deep").rename(site.parent / "deep")

    after_stat(monkeypatch, b"link", move, call="readlink")
    assert read(Root(site), "sub", "deep", "link") == "harmless"


@pytest.fixture(params=["O_PATH", "without"])
def flags(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags of this system, and those of a system whose descriptors are all for reading."""
    if request.param == "without":
        everywhere = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        monkeypatch.setattr(safe_path, "_SEARCHABLE", everywhere)


@pytest.mark.usefixtures("flags")
def test_directories(site: Path) -> None:
    (site / "link").symlink_to("sub/deep")
    (site / "out").symlink_to("..")
    root = Root(site)
    for segments in ((), ("sub",), ("sub", "deep"), ("link",)):
        for find in (root.open_directory, root.find_directory):
            descriptor = find(segments)
            assert os.path.samestat(os.fstat(descriptor), site.joinpath(*segments).stat())
            os.close(descriptor)
        descriptor = root.open_directory(segments)
        assert os.listdir(descriptor)
        os.fsync(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    for none in (("..",), (".git",), ("none",), ("a.txt",), ("sub", "..", ".."), ("out",)):
        for find in (root.open_directory, root.find_directory):
            with pytest.raises(OSError):
                find(none)


# --- the names that decide -----------------------------------------------------------------------


def place(path: Path) -> Place:
    directory = os.stat(path.parent)
    return directory.st_dev, directory.st_ino, os.fsencode(path.name)


def places_of(root: Root, *segments: str) -> set[Place]:
    """The places of a walk, whether it leads to a file or to nothing."""
    places: set[Place] = set()
    try:
        descriptor, _ = root.find_file(segments, places)
    except OSError:
        return places
    os.close(descriptor)
    return places


def located(root: Root, path: str, *roots: Root) -> bool:
    descriptor, status, below = root.locate_file(path.split("/"), set(), roots)
    assert stat.S_ISREG(status.st_mode)
    os.close(descriptor)
    return below


def test_a_file_is_below_the_directory_in_which_the_walk_has_ended(site: Path) -> None:
    (site / "file").symlink_to("sub/b.txt")
    (site / "directory").symlink_to("sub")
    (site / "sub/deep/out").symlink_to("../../a.txt")
    (site / "absolute").symlink_to(site / "sub")
    root, sub, deep = Root(site), Root(site / "sub"), Root(site / "sub/deep")
    for path in ("sub/b.txt", "file", "directory/b.txt", "absolute/b.txt", "sub/deep/c.txt"):
        assert located(root, path, sub)
        assert located(root, path, root)
        assert located(root, path, deep, sub)
        assert located(root, path, deep) == (path == "sub/deep/c.txt")
        assert not located(root, path)
    for path in ("a.txt", "sub/deep/out", "directory/deep/out"):
        assert not located(root, path, sub)
        assert not located(root, path, sub, deep)
        assert located(root, path, root)
    assert not located(sub, "b.txt", root)  # a walk does not see what is above its root
    assert located(sub, "b.txt", sub)


def test_the_directory_of_a_root_may_be_replaced(site: Path) -> None:
    (site / "now").symlink_to("sub/deep")
    now = Root(site / "now")
    assert located(Root(site), "sub/deep/c.txt", now)
    (site / "now").unlink()
    (site / "now").symlink_to("site-3")
    assert not located(Root(site), "sub/deep/c.txt", now)
    with pytest.raises(OSError):  # and no descriptor is left
        (site / "now").unlink()
        (site / "now").symlink_to("now")
        located(Root(site), "sub/deep/c.txt", now)
    (site / "now").unlink()
    (site / "now").symlink_to("site-3")
    (site / "site-3").mkdir()
    (site / "site-3/d.txt").touch()
    assert located(Root(site), "site-3/d.txt", now)
    assert not located(Root(site), "sub/deep/c.txt", now)


def test_roots_within_roots(site: Path) -> None:
    (site / "link").symlink_to("sub/deep")
    root, sub, deep = Root(site), Root(site / "sub"), Root(site / "sub/deep")
    link, other = Root(site / "link"), Root(site.parent / "site-2")
    for inner, outer in (
        *((root, root), (sub, root), (deep, root), (deep, sub), (link, sub), (link, deep)),
        (deep, link),
        (root, Root("/")),
        (Root("/"), Root("/")),
        (Root(os.path.relpath(site / "sub")), root),
    ):
        assert inner.may_be_within(outer)
    for inner, outer in ((root, sub), (sub, deep), (other, root), (root, other), (Root("/"), root)):
        assert not inner.may_be_within(outer)


def test_a_root_whose_way_up_cannot_be_searched(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be anywhere, so it counts as within."""
    root, other = Root(site / "sub"), Root(site.parent / "site-2")
    really_open = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "..":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert root.may_be_within(other)


def test_place_in(site: Path) -> None:
    directory = os.open(site / "sub", os.O_RDONLY)
    assert place_in(directory, b"b.txt") == place(site / "sub" / "b.txt")
    os.close(directory)
    with pytest.raises(OSError):
        place_in(directory, b"b.txt")


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a.txt", {"a.txt"}),
        ("sub/deep/c.txt", {"sub/deep/c.txt"}),  # renaming real directories changes nothing here
        ("link", {"link", "a.txt"}),
        ("chain", {"chain", "link", "a.txt"}),
        ("directory/b.txt", {"directory", "sub/b.txt"}),
        ("directory/deep/c.txt", {"directory", "sub/deep/c.txt"}),
        ("directory/up", {"directory", "sub/up", "a.txt"}),
        ("absolute/b.txt", {"absolute", "sub/b.txt"}),
        ("round", {"round", "sub/b.txt"}),
        ("none", {"none"}),
        ("sub/none", {"sub/none"}),
        ("none/none", set()),
        ("directory/none", {"directory", "sub/none"}),
        ("dangling", {"dangling", "later"}),
        ("sub", {"sub"}),
        ("directory", {"directory", "sub"}),
        ("out", {"out"}),
        ("loop", {"loop"}),
        (".hidden", set()),
        ("", set()),
    ],
)
def test_places(site: Path, path: str, names: set[str]) -> None:
    (site / "link").symlink_to("a.txt")
    (site / "chain").symlink_to("./sub/.././link")
    (site / "directory").symlink_to("sub")
    (site / "absolute").symlink_to(f"{site}//sub/")
    (site / "sub" / "up").symlink_to("../a.txt")
    (site / "round").symlink_to("sub/deep/../b.txt")
    (site / "dangling").symlink_to("later")
    (site / "out").symlink_to("../secret.txt")
    (site / "loop").symlink_to("loop")
    found = places_of(Root(site), *path.split("/"))
    assert found == {place(site / name) for name in names}


def test_places_are_added(site: Path) -> None:
    """One set can have those of several walks; callers without a set get none."""
    places: set[Place] = set()
    for name in ("a.txt", "none"):
        with suppress(OSError):
            os.close(Root(site).find_file((name,), places)[0])
    assert places == {place(site / "a.txt"), place(site / "none")}


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    targets=st.lists(_TARGETS, min_size=3, max_size=3),
    segments=st.lists(_PARTS, min_size=1, max_size=4),
    changed=st.sampled_from(
        ["a.txt", "sub/b.txt", "sub/deep/c.txt", "l0", "sub/l1", "sub/deep/l2"]
    ),
    gone=st.booleans(),
)
def test_other_names_change_nothing(
    site: Path, targets: list[tuple[str, list[str]]], segments: list[str], changed: str, gone: bool
) -> None:
    """A file put or removed at a name that is no place leaves the same file found, or none."""
    for name, (start, parts) in zip(["l0", "sub/l1", "sub/deep/l2"], targets, strict=True):
        (site / name).unlink(missing_ok=True)
        (site / name).symlink_to((start.format(site=site) + "/".join(parts)) or ".")
    for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt"):
        (site / name).write_text(name)

    def found() -> str | None:
        try:
            return read(Root(site), *segments)
        except OSError:
            return None

    before, places = found(), places_of(Root(site), *segments)
    (site / changed).unlink()
    if not gone:
        (site / changed).write_text("new")
    if place(site / changed) not in places:
        assert found() == before


def test_root_that_is_a_link_and_is_replaced(site: Path) -> None:
    current = site.parent / "current"
    current.symlink_to("site")
    (site / "by-link").symlink_to(current / "a.txt")
    (site / "by-path").symlink_to(site / "a.txt")
    root = Root(current)
    assert read(root, "by-link") == read(root, "by-path") == "a"
    (site.parent / "next").symlink_to("site-2")
    (site.parent / "next").rename(current)
    assert read(root, "secret.txt") == "secret"  # the operator wants it served now


def test_root_by_relative_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.parent)
    root = Root("site/")
    monkeypatch.chdir("/")
    (site / "link").symlink_to(site / "a.txt")
    assert read(root, "link") == "a"


def test_root_of_the_file_system(site: Path) -> None:
    (site / "link").symlink_to(site.parent / "secret.txt")
    assert read(Root("/"), *(site / "link").parts[1:]) == "secret"


def test_unusable_roots(site: Path) -> None:
    for path in (site / "none", site / "a.txt"):
        with pytest.raises(OSError):
            Root(path)


def test_names_are_utf_8_in_every_locale(site: Path) -> None:
    (Path(os.fsdecode(os.fsencode(site) + b"/caf\xc3\xa9"))).write_text("é")
    assert read(Root(site), "café") == "é"
    with pytest.raises(FileNotFoundError):
        Root(site).open_file(("cafe\u0301",))  # the kernel normalizes nothing, and neither do we


@pytest.mark.slow
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(targets=st.lists(_TARGETS, min_size=3, max_size=3), segments=st.lists(_PARTS, max_size=4))
def test_no_web_of_links_leads_out(
    site: Path, targets: list[tuple[str, list[str]]], segments: list[str]
) -> None:
    places = [site / "l0", site / "sub" / "l1", site / "sub" / "deep" / "l2"]
    for place, (start, parts) in zip(places, targets, strict=True):
        place.unlink(missing_ok=True)
        place.symlink_to((start.format(site=site) + "/".join(parts)) or ".")
    try:
        descriptor, _ = Root(site).open_file(segments)
    except OSError:
        return
    opened = os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
    assert opened.startswith(f"{site}/")
    assert os.path.realpath(site.joinpath(*segments)) == opened
