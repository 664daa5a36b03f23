"""All options together: the settings that they make, and those that contradict each other.

Single values are tested in test_values.py, and the process in test_command_line.py.
"""

from collections.abc import Callable

import pytest

from reactor.config.options import rows
from reactor.web.site.options import TABLES, Config, options_page, parse_arguments
from tests.support.paths import ROOT

Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """The one sentence about these arguments; the status is 2."""

    def refuse(*arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            parse_arguments(arguments)
        assert caught.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("reactor: ")
        assert said.err.endswith("; see --help\n")
        assert said.err.count("\n") == 1
        return said.err

    return refuse


def parsed(*arguments: str) -> Config:
    return parse_arguments(arguments)


def test_nothing_is_the_current_directory() -> None:
    config = parsed()
    site = config.site
    assert (site.directory, site.static, site.application) == (None, (("/", "."),), "")
    assert (site.types, site.headers, site.cache_control, site.spa) == ((), (), (), "")
    assert config.site.listing
    assert config.site.uploads
    assert not config.site.deletes


@pytest.mark.parametrize(
    ("what", "application", "static"),
    [
        ("site", "", (("/", "site"),)),
        ("./site:app", "", (("/", "./site:app"),)),
        ("a/b:c", "", (("/", "a/b:c"),)),
        ("a:b:c", "", (("/", "a:b:c"),)),
        (".", "", (("/", "."),)),
        ("", "", (("/", ""),)),
        ("/=site", "", (("/", "/=site"),)),
        ("site:app", "site:app", ()),
        ("a.b:c.d", "a.b:c.d", ()),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_positional(
    what: str, application: str, static: tuple[tuple[str, str], ...], place: int
) -> None:
    options = ["--port=1", "--debug", "--host=x"]
    config = parsed(*options[:place], what, *options[place:])
    assert config.site.application == application
    assert config.site.static == static
    assert config.serve.port == 1


def test_a_positional_that_looks_like_an_option() -> None:
    assert parsed("--", "-x").site.static == (("/", "-x"),)


def test_the_current_directory_is_not_added_to_others() -> None:
    assert parsed("--static", "/a=1").site.static == (("/a/", "1"),)
    assert parsed("--directory", "1").site.static == ()
    assert parsed("a:b").site.static == ()
    assert parsed("--spa", "index.html", "--health").site.static == (("/", "."),)


def test_repeated_options() -> None:
    config = parsed(
        *("--static", "/a=1", "--static=/a/b/=2", "--type", ".a=a/b", "--type", ".A=c/d"),
        *("--header", "X: 1", "--header", "X: 2", "--cache-control", "*=a", "3"),
        *("--cache-control", "*=b"),
    )
    assert config.site.static == (("/a/", "1"), ("/a/b/", "2"), ("/", "3"))
    assert config.site.types == ((".a", "a/b"), (".a", "c/d"))
    assert config.site.headers == (("X", "1"), ("X", "2"))
    assert config.site.cache_control == (("*", "a"), ("*", "b"))


def test_logs_and_what_operators_ask_for() -> None:
    config = parsed()
    assert (config.serve.access_log, config.serve.access_log_format, config.serve.error_log) == (
        "-",
        "common",
        "-",
    )
    assert not config.site.health
    assert not config.site.metrics
    config = parsed("--health", "--metrics", "--error-log", "e", "--access-log-format", "%(h)s %%")
    assert config.site.health
    assert config.site.metrics
    assert (config.serve.access_log_format, config.serve.error_log) == ("%(h)s %%", "e")


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        ("", [("127.0.0.1", 4221)]),
        ("--port 80", [("127.0.0.1", 80)]),
        ("--host ::1", [("::1", 4221)]),
        ("--host a --host b --port 80", [("a", 80), ("b", 80)]),
        ("--host a --port 80 --host b", [("a", 80), ("b", 80)]),
        ("-b a:1", [("a", 1)]),
        ("-b a --port 80", [("a", 80)]),
        ("--bind=[::1]:8080 -b :9 -ba", [("::1", 8080), ("", 9), ("a", 4221)]),
        ("-b a:1 --host b -b c", [("b", 4221), ("a", 1), ("c", 4221)]),
    ],
)
def test_where_to_listen(arguments: str, places: list[tuple[str, int]]) -> None:
    assert parsed(*arguments.split()).serve.places == places


def test_changes_that_are_allowed() -> None:
    assert parsed("--directory", "x", "--allow-delete").site.deletes
    assert parsed("x", "--upload", "--allow-delete").site.deletes
    assert not parsed("--directory", "x", "--read-only").site.uploads
    assert not parsed("x", "--read-only").site.uploads  # it is, and says so


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        (["--upload"], "."),
        (["x", "--upload"], "x"),
        (["--upload", "./a:b"], "./a:b"),
        (["x", "--upload", "--static", "/docs=y"], "x"),
    ],
)
def test_a_directory_at_the_root_that_takes_uploads(arguments: list[str], directory: str) -> None:
    site = parsed(*arguments).site
    assert (site.directory, site.prefix, site.uploads) == (directory, "/", True)
    assert "/" not in dict(site.static)


