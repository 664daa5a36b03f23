"""Reason phrases: the same on every version of Python."""

from http import HTTPStatus

import pytest

from reactor.protocol.reason_phrases import REASON_PHRASES, reason_phrase

# Phrases that RFC 9110, section 15.5, has changed, and Python with it in 3.13.
CHANGED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


@pytest.mark.parametrize("status", HTTPStatus)
def test_every_status_of_the_library_has_a_phrase(status: HTTPStatus) -> None:
    expected = CHANGED.get(status.value, status.phrase)
    assert reason_phrase(status.value).lower() == expected.lower()


def test_phrases_of_rfc_9110() -> None:
    assert {status: REASON_PHRASES[status] for status in CHANGED} == CHANGED
    assert reason_phrase(299) == ""
