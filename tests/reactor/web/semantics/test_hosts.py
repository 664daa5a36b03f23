"""Hosts that requests may name: sets of them, and how they are compared."""

import pytest

from reactor.errors import ProtocolError
from reactor.web.semantics.hosts import Hosts, host_pattern, normal_host

LOCAL = [
    *("localhost", "LOCALHOST", "localhost.", "localhost:4221", "a.localhost", "a.b.localhost:1"),
    *("127.0.0.1", "127.0.0.1:80", "127.1.2.3", "127.255.255.255", "[::1]", "[::1]:4221"),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]:80"),
]
FOREIGN = [
    *("evil.example", "localhost.evil.example", "localhost.evil", "xlocalhost", "local", "host"),
    *(".localhost", "a..localhost", "evil%2f.localhost", "%2e.localhost", "a b.localhost"),
    *("127.0.0.1.evil.example", "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1"),
    *("127.0.0.01", "128.0.0.1", "0.0.0.0", "192.168.1.5", "[::]", "[::2]", "[fe80::1%25lo]"),
    *("[::1", "::1", "[127.0.0.1]", "[::1].", "[::1]x", "[::ffff:128.0.0.1]", "[v1.a]", ":80"),
    *("localhost:80:80", "localhost,evil", "evil@localhost", "localhost/", "localhost#"),
]


@pytest.mark.parametrize("host", LOCAL)
def test_local_hosts(host: str) -> None:
    assert host in Hosts([], local=True)
    assert host not in Hosts([])
    assert host in Hosts(["*"])


@pytest.mark.parametrize("host", FOREIGN)
def test_hosts_that_are_not_local(host: str) -> None:
    assert host not in Hosts([], local=True)
    assert host not in Hosts(["files.lan", "*.files.lan"], local=True)
    assert host in Hosts(["*"])


def test_addresses_are_no_names() -> None:
    every = Hosts([], addresses=True)
    for host in ("192.168.1.5:80", "10.0.0.1", "[2001:db8::5]:80", "0.0.0.0", "127.0.0.1", "[::1]"):
        assert host in every
    for host in ("localhost", "1.2.3", "1.2.3.4.example", "a.1.2.3.4", "[::g]", "", "1.2.3.04"):
        assert host not in every


@pytest.mark.parametrize(
    ("pattern", "hosts", "others"),
    [
        (
            "Files.LAN.",
            ["files.lan", "FILES.lan:80", "files.lan."],
            ["a.files.lan", "xfiles.lan", "files.lan..", "files.lan%2f", "files.lanx"],
        ),
        (
            "*.sub.example",
            ["a.sub.example", "a.b.sub.example:8080", "A.Sub.Example."],
            [
                "sub.example",
                ".sub.example",
                "evil%2f.sub.example",
                "xsub.example",
                "a..sub.example",
            ],
        ),
        ("192.168.1.5", ["192.168.1.5", "192.168.1.5:80"], ["192.168.1.50", "192.168.1.5.x"]),
        (
            "2001:DB8:0::5",
            ["[2001:db8::5]:80", "[2001:DB8::0:5]"],
            ["[2001:db8::6]", "2001:db8::5"],
        ),
        ("[::1]", ["[::1]"], ["[::2]"]),
    ],
)
def test_patterns(pattern: str, hosts: list[str], others: list[str]) -> None:
    allowed = Hosts([pattern])
    for host in hosts:
        assert host in allowed
    for host in others:
        assert host not in allowed


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a:80",
            "http://a",
            "a/b",
            "a.*",
            "*a",
            "*.",
            "a..b",
            "\u00e9.de",
            "a b",
            "**.a",
            ":",
        ),
        *("*.*", "*.a:80", "[::1]:80", "[a]", ".a", "a%2fb", "::1%lo", "a\n"),
    ],
)
def test_no_patterns(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        host_pattern(text)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("A.b:80", "a.b"),
        ("[::1]:80", "[::1]"),
        ("[1::0:1]", "[1::1]"),
        ("[v1.x]", ""),
        ("[::1", ""),
        ("", ""),
        ("a:1:2", "a:1"),
    ],
)
def test_the_normal_form_of_hosts(given: str, normal: str) -> None:
    assert normal_host(given) == normal


def test_other_hosts_are_refused() -> None:
    hosts = Hosts(["files.lan"], local=True)
    for host in ("files.lan", "FILES.lan:1", "localhost:4221", ""):
        hosts.admit(host)
        hosts.admit(host)
    with pytest.raises(ProtocolError) as caught:
        hosts.admit("evil.example:4221")
    assert caught.value.status == 421
    assert caught.value.reason == (
        "The host 'evil.example:4221' is not served here. The option --allowed-hosts HOST,… names "
        "hosts that are (*: all)."
    )
    with pytest.raises(ProtocolError) as caught:
        hosts.admit("\xffevil" * 9000)
    assert len(caught.value.reason) < 500
    assert caught.value.reason.replace("…", "").isascii()


def test_the_memory_of_admitted_hosts_is_bounded() -> None:
    hosts = Hosts([], local=True)
    for number in range(10_000):
        hosts.admit(f"a{number}.localhost:{number}")
    assert len(hosts.known) <= 65
    assert "" in hosts.known
    hosts.admit("")
