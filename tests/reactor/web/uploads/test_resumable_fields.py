"""The fields of resumable uploads: what they say, and what is ignored."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import Headers, ProtocolError
from reactor.messages.request import BaseRequest
from reactor.web.uploads.resumable_fields import (
    Problem,
    accepts_104,
    appended_at,
    completed_upload,
    inconsistent_length,
    is_complete,
    length_of,
    mismatching_offset,
)


def request_with(*lines: str, length: int | None = 0, minor: int = 1) -> BaseRequest:
    headers = Headers("".join(f"\r\n{line}" for line in lines))
    request = BaseRequest("PATCH", "/", "/", "", minor, headers)
    request.length = length
    return request


def problem_of(error: Problem) -> tuple[int, dict[str, Any], dict[str, str]]:
    response = error.response()
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body), dict(response.headers)


@pytest.mark.parametrize(
    ("value", "means"),
    [
        ("?1", True),
        ("?0", False),
        ("  ?1  ", True),
        ("?1;a", True),
        ('?0; a="b";c=1', False),
        ("?2", None),
        ("1", None),
        ("true", None),
        ("", None),
        ("?1?1", None),
        ("? 1", None),
        ("?1;", None),
        ("?1 ;a", None),
        ("?１", None),
        ("?1, ?1", None),
        ('"?1"', None),
    ],
)
def test_booleans(value: str, means: bool | None) -> None:
    assert is_complete(request_with(f"Upload-Complete: {value}").headers) is means


def test_a_field_that_comes_twice_is_ignored() -> None:
    headers = request_with("Upload-Complete: ?1", "upload-complete: ?1").headers
    assert is_complete(headers) is None
    assert is_complete(request_with().headers) is None


@pytest.mark.parametrize(
    ("value", "means"),
    [
        ("0", 0),
        ("12", 12),
        ("007", 7),
        ("999999999999999", 10**15 - 1),
        ("5;x=1", 5),
        ("1000000000000000", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        ("1.0", None),
        ("0x1", None),
        ("", None),
        ("1, 2", None),
        ("²", None),
        ("٣".encode().decode("latin-1"), None),
    ],
)
def test_integers(value: str, means: int | None) -> None:
    request = request_with(f"Upload-Length: {value}", "Upload-Complete: ?0")
    assert length_of(request, 0, None) == means


@pytest.mark.parametrize(
    ("lines", "minor", "accepts"),
    [
        (["Upload-Draft-Interop-Version: 8"], 1, True),
        (["Upload-Draft-Interop-Version: 8"], 0, False),
        (["Upload-Draft-Interop-Version: 7"], 1, False),
        (["Upload-Draft-Interop-Version: 9"], 1, False),
        (["Upload-Draft-Interop-Version: 88"], 1, False),
        (["Upload-Draft-Interop-Version: eight"], 1, False),
        ([], 1, False),
    ],
)
def test_accepts_104(lines: list[str], minor: int, accepts: bool) -> None:
    assert accepts_104(request_with(*lines, minor=minor)) is accepts


A = "Upload-Complete: ?1"
B = "Upload-Complete: ?0"


@pytest.mark.parametrize(
    ("lines", "count", "offset", "known", "length"),
    [
        ([B], 5, 0, None, None),
        ([B], None, 0, None, None),
        ([A], 5, 0, None, 5),
        ([A], 5, 7, None, 12),
        ([A], None, 7, None, None),
        ([A, "Upload-Length: 12"], None, 7, None, 12),
        ([A, "Upload-Length: 12"], 5, 7, 12, 12),
        ([B, "Upload-Length: 12"], 4, 7, None, 12),
        ([B], 5, 7, 12, 12),
        ([A], 0, 12, 12, 12),
        ([A], 0, 0, None, 0),
        ([A, "Upload-Length: none"], 5, 0, None, 5),
    ],
)
def test_lengths(
    lines: list[str], count: int | None, offset: int, known: int | None, length: int | None
) -> None:
    assert length_of(request_with(*lines, length=count), offset, known) == length


@pytest.mark.parametrize(
    ("lines", "count", "offset", "known"),
    [
        ([A, "Upload-Length: 6"], 5, 0, None),
        ([A], 5, 7, 11),
        ([A], 5, 7, 13),
        ([A], 0, 7, 12),
        ([B, "Upload-Length: 13"], 1, 7, 12),
        ([B, "Upload-Length: 4"], 5, 0, None),
        ([B], 6, 7, 12),
        ([B, "Upload-Length: 6"], None, 7, None),
    ],
)
def test_lengths_that_contradict_each_other(
    lines: list[str], count: int | None, offset: int, known: int | None
) -> None:
    with pytest.raises(Problem) as caught:
        length_of(request_with(*lines, length=count), offset, known)
    assert problem_of(caught.value)[0] == 400


@given(
    declared=st.none() | st.integers(0, 20),
    known=st.none() | st.integers(0, 20),
    count=st.none() | st.integers(0, 20),
    offset=st.integers(0, 20),
    complete=st.booleans(),
)
def test_all_that_is_said_of_a_length_must_agree(
    declared: int | None, known: int | None, count: int | None, offset: int, complete: bool
) -> None:
    """Against section 4.1.3 word by word."""
    lines = [A if complete else B]
    lines += [] if declared is None else [f"Upload-Length: {declared}"]
    indicators = [it for it in (declared, known) if it is not None]
    if complete and count is not None:
        indicators.append(offset + count)
    agree = all(it == indicators[0] for it in indicators)
    fits = all(offset + (count or 0) <= it for it in indicators)
    request = request_with(*lines, length=count)
    if agree and fits:
        assert length_of(request, offset, known) == (indicators[0] if indicators else None)
    else:
        with pytest.raises(Problem):
            length_of(request, offset, known)


TYPE = "Content-Type: application/partial-upload"


@pytest.mark.parametrize(
    ("lines", "means"),
    [
        ([TYPE, "Upload-Offset: 5", A], (5, True)),
        (["Content-Type: Application/Partial-Upload ; a=b", "Upload-Offset: 0", B], (0, False)),
        ([TYPE, "Upload-Offset: 5", A, "Content-Encoding: identity"], (5, True)),
    ],
)
def test_appends(lines: list[str], means: tuple[int, bool]) -> None:
    assert appended_at(request_with(*lines)) == means


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Upload-Offset: 5", A], 415),
        (["Content-Type: application/octet-stream", "Upload-Offset: 5", A], 415),
        (["Content-Type: application/partial-uploads", "Upload-Offset: 5", A], 415),
        ([TYPE, TYPE, "Upload-Offset: 5", A], 415),
        ([TYPE, "Upload-Offset: 5", A, "Content-Encoding: gzip"], 415),
        ([TYPE, A], 400),
        ([TYPE, "Upload-Offset: 5"], 400),
        ([TYPE, "Upload-Offset: -5", A], 400),
        ([TYPE, "Upload-Offset: 5", "Upload-Complete: yes"], 400),
        ([TYPE, "Upload-Offset: 5", "Upload-Offset: 6", A], 400),
    ],
)
def test_requests_that_are_no_append(lines: list[str], status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        appended_at(request_with(*lines))
    assert caught.value.status == status
    if status == 415:
        assert {name for name, _ in caught.value.headers} <= {"Accept-Patch", "Accept-Encoding"}


def test_a_mismatch_says_both_offsets() -> None:
    status, content, headers = problem_of(mismatching_offset(12, 25))
    assert status == 409
    assert content["type"].endswith("http-problem-types#mismatching-upload-offset")
    assert (content["expected-offset"], content["provided-offset"]) == (12, 25)
    assert headers["Upload-Offset"] == "12"
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (completed_upload(), "completed-upload"),
        (inconsistent_length(), "inconsistent-upload-length"),
    ],
)
def test_the_other_problems(error: Problem, kind: str) -> None:
    status, content, _ = problem_of(error)
    assert status == 400
    assert content["type"] == f"https://iana.org/assignments/http-problem-types#{kind}"
    assert content["title"]
