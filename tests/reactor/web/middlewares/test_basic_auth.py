"""BasicAuth: users that are accepted, and refusals that all look the same."""

import base64
import hashlib
import hmac
import unicodedata
from typing import Any

import pytest

import reactor.web.middlewares.basic_auth
from reactor.web.middlewares import BasicAuth, RequestId
from reactor.web.middlewares.basic_auth import CREDENTIALS_BYTES, credentials
from tests.support.middleware_app import PATHS, STATUSES, served

USERS = {"ann": "secret", "jürgen": "pass:wörd", "empty": ""}
CHALLENGE = 'Basic realm="restricted", charset="UTF-8"'


def basic(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return f"Basic {base64.b64encode(data).decode()}"


@pytest.mark.parametrize("user", USERS)
def test_known_users_are_accepted(user: str) -> None:
    with served(BasicAuth(USERS)) as client:
        response = client.get("/state", auth=(user, USERS[user]))
        assert response.json() == {"user": repr(user)}


WRONG = [
    *("", "Basic", "Basic ", "Bearer abc", "Basicabc", "Basic !!!!", "Basic YW5u", "Basic YQ"),
    *(basic("ann:Secret"), basic("ann:secret "), basic("ann:"), basic("ann"), basic("")),
    *(basic(":secret"), basic("Ann:secret"), basic("bob:secret"), basic("bob:")),
    *(basic("ann:secret\n"), basic("ann\0:secret"), basic(b"\xff:x"), basic(":")),
    *(basic("jürgen:pass:wörd".encode("latin-1")), f"{basic('ann:secret')} x", "Basic YW5uO"),
    *(f"{basic('ann:secret')}, {basic('ann:secret')}", "Basic " + "A" * 8000, "Basic Y=Q="),
]


@pytest.mark.parametrize("field", WRONG)
def test_all_others_are_refused_alike(field: str) -> None:
    with served(BasicAuth(USERS)) as client:
        response = client.get("/plain", headers={"Authorization": field})
        assert response.status == 401
        assert response.headers.get_all("www-authenticate") == [CHALLENGE]
        assert response.text == "This needs a user name and a password.\n"


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 1026, 12_000, 24_000])
@pytest.mark.parametrize("letter", ["a", "\u0301"])
def test_long_credentials_are_refused_before_they_are_read(
    size: int, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normalizing is quadratic in the combining marks of a text."""
    normalized: list[int] = []

    def normalize(form: Any, text: str) -> str:
        normalized.append(len(text.encode()))
        return unicodedata.normalize(form, text)

    class Stand:
        pass

    Stand.normalize = staticmethod(normalize)  # type: ignore[attr-defined]
    auth = BasicAuth(USERS)
    monkeypatch.setattr(reactor.web.middlewares.basic_auth, "unicodedata", Stand)
    text = ("ann:" + letter * size).encode()[:size].decode(errors="ignore")
    field = basic(text)
    assert (credentials(field) == ("", "")) is (":" not in text or len(text.encode()) > 1024)
    with served(auth) as client:
        assert client.get("/plain", headers={"Authorization": field}).status == 401
    assert all(count <= 1024 for count in normalized)
    assert bool(normalized) is (letter != "a" and 4 < len(text.encode()) <= 1024)


def test_credentials_of_1024_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    password = "x" * (CREDENTIALS_BYTES - len("ann:"))
    with served(BasicAuth({"ann": password})) as client:
        assert client.get("/plain", auth=("ann", password)).status == 200
        assert client.get("/plain", auth=("ann", password + "x")).status == 401
    with pytest.raises(ValueError, match="must have at most 1023 bytes: those of 'ann'"):
        BasicAuth({"ann": password + "x"})


@pytest.mark.parametrize("path", PATHS)
def test_it_refuses_before_everything_else(path: str) -> None:
    with served(RequestId(), BasicAuth(USERS)) as client:
        response = client.get(path, headers={"Accept": "application/json"})
        assert (response.status, response.json()["status"]) == (401, 401)
        assert response.headers["www-authenticate"] == CHALLENGE
        assert response.headers["x-request-id"]
        assert client.get(path, auth=("ann", "secret")).status == STATUSES[path]


def test_a_refused_body_is_not_requested() -> None:
    with served(BasicAuth(USERS)) as client:
        response = client.post("/plain", content=b"x" * 100, headers={"Expect": "100-continue"})
        assert (response.status, response.informational) == (401, [])


def test_schemes_in_any_case_and_letters_in_any_composition() -> None:
    with served(BasicAuth({"é": "ü"})) as client:
        field = basic("e\u0301:u\u0308")
        for scheme in ("BASIC", "basic ", "bAsIc"):
            headers = {"Authorization": field.replace("Basic", scheme)}
            assert client.get("/plain", headers=headers).status == 200


def test_a_check_of_the_application() -> None:
    asked: list[tuple[str, str]] = []

    def check(user: str, password: str) -> bool:
        asked.append((user, password))
        return password == "right"

    with served(BasicAuth(check, 'a "b" \\c')) as client:
        assert client.get("/plain", auth=("x", "right")).status == 200
        response = client.get("/plain", auth=("x", "wrong:ü"))
        assert response.headers["www-authenticate"] == (
            'Basic realm="a \\"b\\" \\\\c", charset="UTF-8"'
        )
        assert client.get("/plain").status == 401
    assert asked == [("x", "right"), ("x", "wrong:ü")]


def test_a_check_that_fails_accepts_no_user() -> None:
    def check(user: str, password: str) -> bool:
        raise ZeroDivisionError

    with served(BasicAuth(check)) as client:
        assert client.get("/plain", auth=("a", "b")).status == 500


def test_an_unknown_users_password_is_compared_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of one length are compared in constant time, for any request."""
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    class Stand:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(reactor.web.middlewares.basic_auth, "hmac", Stand)
    with served(BasicAuth(USERS)) as client:
        for user, password in (("ann", "secret"), ("ann", "x"), ("nobody", "x" * 1000)):
            client.get("/plain", auth=(user, password))
    assert compared == [(32, 32)] * 3


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (basic("a:b:c"), ("a", "b:c")),
        (basic(":b"), ("", "b")),
        (basic("a:"), ("a", "")),
        ("Basic   YTpi", ("a", "b")),
        ("Basic YTpi=", ("", "")),
        ("Digest YTpi", ("", "")),
    ],
)
def test_credentials(field: str, expected: tuple[str, str]) -> None:
    assert credentials(field) == expected


@pytest.mark.parametrize(
    ("users", "realm"),
    [({"a:b": "c"}, "x"), ({"": "c"}, "x"), ({"a\n": "c"}, "x"), ({}, ""), ({}, "é"), ({}, "a\r")],
)
def test_options(users: Any, realm: str) -> None:
    with pytest.raises(ValueError, match=r"a user name must|a realm must"):
        BasicAuth(users, realm)


def test_digests_in_place_of_passwords() -> None:
    digest = hashlib.sha256(b"secret").digest()
    with served(BasicAuth({"ann": digest, "bob": "x"})) as client:
        for auth, status in (
            (("ann", "secret"), 200),
            (("bob", "x"), 200),
            (("ann", digest.hex()), 401),
            (("ann", "x"), 401),
        ):
            assert client.get("/state", auth=auth).status == status
    with pytest.raises(ValueError, match="'ann' must have 32 bytes, not 31"):
        BasicAuth({"ann": digest[1:]})
