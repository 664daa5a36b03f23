"""Requests of upload protocols that this server does not speak."""

import pytest

from reactor import Headers, ProtocolError
from reactor.web.semantics.upload_protocols import refuse_older_fields, refuse_tus


def test_a_tus_client_learns_which_protocol_is_spoken() -> None:
    refuse_tus(Headers("\r\nUpload-Length: 1\r\nX-Tus-Resumable: 1"))
    for line in ("Tus-Resumable: 1.0.0", "TUS-RESUMABLE:", "tus-resumable: 0.2.2"):
        with pytest.raises(
            ProtocolError, match=r"draft-ietf-httpbis-resumable-upload-11"
        ) as caught:
            refuse_tus(Headers(f"\r\nHost: a\r\n{line}"))
        assert caught.value.status == 412


@pytest.mark.parametrize(
    "line",
    [
        "Upload-Incomplete: ?1",
        "upload-incomplete: ?0",
        "Upload-Token: :YWJj:",
        "Upload-Concat: final;/files/a /files/b",
        "Upload-Checksum: sha1 x",
        "X-HTTP-Method-Override: PATCH",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: PUT",
    ],
)
def test_fields_of_older_protocols(line: str) -> None:
    with pytest.raises(ProtocolError, match=r"older protocol|not supported") as caught:
        refuse_older_fields(Headers(f"\r\n{line}"))
    assert caught.value.status == 400
    assert caught.value.reason.endswith(".")


def test_fields_of_the_draft_are_taken() -> None:
    refuse_older_fields(
        Headers(
            "\r\nUpload-Complete: ?0\r\nUpload-Length: 5\r\nUpload-Draft-Interop-Version: 3"
            "\r\nUpload-Metadata: filename eA=="
        )
    )
