"""Texts of a request as values of a kind, and the 400 for what is not of its kind."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest

from reactor import Application, ArgumentError, Arguments, Headers, Request
from reactor.messages.kinds import MOST_DIGITS, convert
from reactor.testing import Client
from tests.support.growth import check_growth


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


UNIQUE = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (str, "", ""),
        (int, "0", 0),
        (int, "-12", -12),
        (int, "007", 7),
        (int, "9" * MOST_DIGITS, 10**MOST_DIGITS - 1),
        (float, "0.5", 0.5),
        (float, "-.5", -0.5),
        (float, "1e3", 1000.0),
        (float, "7", 7.0),
        (Decimal, "12.50", Decimal("12.50")),
        (bool, "TRUE", True),
        (bool, "on", True),
        (bool, "0", False),
        (bool, "no", False),
        (UUID, UNIQUE, UUID(UNIQUE)),
        (date, "2024-02-29", date(2024, 2, 29)),
        (datetime, "2024-02-29T23:59", datetime(2024, 2, 29, 23, 59)),
        (datetime, "2024-02-29t23:59:01.5z", datetime(2024, 2, 29, 23, 59, 1, 500_000, UTC)),
        (Color, "red", Color.RED),
        (Size, "2", Size.LARGE),
        (IPv4Address, "127.0.0.1", IPv4Address("127.0.0.1")),
        (lambda text: text.upper(), "a", "A"),
    ],
)
def test_a_text_of_its_kind(kind: Any, text: str, value: object) -> None:
    found = convert(text, kind, "argument", "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (int, ["", " 1", "1 ", "1_000", "+1", "--1", "1.0", "1e3", "x", "٣", "²", "0x1", "1\n"]),
        (int, ["9" * (MOST_DIGITS + 1), "9" * 1_000_000]),
        (float, ["", "nan", "inf", "-Infinity", "1e999", "1_0", " 1", "1.", "e5", "٣.٣", "0x1p3"]),
        (float, ["1" * (MOST_DIGITS + 1), "1e99999"]),
        (Decimal, ["", "NaN", "sNaN", "Infinity", "1e5", "1_0", " 1", "٣", "9" * 5000]),
        (bool, ["", "2", "tru", "y", " true", "None", "ｔｒｕｅ", "\u0130"]),
        (UUID, ["", UNIQUE.replace("-", ""), f"{{{UNIQUE}}}", f"urn:uuid:{UNIQUE}"]),
        (date, ["", "2024-02-30", "20240229", "2024-W09-4", "2024-2-9", "٢٠٢٤-٠٢-٢٩"]),
        (datetime, ["", "2024-02-29", "2024-02-29T24:60", "2024-02-29T10:00+99:99", "now"]),
        (Color, ["", "RED", "Color.RED", "blue"]),
        (Size, ["", "SMALL", "01", "3"]),
        (IPv4Address, ["", "localhost", "127.1"]),
    ],
)
def test_a_text_of_another_kind(kind: Any, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ArgumentError) as caught:
            convert(text, kind, "argument", "x")
        error = caught.value
        assert error.status == 400
        assert "argument 'x'" in error.reason
        assert error.details["name"] == "x"
        assert error.details["accepted"]
        assert len(error.details["given"]) <= 101
        assert len(error.reason) < 1000


@pytest.mark.parametrize("kind", [int, float, Decimal, bool, UUID, date, datetime, Color])
@pytest.mark.parametrize("character", ["9", ".", "-", " ", "e"])
def test_a_long_text_is_refused_in_linear_time(kind: Any, character: str) -> None:
    def refusing(size: int) -> Callable[[], None]:
        text = character * size

        def refuse() -> None:
            with pytest.raises(ArgumentError):
                convert(text, kind, "argument", "x")

        return refuse

    check_growth(refusing, 20_000)


def test_other_errors_of_a_callable_are_not_the_client_s() -> None:
    no_such: dict[str, int] = {}
    with pytest.raises(KeyError):
        convert("x", no_such.__getitem__, "argument", "x")
    with pytest.raises(ArgumentError, match=r"is 'x': a color is #rrggbb\."):
        convert("x", color, "argument", "x")


def color(text: str) -> int:
    raise ValueError("a color is #rrggbb")


# --- arguments, forms and header fields ----------------------------------------------------------


def test_arguments() -> None:
    args = Arguments([("page", "2"), ("page", "3"), ("size", "x"), ("color", "red")])
    page: int = args.get("page", 1, kind=int)
    other: int = args.get("other", 7, kind=int)
    none: int | None = args.get("other", kind=int)
    member: Color = args.require("color", Color)
    pages: list[int] = args.get_all("page", int)
    text: str = args.get("other")
    day: date | None = args.get("other", None, kind=date)
    assert (page, other, none, member, pages, text, day) == (
        2, 7, None, Color.RED, [2, 3], "", None,
    )  # fmt: skip
    assert args.require("page") == args["page"] == "2"
    for call in (
        lambda: args.get("size", 1, kind=int),
        lambda: args.get_all("size", int),
        lambda: args.require("size", int),
    ):
        with pytest.raises(ArgumentError, match="'size' is 'x'; it must be an integer"):
            call()
    with pytest.raises(ArgumentError, match="has no argument 'other'; it must be a finite number"):
        args.require("other", float)
    with pytest.raises(ArgumentError, match=r"has no argument 'other'\."):
        args["other"]


def test_header_fields() -> None:
    headers = Headers("\r\nDepth: 1\r\nX-Bad: one")
    depth: int = headers.get("depth", 0, kind=int)
    none: int | None = headers.get("absent", kind=int)
    other: int = headers.get("absent", 5, kind=int)
    assert (depth, none, other, headers.require("Depth", int)) == (1, None, 5, 1)
    assert headers.require("x-bad") == "one"
    with pytest.raises(ArgumentError, match="The header field 'X-Bad' is 'one'; it must be"):
        headers.get("X-Bad", kind=int)
    with pytest.raises(ArgumentError, match=r"The request has no header field 'absent'\."):
        headers.require("absent")


def app_of_kinds() -> Application:
    app = Application()

    @app.get("/")
    def search(request: Request) -> dict[str, int]:
        return {"page": request.args.get("page", 1, kind=int)}

    @app.post("/")
    async def change(request: Request) -> dict[str, bool]:
        return {"done": (await request.form()).require("done", bool)}

    return app


@pytest.mark.parametrize("accept", ["*/*", "", "application/json", "application/problem+json"])
def test_the_response_has_problem_details(accept: str) -> None:
    with Client(app_of_kinds()) as client:
        assert client.get("/?page=3").json() == {"page": 3}
        response = client.get("/?page=%C3%A9", headers={"accept": accept})
        assert response.status == 400
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json() == {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The argument 'page' is '\\xe9'; it must be an integer, in decimal digits.",
            "name": "page",
            "given": "é",
            "accepted": "an integer, in decimal digits",
        }
        response = client.post("/", data={"other": "1"}, headers={"accept": accept})
        assert (response.status, response.json()["name"]) == (400, "done")
        assert "form field 'done'" in response.json()["detail"]


def test_a_browser_gets_no_json() -> None:
    with Client(app_of_kinds()) as client:
        response = client.get("/?page=x", headers={"accept": "text/html,*/*;q=0.8"})
        assert response.status == 400
        assert "json" not in response.headers["content-type"]
        assert "The argument" in response.text
