"""Drives a real Chromium: DevTools messages, as JSON between NULs, through a pair of pipes.

Nothing but the browser is needed: `--remote-debugging-pipe` has it read from descriptor 3 and write
to descriptor 4. Nothing here waits for ever.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

TIMEOUT = 20.0  # seconds; what takes so long has failed
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A Chromium of its own, with an empty profile in `directory`."""

    def __init__(
        self, directory: Path, *, extensions: bool = False, names: Sequence[str] = ()
    ) -> None:
        """`names` of hosts stand for this machine.

        With `extensions` it has its own: the viewer of PDF files is one.
        """
        assert PROGRAM is not None
        (theirs_in, self._out), (self._in, theirs_out) = _pipe(), _pipe()
        options = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={directory}",
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--disable-background-networking", "--hide-scrollbars"),
            *(() if extensions else ("--disable-extensions",)),
            "--host-resolver-rules=" + ",".join(f"MAP {name} 127.0.0.1" for name in names),
            "--no-proxy-server",
        ]
        null = os.open(os.devnull, os.O_RDWR)
        actions = [
            *((os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)),
            (os.POSIX_SPAWN_DUP2, theirs_in, 3),
            (os.POSIX_SPAWN_DUP2, theirs_out, 4),
        ]
        environment = {**os.environ, "HOME": str(directory)}
        self._process = os.posix_spawn(
            PROGRAM, [PROGRAM, *options], environment, file_actions=actions, setpgroup=0
        )
        for descriptor in (null, theirs_in, theirs_out):
            os.close(descriptor)
        self._buffer = b""
        self._serial = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """The browser's reply; events that come meanwhile are kept in `events`."""
        self.send(method, session, **parameters)
        until = time.monotonic() + TIMEOUT
        while True:
            response = self.receive(until)
            if response.get("id") == self._serial:
                assert "error" not in response, f"{method}: {response['error']}"
                return response["result"]

    def send(self, method: str, session: str | None = None, **parameters: Any) -> None:
        """Do not wait for the reply, which may come late: while a dialog is open there is none."""
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")

    def receive(self, until: float) -> dict[str, Any]:
        """The next message; an event is kept, too."""
        while b"\0" not in self._buffer:
            ready = select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]
            assert ready, "the browser does not respond"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found

    def targets(self) -> list[str]:
        """The URLs of all that it shows: pages, frames of other sites, viewers."""
        return [one["url"] for one in self.call("Target.getTargets")["targetInfos"]]

    def open(self, beside: "Page | None" = None) -> "Page":
        """A page with cookies and storage of its own, or with those of the one beside."""
        context = (
            self.call("Target.createBrowserContext")["browserContextId"]
            if beside is None
            else beside._context
        )
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        return Page(self, attached["sessionId"], context)

    def close(self) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)


class Page:
    """A tab. Its complaints (errors of scripts, its policy) is in `complaints`."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.setInterceptFileChooserDialog", enabled=True)

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def beside(self) -> "Page":
        """Another page in the same window; it ends with this one."""
        return self._browser.open(self)

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def go(self, url: str) -> None:
        """Open the URL and wait until it is loaded, with its script."""
        self._forget("Page.loadEventFired")
        self.call("Page.navigate", url=url)
        self.wait_for_event("Page.loadEventFired")

    def wait_for_event(self, method: str) -> dict[str, Any]:
        until = time.monotonic() + TIMEOUT
        while True:
            for event in self._browser.events:
                if event["method"] == method and event.get("sessionId") == self._session:
                    self._browser.events.remove(event)
                    found: dict[str, Any] = event["params"]
                    return found
            self._browser.receive(until)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, as JSON can say it; a promise is waited for."""
        response = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in response, response["exceptionDetails"]
        return response["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Until it is true; an error, as between two pages, is not yet."""
        until = time.monotonic() + TIMEOUT
        caught = f"(() => {{ try {{ return {expression}; }} catch {{ return false; }} }})()"
        while not self.evaluate(caught):
            assert time.monotonic() < until, f"it did not come true: {expression}"
            time.sleep(0.02)

    def press(self, selector: str, *, opens_dialog: bool = False) -> None:
        """Click on the middle of an element with the mouse."""
        x, y = self.evaluate(
            f"""(() => {{ const one = document.querySelector({json.dumps(selector)});
                one.scrollIntoView({{block: "center", behavior: "instant"}});
                const {{x, y, width, height}} = one.getBoundingClientRect();
                return [x + width / 2, y + height / 2]; }})()"""
        )
        click = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **click)
        act = partial(self._browser.send, session=self._session) if opens_dialog else self.call
        act("Input.dispatchMouseEvent", type="mouseReleased", **click)

    def key(self, key: str) -> None:
        """Press and release a key: a character, or one like "Escape"."""
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
        known: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **known, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    def follow(self, selector: str) -> None:
        """Click on what leads to another page, and wait until that is loaded."""
        self._forget("Page.loadEventFired")
        self.press(selector)
        self.wait_for_event("Page.loadEventFired")

    def choose_files(self, selector: str, *paths: Path) -> None:
        """As if they had been chosen in the dialog of a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop_files(self, x: int, y: int, *paths: Path) -> None:
        """As if they had been dragged onto the page."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def show(self, width: int, height: int, scheme: str) -> None:
        """The size of the window, and whether its owner likes it "light" or "dark"."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """A screenshot, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def events(self, method: str) -> list[dict[str, Any]]:
        """Those that have come, and were not waited for."""
        self.evaluate("0")  # earlier messages have arrived now
        return [
            event
            for event in self._browser.events
            if event["method"] == method and event.get("sessionId") == self._session
        ]

    @property
    def complaints(self) -> list[str]:
        self.evaluate("0")  # earlier messages have arrived now
        found = []
        for event in self._browser.events:
            if event.get("sessionId") == self._session:
                if event["method"] == "Runtime.exceptionThrown":
                    found.append(str(event["params"]["exceptionDetails"]))
                elif event["method"] == "Log.entryAdded":
                    found.append(event["params"]["entry"]["text"])
        return found

    def _forget(self, method: str) -> None:
        events = self._browser.events
        events[:] = [event for event in events if event["method"] != method]


def _pipe() -> tuple[int, int]:
    """With numbers that are none of those that the browser is given."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
