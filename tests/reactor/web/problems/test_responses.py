"""Error responses: the form that a client prefers, and the same sentence in each."""

import json
from typing import Any

import pytest

from reactor.errors import ProtocolError
from reactor.messages.headers import Headers
from reactor.messages.request import BaseRequest
from reactor.messages.response import Response
from reactor.web.problems.responses import problem_details, problem_response
from reactor.web.semantics.negotiation import ErrorForm, error_form

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = "application/json"


def asked(accept: str = "", path: str = "/a/b", method: str = "GET") -> BaseRequest:
    fields = f"\r\nAccept: {accept}" if accept else ""
    return BaseRequest(method, path, path, "", 1, Headers(fields + "\r\n"))


def respond(error: ProtocolError, **request: str) -> tuple[dict[str, str], str]:
    """The fields, each of which comes once, and the body."""
    response = problem_response(asked(**request), error)
    assert response.status == error.status
    fields = {name.lower(): value for name, value in response.headers}
    assert len(fields) == len(list(response.headers))
    assert isinstance(response.body, bytes)
    return fields, response.body.decode()


FORMS = [
    ("", ErrorForm.TEXT),
    ("*/*", ErrorForm.TEXT),  # curl, fetch
    ("text/*", ErrorForm.TEXT),
    ("text/plain", ErrorForm.TEXT),
    ("image/avif,image/webp,*/*;q=0.8", ErrorForm.TEXT),  # an image of a page
    ("text/html;q=0", ErrorForm.TEXT),
    ("text/html;q=0.5, */*", ErrorForm.TEXT),
    ("text/html;q=0.5, text/plain", ErrorForm.TEXT),
    ("text/plain, application/json;q=0.9", ErrorForm.TEXT),
    ("text/html;x=y", ErrorForm.TEXT),
    ("nonsense", ErrorForm.TEXT),
    (BROWSER, ErrorForm.PAGE),
    ("text/html", ErrorForm.PAGE),
    ("TEXT/HTML;q=0.1", ErrorForm.PAGE),
    ("text/html, application/json;q=0.9", ErrorForm.PAGE),
    ("text/html, text/plain;q=0.9", ErrorForm.PAGE),
    (JSON, ErrorForm.PROBLEM),
    ("application/problem+json", ErrorForm.PROBLEM),
    ("application/problem+json, text/html", ErrorForm.PROBLEM),
    ("application/problem+json;q=0, text/html", ErrorForm.PAGE),
    ("application/problem+json;q=0.2, text/html", ErrorForm.PAGE),
    ("application/json, text/plain, */*", ErrorForm.PROBLEM),  # axios
    ("application/*", ErrorForm.PROBLEM),
    (f"{'x/y, ' * 200}application/json", ErrorForm.PROBLEM),
]


@pytest.mark.parametrize(("accept", "form"), FORMS)
def test_the_form_that_a_client_prefers(accept: str, form: ErrorForm) -> None:
    assert error_form(accept) is form
    fields, body = respond(ProtocolError(404, "It is <not> here."), accept=accept)
    assert fields["content-type"].partition(";")[0] == form.value
    assert fields["vary"] == "Accept"
    if form is ErrorForm.TEXT:
        assert body == "It is <not> here.\n"
    elif form is ErrorForm.PAGE:
        assert "<p>It is &lt;not&gt; here.</p>" in body
    else:
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "It is <not> here.",
        }


@pytest.mark.parametrize("accept", ["", BROWSER, JSON])
def test_fields_of_the_error(accept: str) -> None:
    error = ProtocolError(
        406, "No.", [("Vary", "Accept-Encoding"), ("Retry-After", "1"), ("X-Own", "yes")]
    )
    fields, _ = respond(error, accept=accept)
    assert fields["vary"] == "Accept-Encoding, Accept"
    assert (fields["retry-after"], fields["x-own"]) == ("1", "yes")


def test_a_field_of_the_error_replaces_that_of_the_page_but_policies_add_up() -> None:
    error = ProtocolError(
        404, "No.", [("x-content-type-options", "nosniff"), ("Content-Security-Policy", "sandbox")]
    )
    response = problem_response(asked(BROWSER), error)
    names = [name.lower() for name, _ in response.headers]
    assert names.count("x-content-type-options") == 1
    assert names.count("content-security-policy") == 2


def test_further_members_of_problem_details() -> None:
    error = ProtocolError(400, "It is no number.")
    error.details = {"argument": "page", "kind": int}
    _, body = respond(error, accept=JSON)
    details = json.loads(body)
    assert (details["status"], details["argument"]) == (400, "page")
    assert respond(error)[1] == body  # in place of plain text
    assert "<p>It is no number.</p>" in respond(error, accept=BROWSER)[1]


def test_problem_details_with_a_type_of_their_own() -> None:
    response: Response = problem_details(409, {"type": "urn:x"}, [("X-Own", "yes")])
    assert response.body == b'{"type":"urn:x"}\n'
    assert list(response.headers) == [
        ("Content-Type", "application/problem+json"),
        ("X-Own", "yes"),
    ]


@pytest.mark.parametrize("accept", [BROWSER, JSON])
@pytest.mark.parametrize("sentence", ["\ud800", "\0", "\u2028", "</p><script>alert(1)</script>$x"])
def test_any_sentence_can_be_sent(accept: str, sentence: str) -> None:
    _, body = respond(ProtocolError(404, sentence), accept=accept)
    assert "<script" not in body or accept == JSON


def test_an_unknown_status() -> None:
    assert "<h1>Error</h1>" in respond(ProtocolError(499, "Gone."), accept=BROWSER)[1]
    assert json.loads(respond(ProtocolError(499, "Gone."), accept=JSON)[1])["title"] == ""


def links(error: Any, path: str, method: str = "GET") -> list[str]:
    page = respond(ProtocolError(error, "No."), accept=BROWSER, path=path, method=method)[1]
    return [one.partition('"')[0] for one in page.split('<a href="')[1:]]


@pytest.mark.parametrize(
    ("status", "path", "method", "expected"),
    [
        (404, "/", "GET", []),
        (404, "/x", "GET", ["./"]),
        (404, "/x/", "GET", ["../"]),
        (404, "/x/y", "GET", ["./", "../"]),
        (404, "/x/y/", "HEAD", ["../", "../../"]),
        (404, "/x//", "GET", ["../", "../../"]),
        (404, "/" * 40, "GET", ["../", "/"]),
        (404, "*", "OPTIONS", []),
        (404, "", "GET", []),
        (503, "/", "GET", [""]),
        (401, "/x", "GET", ["", "./"]),
        (413, "/x/", "POST", ["", "../"]),
        (500, "/x", "POST", ["", "./"]),
    ],
)
def test_ways_back_are_relative(status: int, path: str, method: str, expected: list[str]) -> None:
    assert links(status, path, method) == expected
