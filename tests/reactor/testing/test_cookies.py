"""The test client's cookies, by the sections of RFC 6265."""

import time
from email.utils import formatdate

import pytest

from reactor.testing.cookies import Cookie, CookieJar, parse_date, parse_set_cookie

NOW = 1_700_000_000.0
HOST = "www.example.com"


class Clock:
    now = NOW


def make_jar(
    *lines: str, host: str = HOST, path: str = "/", clock: Clock | None = None
) -> CookieJar:
    clock = clock or Clock()
    jar = CookieJar(lambda: clock.now)
    jar.store(lines, host, path)
    return jar


def sent(jar: CookieJar, host: str = HOST, path: str = "/", secure: bool = False) -> str:
    return "; ".join(f"{one.name}={one.value}" for one in jar.to_send(host, path, secure))


# --- section 5.1.1: dates ------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1, NOW, 951_782_400, 4_102_444_800])
def test_dates_as_servers_write_them(seconds: float) -> None:
    assert parse_date(formatdate(seconds, usegmt=True)) == seconds
    t = time.gmtime(seconds)
    assert parse_date(time.strftime("%A, %d-%b-%Y %H:%M:%S GMT", t)) == seconds
    assert parse_date(time.asctime(t)) == seconds


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Sun, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("06-nov-70 0:0:0", "Fri, 06 Nov 1970 00:00:00 GMT"),
        ("06-nov-69 0:0:0", "Wed, 06 Nov 2069 00:00:00 GMT"),
        ("8:49:37 1994 november 6", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("06 Nov 1994 08:49:37.5 UTC", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ],
)
def test_dates_in_other_forms(text: str, same: str) -> None:
    assert parse_date(text) == parse_date(same) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "06 Nov 1994",
        "06 Nov 08:49:37",
        "Nov 1994 08:49:37",
        "06 1994 08:49:37",
        "31 Nov 1994 08:49:37",
        "29 Feb 1900 08:49:37",
        "00 Nov 1994 08:49:37",
        "06 Nov 1600 08:49:37",
        "06 Nov 1994 24:00:00",
        "06 Nov 1994 08:60:00",
        "06 Nov 1994 08:49:60",
        "٠٦ Nov 1994 08:49:37",
    ],
)
def test_strings_that_are_no_date(text: str) -> None:
    assert parse_date(text) is None


# --- section 5.2: the line -----------------------------------------------------------------------


def test_a_line_is_taken_apart() -> None:
    line = (
        "id =  a=b ; path=/docs; SECURE; HttpOnly;SameSite = Lax; Max-Age=60; Domain=.Example.com;"
    )
    cookie = parse_set_cookie(line, HOST, "/", NOW)
    assert cookie == Cookie(
        "id", "a=b", ".example.com", "/docs", NOW + 60, secure=True, http_only=True, same_site="Lax"
    )


@pytest.mark.parametrize("line", ["", "nothing", "=value", " = value", "; Path=/"])
def test_lines_that_set_no_cookie(line: str) -> None:
    assert parse_set_cookie(line, HOST, "/", NOW) is None


@pytest.mark.parametrize(
    ("attributes", "expires"),
    [
        ("", None),
        ("; Max-Age=60", NOW + 60),
        ("; Max-Age=0", float("-inf")),
        ("; Max-Age=-5", float("-inf")),
        ("; Max-Age=soon", None),
        ("; Max-Age=6_0", None),
        ("; Max-Age=1; Max-Age=2", NOW + 2),
        ("; Expires=Thu, 01 Jan 1970 00:00:10 GMT", 10.0),
        ("; Expires=never", None),
        ("; Expires=Thu, 01 Jan 1970 00:00:10 GMT; Expires=never", 10.0),
        ("; Expires=Thu, 01 Jan 1970 00:00:10 GMT; Max-Age=60", NOW + 60),
        ("; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:10 GMT", NOW + 60),
    ],
)
def test_how_long_it_lasts(attributes: str, expires: float | None) -> None:
    cookie = parse_set_cookie(f"a=b{attributes}", HOST, "/", NOW)
    assert cookie is not None
    assert cookie.expires == expires


@pytest.mark.parametrize(
    ("path", "attribute", "expected"),
    [
        ("/", "", "/"),
        ("/a", "", "/"),
        ("/a/", "", "/a"),
        ("/a/b", "", "/a"),
        ("/a/b/c", "", "/a/b"),
        ("*", "", "/"),
        ("/a/b", "; Path=/", "/"),
        ("/a/b", "; Path=/x/", "/x/"),
        ("/a/b", "; Path=x", "/a"),
        ("/a/b", "; Path", "/a"),
        ("/a/b", "; Path=/x; Path=", "/a"),
    ],
)
def test_its_path(path: str, attribute: str, expected: str) -> None:
    cookie = parse_set_cookie(f"a=b{attribute}", HOST, path, NOW)
    assert cookie is not None
    assert cookie.path == expected