NEEDS_UPLOADS = "it needs a directory that takes uploads: DIR with --upload, or --directory"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a:b", "--upload"], "--upload: it needs a directory, and this is an application"),
        (["--upload", "--directory", "x"], "--upload: one directory takes uploads, and --dir"),
        (["y", "--upload", "--directory", "x"], "--upload: one directory takes uploads"),
        (["--upload", "--static", "/a=x"], "--upload: it needs DIR"),
        (["--upload", "--read-only"], "--upload: not allowed with --read-only"),
        (["--upload", "--static", "/=x", "y"], "two directories at /:"),
        (["--upload", "--static", "/.uploads=x", "y"], "/.uploads/ belongs to partial uploads"),
        (["--upload", "--spa", "x"], "--spa: it needs a static mount"),
        (["--directory", "x", "--allow-delete", "--read-only"], "--allow-delete: not allowed"),
        (["--allow-delete"], f"--allow-delete: {NEEDS_UPLOADS}"),
        (["x", "--allow-delete"], f"--allow-delete: {NEEDS_UPLOADS}"),
        (["a:b", "--allow-delete"], f"--allow-delete: {NEEDS_UPLOADS}"),
        (["x", "--trust-uploads"], f"--trust-uploads: {NEEDS_UPLOADS}"),
        (
            ["--directory", "x", "--read-only", "--trust-uploads"],
            f"--trust-uploads: {NEEDS_UPLOADS}",
        ),
        (["x", "--trusted-origins", "http://a"], f"--trusted-origins: {NEEDS_UPLOADS}"),
        (["a:b", "--read-only"], "--read-only: it needs a directory or a file"),
        (["a:b", "--no-listing"], "--no-listing: it needs a directory or a file"),
        (["a:b", "--type", ".a=a/b"], "--type: it needs a directory or a file"),
        (["a:b", "--header", "X: y"], "--header: it needs a directory or a file"),
        (["a:b", "--cache-control", "*=x"], "--cache-control: it needs a directory or a file"),
    ],
)
def test_options_that_nothing_takes(refusal: Refusal, arguments: list[str], sentence: str) -> None:
    assert sentence in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--static", "/a=1", "--static", "a/=2"], "/a/"),
        (["--static", "/=1", "2"], "two directories at /:"),
        (["--static", "/files=1", "--directory", "2"], "two directories at /files/:"),
        (["--static", "/files/.uploads/=1", "--directory", "2"], "/files/.uploads/"),
        (["--static", "/files/.uploads/x=1", "--directory", "2"], "/files/.uploads/"),
        (["--static", "/=1", "a:b"], "leaves nothing"),
        (["--spa", "index.html", "--directory", "1"], "--spa"),
        (["--spa", "index.html", "a:b"], "--spa"),
        (["--spa", "/index.html", "x"], "--spa"),
        (["--spa", "", "x"], "--spa"),
        (["--access-log-format", "xml"], "'xml'"),
        (["--access-log-format", "%(h)s %(z)s"], "'%(z)s'"),
        (["--access-log-format", ""], "--access-log-format"),
        (["--static", "/a"], "--static"),
        (["--static"], "--static"),
        (["--type", "x"], "--type"),
        (["--header", "Content-Length: 1"], "--header"),
        (["--header", "a\nb"], "--header"),
        (["--cache-control", "x"], "--cache-control"),
        (["1", "2"], "2"),
        (["1", "2\n3"], "2 3"),
        (["--no-listing=1"], "--no-listing"),
        (["--reload"], "--reload"),
        (["--reload", "site"], "--reload"),
        (["--reload", "--static", "/x=1"], "--reload"),
        (["--reload", "--directory", "1"], "--reload"),
        (["--reload=a:b"], "--reload"),
        (["--stat", "/a=1"], "--stat"),
    ],
)
def test_contradictions(refusal: Refusal, arguments: list[str], named: str) -> None:
    assert named in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--idle"], "--idle"),  # no abbreviations
        (["--port"], "--port"),
        (["--port", "x"], "--port"),
        (["--port", "65536"], "--port"),
        (["--port", "-1"], "--port"),
        (["--port", "99999999999999999999999"], "--port"),
        (["--port", "8_0"], "--port"),
        (["--host", "localhost:80"], "--host"),
        (["-b", "localhost:x"], "-b/--bind"),
        (["-b", "::1:80"], "[::1]:80"),
        (["--log-level", "loud"], "--log-level"),
        (["--server-header", "a\nb"], "--server-header"),
        (["--server-header", "\u20ac"], "--server-header"),
        (["--idle-timeout", "0"], "--idle-timeout"),
        (["--idle-timeout", "-1"], "--idle-timeout"),
        (["--idle-timeout", "inf"], "--idle-timeout"),
        (["--idle-timeout", "soon"], "--idle-timeout"),
        (["--head-bytes", "0"], "--head-bytes"),
        (["--head-bytes", "1.5"], "--head-bytes"),
        (["--head-bytes", "9" * 5000], "--head-bytes"),
        (["--connections", "-1"], "--connections"),
        (["--read-only", "--read-only=x"], "--read-only"),
    ],
)
def test_a_value_that_is_wrong(refusal: Refusal, arguments: list[str], named: str) -> None:
    assert named in refusal(*arguments)


