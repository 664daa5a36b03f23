"""JSON of an application's values: dataclasses, dates, enums and the like, at any depth."""

import dataclasses
import enum
import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from reactor.testing import Client
from reactor.web.app import json_encoder, responses
from reactor.web.app.application import Application
from reactor.web.app.json_encoder import encode_json
from tests.support.growth import check_growth


@dataclasses.dataclass
class Note:
    text: str
    made: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: Any = 0


class Color(enum.Enum):
    RED = "red"
    WHEN = date(2024, 2, 29)


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Old(str, enum.Enum):  # noqa: UP042
    NO = "no"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


ID = uuid.UUID("12345678-1234-5678-1234-56789ABCDEF0")
ID_TEXT = "12345678-1234-5678-1234-56789abcdef0"


class Named(tuple[int, ...]):
    __slots__ = ()


VALUES: list[tuple[Any, Any]] = [
    (date(2024, 2, 29), "2024-02-29"),
    (datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00"),
    (datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=UTC), "2024-02-29T12:30:01.000005+00:00"),
    (
        datetime(2024, 2, 29, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        "2024-02-29T01:00:00-03:30",
    ),
    (time(23, 59), "23:59:00"),
    (ID, ID_TEXT),
    (Decimal("1.10"), "1.10"),
    (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
    (Color.RED, "red"),
    (Color.WHEN, "2024-02-29"),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Old.NO, "no"),
    (Rights.READ | Rights.WRITE, 3),
    (Note("é"), {"text": "é", "made": None}),
    (Point(1, [Point(2)]), {"x": 1, "y": [{"x": 2, "y": 0}]}),
    (Named((1, 2)), [1, 2]),
    (True, True),
    (None, None),
    (1.5, 1.5),
]


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_values_at_any_depth(value: Any, expected: Any) -> None:
    assert json.loads(encode_json(value)) == expected
    assert json.loads(encode_json([{"a": [value]}, (value,)])) == [{"a": [expected]}, [expected]]
    assert json.loads(encode_json(Note("x", {"in": value}))) == {
        "text": "x",
        "made": {"in": expected},
    }
    # A key that the encoder does not take leads to another way through the same value.
    assert json.loads(encode_json({ID: [{"a": value}], "b": Note("x", value)})) == {
        ID_TEXT: [{"a": expected}],
        "b": {"text": "x", "made": expected},
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((ID, ID_TEXT), (date(2024, 2, 29), "2024-02-29"), (Decimal("1.50"), "1.50")),
        *((Color.RED, "red"), (Color.WHEN, "2024-02-29"), (Level.HIGH, "3"), (Word.YES, "yes")),
        *((Old.NO, "no"), (1, "1"), (True, "true"), (None, "null"), (2.5, "2.5")),
    ],
)
def test_keys(key: Any, expected: str) -> None:
    assert json.loads(encode_json({key: 1})) == {expected: 1}
    assert json.loads(encode_json({ID: {key: Point(1)}})) == {ID_TEXT: {expected: {"x": 1, "y": 0}}}


async def later() -> int:
    return 1


def returned() -> Any:
    return later()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, r"type set at \['a'\]\[1\]: sorted"),
        ({"a": frozenset()}, r"type frozenset at \['a'\]: sorted"),
        ([{"p": object()}], r"type object at \[0\]\['p'\]: a dict, a list, or a dataclass"),
        (Note("x", b"y"), r"type bytes at \['made'\]: decode"),
        ({"u": returned}, r"type function at \['u'\]"),
        ({"u": Note}, r"type type at \['u'\]: is `\(\)` missing"),
        ({"u": iter([])}, r"type list_iterator at \['u'\]: list"),
        (timedelta(1), r"type timedelta: its total_seconds"),
        ({"u": {(1, 2): 3}}, r"text, not tuple at \['u'\]: \(1, 2\)"),
        ({"k" * 5000: {1}}, r"at \['kkk[k.]*'\]"),
        ({1j: 1}, "text, not complex"),
    ],
)
def test_values_that_json_cannot_contain(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        encode_json(value)
    assert len(str(caught.value)) < 300


@pytest.mark.filterwarnings("error")
def test_a_coroutine_that_was_not_awaited() -> None:
    with pytest.raises(TypeError, match=r"type coroutine at \['a'\]: is an `await` missing\?"):
        encode_json({"a": returned()})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"f": [float("nan")]}, r"no nan at \['f'\]\[0\]"),
        (float("-inf"), "no -inf"),
        ({"s": "\ud800"}, r"surrogate pair at \['s'\]"),
        ({"a": {"\udfff": 1}}, r"surrogate pair at \['a'\]"),
        ({float("nan"): 1}, "nan"),
    ],
)
def test_values_that_json_does_not_have(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_json(value)


def test_a_value_that_contains_itself() -> None:
    note = Note("x")
    note.made = [note]
    for circle in (note, {ID: note}, {"a": {ID: [note]}}):
        with pytest.raises((ValueError, TypeError)):
            encode_json(circle)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        encode_json(deep)
    with pytest.raises((RecursionError, TypeError)):
        encode_json({ID: deep})


def test_plain_data_costs_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder is that of the standard library, and calls nothing for the types it has."""
    plain = {"items": [{"id": number, "ok": True, "n": None, "f": 0.5} for number in range(100)]}
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    monkeypatch.setattr(json_encoder, "is_record", None)
    monkeypatch.setattr(json_encoder, "_plain", None)
    assert encode_json(plain) == encoder.encode(plain).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda size: [Note("x", Point(1, Color.RED))] * size,
        lambda size: {uuid.UUID(int=number): [Decimal(number)] for number in range(size)},
        lambda size: {"k" * size: {ID: [1] * size}},
        lambda size: {"k" * size: [{1}] * size},
        lambda size: ["x" * size, {1}],
    ],
)
def test_the_time_is_linear(make: Any) -> None:
    check_growth(lambda size: partial(encode_json, make(size)), 40_000)


def test_endpoints_and_json() -> None:
    app = Application()
    app.add("GET", "/note", lambda request: Note("x", date(2024, 2, 29)))
    app.add("GET", "/made", lambda request: (201, Note("x"), {"Location": "/note"}))
    app.add("GET", "/dict", lambda request: {"at": datetime(2024, 2, 29, tzinfo=UTC), "id": ID})
    app.add("GET", "/list", lambda request: [Decimal("0.10"), Color.RED])
    app.add("GET", "/json", lambda request: responses.json(ID, 202))
    with Client(app) as client:
        response = client.get("/note")
        assert response.json() == {"text": "x", "made": "2024-02-29"}
        assert response.headers["content-type"] == "application/json"
        response = client.get("/made")
        assert (response.status, response.headers["location"]) == (201, "/note")
        assert client.get("/dict").json() == {"at": "2024-02-29T00:00:00+00:00", "id": ID_TEXT}
        assert client.get("/list").json() == ["0.10", "red"]
        assert (client.get("/json").status, client.get("/json").json()) == (202, ID_TEXT)