@pytest.mark.parametrize(
    ("host", "attribute", "expected"),
    [
        (HOST, "", HOST),
        (HOST, "; Domain=", HOST),
        (HOST, "; Domain=www.example.com", ".www.example.com"),
        (HOST, "; Domain=example.com", ".example.com"),
        (HOST, "; Domain=EXAMPLE.com", ".example.com"),
        (HOST, "; Domain=.example.com", ".example.com"),
        (HOST, "; Domain=a; Domain=example.com", ".example.com"),
        (HOST, "; Domain=com", None),
        (HOST, "; Domain=other.com", None),
        (HOST, "; Domain=ww.example.com", None),
        (HOST, "; Domain=xample.com", None),
        (HOST, "; Domain=a.www.example.com", None),
        ("testserver", "; Domain=testserver", "testserver"),
        ("10.0.0.1", "; Domain=10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "; Domain=0.0.1", None),
        ("[::1]", "", "[::1]"),
    ],
)
def test_its_domain(host: str, attribute: str, expected: str | None) -> None:
    cookie = parse_set_cookie(f"a=b{attribute}", host, "/", NOW)
    assert (cookie.domain if cookie is not None else None) == expected


# --- sections 5.3 and 5.4: stored and sent -------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "host", "path", "secure", "goes"),
    [
        ("a=b", HOST, "/", False, True),
        ("a=b", f"x.{HOST}", "/", False, False),
        ("a=b", "example.com", "/", False, False),
        ("a=b; Domain=example.com", "example.com", "/", False, True),
        ("a=b; Domain=example.com", "x.y.example.com", "/", False, True),
        ("a=b; Domain=example.com", "badexample.com", "/", False, False),
        ("a=b; Path=/x", HOST, "/x", False, True),
        ("a=b; Path=/x", HOST, "/x/y", False, True),
        ("a=b; Path=/x/", HOST, "/x/y", False, True),
        ("a=b; Path=/x/", HOST, "/x", False, False),
        ("a=b; Path=/x", HOST, "/xy", False, False),
        ("a=b; Path=/x", HOST, "/", False, False),
        ("a=b; Secure", HOST, "/", False, False),
        ("a=b; Secure", HOST, "/", True, True),
    ],
)
def test_where_it_is_sent(line: str, host: str, path: str, secure: bool, goes: bool) -> None:
    assert sent(make_jar(line), host, path, secure) == ("a=b" if goes else "")


def test_it_is_sent_until_it_expires() -> None:
    clock = Clock()
    jar = make_jar("a=1; Max-Age=60", "b=2", clock=clock)
    clock.now += 59.9
    assert sent(jar) == "a=1; b=2"
    clock.now += 0.1
    assert sent(jar) == "b=2"
    assert "a" not in jar
    assert len(jar) == 1


def test_the_past_deletes() -> None:
    jar = make_jar("a=1", "b=2", "c=3; Path=/x")
    jar.store(["a=; Max-Age=0", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], HOST, "/")
    jar.store(["c=; Max-Age=0"], HOST, "/")  # another one, by its path
    assert sent(jar, path="/x") == "c=3"


def test_longer_paths_come_first_and_then_older_ones() -> None:
    jar = make_jar("a=1", "b=2; Path=/x", "c=3", "d=4; Path=/x/y", "e=5; Path=/x")
    assert sent(jar, path="/x/y") == "d=4; b=2; e=5; a=1; c=3"
    jar.store(["a=new"], HOST, "/")  # keeps its place (section 5.3, step 11.3)
    assert sent(jar) == "a=new; c=3"


def test_same_name_other_path() -> None:
    jar = make_jar("a=1", "a=2; Path=/x")
    assert sent(jar, path="/x") == "a=2; a=1"
    assert len(jar) == 2
    jar.delete("a")
    assert len(jar) == 0
    jar.delete("a")


# --- by hand -------------------------------------------------------------------------------------


def test_a_jar_is_looked_into_by_name() -> None:
    jar = make_jar("a=1", "b=2")
    assert jar["a"] == "1"
    assert "b" in jar
    assert jar.get("c") is None
    assert jar.get("c", "3") == "3"
    assert {cookie.name for cookie in jar} == {"a", "b"}
    with pytest.raises(KeyError):
        jar["c"]
    jar.clear()
    assert list(jar) == []


def test_a_test_may_set_cookies_for_any_host_or_one() -> None:
    jar = make_jar()
    jar.set("a", "1")
    jar.set("b", "2", domain="example.com", path="/x")
    jar.set("c", "3", domain=".example.com")
    assert sent(jar, "anywhere") == "a=1"
    assert sent(jar, "example.com", "/x") == "b=2; a=1; c=3"
    assert sent(jar, "www.example.com", "/x") == "a=1; c=3"


@pytest.mark.parametrize(
    ("name", "value"), [("", "x"), ("a b", "x"), ("a=b", "x"), ("a", "x;y"), ("a", "x\r\ny")]
)
def test_an_invalid_cookie_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="of a cookie"):
        make_jar().set(name, value)