def test_lists_add_up() -> None:
    first, second = "http://A.example/,https://b:443", "http://c:81"
    given = ("--trusted-origins", first, "--trusted-origins", second)
    origins = parsed("--upload", *given).site.trusted_origins
    assert origins == ("http://a.example", "https://b", "http://c:81")
    assert parsed().site.trusted_origins == ()


def test_allowed_hosts(refusal: Refusal) -> None:
    given = ("--allowed-hosts", "Files.LAN., *.a.example", "--allowed-hosts", "::1,10.0.0.5,*")
    hosts = parsed(*given).site.allowed_hosts
    assert hosts == ("files.lan", "*.a.example", "[::1]", "10.0.0.5", "*")
    assert parsed().site.allowed_hosts == ()
    for text in ("", ",", "a,", "a:80", "http://a", "a b", "a.*", "a%2fb"):
        said = refusal("--allowed-hosts", text)
        assert "--allowed-hosts: " in said
        assert "is not a host: a name or an address without a port, *.example.com" in said


@pytest.mark.parametrize("text", ["", ",", "a", "http://a,", "http://a/b", "*"])
def test_trusted_origins_that_are_none(refusal: Refusal, text: str) -> None:
    said = refusal("--trusted-origins", text)
    assert "--trusted-origins: " in said
    assert "scheme://host or scheme://host:port" in said


def test_an_application_may_be_reloaded() -> None:
    assert parsed("--reload", "a:b").site.reload
    assert not parsed("a:b").site.reload


def test_overlapping_prefixes_and_unfinished_uploads_that_are_none() -> None:
    config = parsed("--static", "/files=1", "--static", "/files/.uploads=2", "--static", "/=3")
    assert [prefix for prefix, _ in config.site.static] == ["/files/", "/files/.uploads/", "/"]
    config = parsed("--static", "/files/more=1", "--directory", "2", "a:b")
    assert config.site.application == "a:b"


def test_the_reference_page_is_made_from_the_rows() -> None:
    """To write it: `python -c "from reactor.web.site.options import options_page as page;
    print(page(), end='')" > docs/options.md`.
    """
    assert (ROOT / "docs/options.md").read_text() == options_page()


def test_every_option_stands_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    said = " ".join(capsys.readouterr().out.split())
    for table in TABLES:
        for row in rows(table):
            assert f" {row.flag} {row.metavar}".rstrip() in said
            assert row.meaning in said
