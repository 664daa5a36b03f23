"""The requests of the CPU benchmark: a tiny head, and the head that a browser sends."""

from typing import Final, NamedTuple

from loadtest.clients.closed_loop import MARK
from loadtest.system import ADDRESS

TARGET: Final = "/echo/hello-world!!"
TINY_HEAD: Final = f"GET {TARGET} HTTP/1.1\r\nHost: %s\r\n\r\n"
BROWSER_HEAD: Final = (
    f"GET {TARGET} HTTP/1.1\r\n"
    "Host: %s\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
    "image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
    "Referer: http://%s/\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    f"Cookie: theme=dark; session={MARK.decode()}; seen=1719830400\r\n"
    "\r\n"
)


class Workload(NamedTuple):
    """The head of a request, and the largest CPU cost as a multiple of the floor and of the peer.

    `head` has "%s" in place of host and port.
    """

    name: str
    head: str
    most_of_floor: float
    most_of_peer: float

    def head_for(self, port: int) -> bytes:
        """The head for a server at `port` of this machine."""
        return self.head.replace("%s", f"{ADDRESS}:{port}").encode()


WORKLOADS: Final = (
    Workload("tiny", TINY_HEAD, 1.8, 0.5),
    Workload("browser", BROWSER_HEAD, 2.3, 0.65),
)
