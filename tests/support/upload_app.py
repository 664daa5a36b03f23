"""An application that takes uploads and nothing else.

`python -m tests.support.upload_app DIRECTORY named|nameless` serves it, and sweeps the directory
at a request for /sweep; its port is the first line of its output.
"""

import sys
from pathlib import Path
from typing import Any

from reactor import Limits, Request, Response, Server
from reactor.web.app.application import Application
from reactor.web.storage.safe_path import Root
from reactor.web.uploads import atomic_file
from reactor.web.uploads.receiver import Receiver
from reactor.web.uploads.sweep import sweep


def handler_of(site: Path, **options: Any) -> Application:
    receiver = Receiver(Root(site), Limits(), lambda place: None, **options)
    router = Application()
    for method, endpoint in (
        ("PUT", receiver.put),
        ("POST", receiver.post),
        ("DELETE", receiver.delete),
    ):
        router.add(method, "/files/{name:segments}", endpoint)
    return router


def main() -> None:
    directory, kind = sys.argv[1:]
    if kind == "named":
        atomic_file._NAMELESS = 0  # type: ignore[misc]
    app = handler_of(Path(directory))

    @app.get("/sweep")
    async def removed(request: Request) -> Response:
        return Response(200, b"%d" % await sweep(Root(directory)))

    server = Server(app)
    print(server.listen("127.0.0.1", 0)[1], flush=True)
    server.run()


if __name__ == "__main__":
    main()
