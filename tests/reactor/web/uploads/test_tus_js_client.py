"""tus-js-client in its IETF mode: the real client, from npm, against a real server.

It speaks an older revision of the draft (interop version 6), needs Upload-Offset in the last
response, and sends no append for an empty file.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reactor import Limits
from reactor.web.site.options import SiteOptions
from reactor.web.site.site import Site
from tests.conftest import Running, Serve

PACKAGE = "tus-js-client@4.3.1"
INSTALL_SECONDS = 120
SCRIPT = """
const tus = require("tus-js-client");
const {url, size, options, stopAt} = JSON.parse(process.argv[2]);
const data = Buffer.alloc(size, "0123456789abcdef!");
const log = [];
const start = (more) => {
  const upload = new tus.Upload(data, {
    endpoint: url, protocol: "ietf-draft-05", retryDelays: null, ...options, ...more,
    onChunkComplete: (_, offset) => {
      log.push(offset);
      if (offset !== stopAt || more) return;
      upload.abort().then(() => start({uploadUrl: upload.url}));
    },
    onError: (error) => end(String(error)),
    onSuccess: () => end(null, upload.url),
  });
  upload.start();
};
const end = (error, place) => console.log(JSON.stringify({error, place, log}));
start();
"""


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the client and a script that drives it; skips where npm has none."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    directory = tmp_path_factory.mktemp("tus-js-client")
    (directory / "package.json").write_text("{}")
    (directory / "upload.cjs").write_text(SCRIPT)
    command = [
        *("npm", "install", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"),
        *("--fetch-retries=0", "--fetch-timeout=20000", PACKAGE),
    ]
    try:
        subprocess.run(
            command, cwd=directory, check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm cannot install {PACKAGE}: {error.stderr.decode()[-300:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {PACKAGE} within {INSTALL_SECONDS} s")
    return directory


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Running:
    return serve(Site(SiteOptions(directory=str(tmp_path)), Limits()).handler)


def upload(client: Path, server: Running, size: int, **options: Any) -> dict[str, Any]:
    """The client's report of an upload to `a.bin`; `stop_at`: pause there, and resume."""
    host, port = server.address[:2]
    plan = {
        "url": f"http://{host}:{port}/files/a.bin",
        "size": size,
        "stopAt": options.pop("stop_at", None),
        "options": options,
    }
    ended = subprocess.run(
        ["node", "upload.cjs", json.dumps(plan)],
        cwd=client,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def content(size: int) -> bytes:
    return (b"0123456789abcdef!" * (size // 17 + 1))[:size]


@pytest.mark.slow
@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3500])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunkSize": 1000},
        {"uploadDataDuringCreation": True},
        {"uploadDataDuringCreation": True, "chunkSize": 1000},
        {"metadata": {"filename": "a.bin"}},
        {"protocol": "ietf-draft-03", "uploadDataDuringCreation": True},
    ],
)
def test_an_upload_succeeds(
    client: Path, server: Running, tmp_path: Path, options: dict[str, Any], size: int,
    replaces: bool,
) -> None:  # fmt: skip
    if replaces:
        (tmp_path / "a.bin").write_bytes(b"old")
    report = upload(client, server, size, **options)
    assert report["error"] is None
    assert (tmp_path / "a.bin").read_bytes() == content(size)


@pytest.mark.slow
def test_an_upload_is_resumed(client: Path, server: Running, tmp_path: Path) -> None:
    report = upload(client, server, 3500, chunkSize=1000, stop_at=2000)
    assert report["error"] is None
    assert report["log"] == [1000, 2000, 3000, 3500]
    assert (tmp_path / "a.bin").read_bytes() == content(3500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "status"), [({"protocol": "tus-v1"}, 412), ({"protocol": "ietf-draft-03"}, 415)]
)
def test_older_protocols_are_refused_and_touch_nothing(
    client: Path, server: Running, tmp_path: Path, options: dict[str, Any], status: int
) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    assert f"response code: {status}" in upload(client, server, 3500, **options)["error"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"
