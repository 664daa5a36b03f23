"""Applications: URLs, mounts and static directories.

Every request goes through the real connection code (reactor.testing).
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reactor import Headers, Limits, Response
from reactor.testing import Client
from reactor.web.app.application import Application
from reactor.web.app.group import Group
from reactor.web.app.requests import Request
from reactor.web.app.router import RouteError
from tests.support.app_parts import Hooks, Notes, asynchronous, endpoint
from tests.support.coroutine_driver import drive


def test_converters_of_the_application_and_urls() -> None:
    app = Application()

    def read(value: str) -> int:
        return int(value, 16) if value.isalnum() else int("")

    app.converter("hex", read, lambda value: f"{value:x}")
    with pytest.raises(RouteError):
        app.converter("hex", read)

    @app.get("/color/{value:hex}", name="color")
    def color(request: Request, value: int) -> str:
        return str(value)

    @app.get("/files/{rest:path}")
    def files(request: Request, rest: str) -> str:
        return rest

    with Client(app) as client:
        assert client.get("/color/ff").text == "255"
        assert client.get("/color/zz").status == 404
        url = app.url("files", rest="a b/ü?", query={"x": ["1", "2"], "y": "ä&"})
        assert url == "/files/a%20b/%C3%BC%3F?x=1&x=2&y=%C3%A4%26"
        assert client.get(url).text == "a b/ü?"
    assert app.url("color", value=255) == "/color/ff"
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (("no", {}), ("color", {}), ("color", {"a": 1}))
    for name, values in wrong:
        with pytest.raises(LookupError):
            app.url(name, **values)


def test_two_paths_must_not_have_the_same_given_name() -> None:
    app = Application()
    app.add("GET", "/a", endpoint, name="x")
    app.add("POST", "/a", endpoint, name="x")
    app.prepare()
    assert app.url("x") == "/a"
    app.add("GET", "/b", endpoint, name="x")
    with pytest.raises(RouteError, match="'x'"):
        app.prepare()


def test_routes_may_be_added_while_the_application_serves() -> None:
    inner, group, app = Application(), Group("/g"), Application()
    deep = group.group("/d")
    app.include(group)
    app.mount("/m", inner)
    with Client(app) as client:
        for number, (table, path) in enumerate(
            ((app, "/x"), (group, "/g/x"), (deep, "/g/d/x"), (inner, "/m/x"))
        ):
            assert client.get(path).status == 404
            table.add("GET", "/x", lambda request, number=number: str(number))
            assert client.get(path).text == str(number)
        deep.use(Hooks())
        assert client.get("/g/d/x").headers.get("x-hooks") == "1"
        assert "x-hooks" not in client.get("/g/x").headers


def test_a_mounted_application_is_part_of_the_one_around_it() -> None:
    notes: list[str] = []
    inner = Application(Notes("inner", notes))
    inner.converter("bit", lambda value: ["0", "1"].index(value))

    @inner.error(KeyError)
    def missing(request: Request, error: KeyError) -> Any:
        return 404, f"inner {error}"

    app = Application(Notes("outer", notes))
    app.mount("/inner", inner)

    @inner.get("/{which:bit}")  # after it was mounted
    def one(request: Request, which: int) -> str:
        raise KeyError(which) if which else ValueError

    @app.error(ValueError)
    def bad(request: Request, error: ValueError) -> Any:
        return 400, "outer"

    with Client(app) as client:
        response = client.get("/inner/1")
        assert (response.status, response.text) == (404, "inner 1")
        assert notes == ["outer in", "inner in", "inner out 404", "outer out 404"]
        response = client.get("/inner/0")
        assert (response.status, response.text) == (400, "outer")
        assert client.get("/inner/2").status == 404


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_any_other_handler_can_be_mounted(prefix: str) -> None:
    async def handler(request: Any) -> Response:
        body = await request.body.read()
        rest = "|".join(request.params.get("rest", ("-",)))
        return Response(200, f"{request.method} {rest} {body.decode()}".encode())

    app = Application()
    app.add("GET", "/below/mine", lambda request: "mine")
    app.mount(prefix, handler)
    with Client(app) as client:
        assert client.post(f"{prefix}/a/b", content="c").text == "POST a|b c"
        assert client.get(f"{prefix}/").text == "GET  "
        assert client.get("/below/mine").text == "mine"
        assert client.patch(f"{prefix}/x").text == "PATCH x "
        if prefix:
            assert client.get(prefix).text == "GET - "
            assert client.get("/other").status == 404


def test_a_mounted_handler_is_prepared_too() -> None:
    class Handler:
        prepared: Any = None

        def prepare(self, server: Any) -> None:
            self.prepared = server

        def __call__(self, request: Any) -> Response:
            return Response(200)

    handler = Handler()
    app = Application()
    app.mount("/x", handler)
    server: Any = SimpleNamespace(limits=Limits(), add_steps=lambda steps: None)
    app.prepare(server)
    assert handler.prepared is server


def test_a_directory_in_an_application(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("text " * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / ".secret").write_text("no")
    notes: list[str] = []
    app = Application(Notes("app", notes))
    app.static("/assets", tmp_path, cache_control="max-age=60", headers=[("X-A", "b")])
    app.add("GET", "/assets/mine", lambda request: "mine")
    with Client(app) as client:
        for _ in range(2):
            response = client.get("/assets/a%20b.txt", headers={"Range": "bytes=5-8"})
            assert (response.status, response.content) == (206, b"text")
        assert response.headers.get("cache-control") == "max-age=60"
        assert response.headers.get("x-a") == "b"
        assert client.get("/assets/mine").text == "mine"
        assert client.get("/assets/.secret").status == 404
        assert client.get("/assets/folder/").status == 404, "a listing is to be asked for"
        assert client.get("/assets/folder").headers.get("location") == "folder/"
        assert client.get("/assets/..%2f..%2fetc%2fpasswd").status == 404
        assert client.put("/assets/new", content="x").status == 405
    assert notes.count("app in") == notes.count("app out 206") + 6
    with pytest.raises(OSError):
        app.static("/none", tmp_path / "none")
    request = Request("GET", "/assets/a%20b.txt", "/assets/a%20b.txt", "", 1, Headers())
    alone = Application()
    alone.static("/assets", tmp_path)
    later: Any = alone(request)
    found = drive(later)
    found.body.release()
    assert found.status == 200, "without a server, too"


def guarded_part() -> Application:
    inner = Application(Hooks())
    inner.add("GET", "/x", lambda request: "x")
    inner.error(404)(lambda request, error: (404, "inner 404"))
    inner.error(405)(lambda request, error: (405, "inner 405"))
    return inner


def test_a_mounted_application_makes_its_own_404_and_405() -> None:
    app = Application()
    app.mount("/sub", guarded_part())
    app.error(404)(lambda request, error: (404, "outer 404"))
    app.group("/sub/deeper", asynchronous)
    with Client(app) as client:
        for path, text in (
            ("/sub/nope", "inner 404"),
            ("/sub", "inner 404"),
            ("/submarine", "outer 404"),
            ("/nope", "outer 404"),
        ):
            response = client.get(path)
            assert (response.status, response.text) == (404, text)
            assert ("x-hooks" in response.headers) is (text == "inner 404")
        response = client.post("/sub/x")
        assert (response.status, response.text) == (405, "inner 405")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert response.headers["X-Hooks"] == "1"
        assert client.get("/sub/deeper/x").headers["X-Async"] == "1"
        assert client.get("/sub/nope?hook").status == 403, "nobody learns what there is"


def test_a_directory_of_a_mounted_application(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    inner, app = Application(), Application()
    inner.static("/assets", tmp_path, listing=True)
    app.mount("/sub", inner)
    app.mount("/other", inner)
    app.static("", tmp_path, listing=True)
    with Client(app) as client:
        for place in ("/sub/assets", "/other/assets", ""):
            response = client.get(f"{place}/folder")
            assert response.headers["Location"] == "folder/"
            listed = client.get(f"{place}/folder/", headers={"Accept": "application/json"})
            assert listed.json()["path"] == f"{place}/folder/"
        placed = [files._files for files in app._static.values()]
        assert len(placed) == 2, "one for the places of a mounted application"
        assert {files._open._most for files in placed if files is not None} == {1024 // 2}


@pytest.mark.parametrize("prefix", ["/", "/x/", "x"])
def test_malformed_prefixes_of_mounts(prefix: str, tmp_path: Path) -> None:
    app = Application()
    with pytest.raises(RouteError):
        app.static(prefix, tmp_path)
    for handler in (lambda request: Response(200), Application()):
        with pytest.raises(RouteError):
            app.mount(prefix, handler)


def test_two_applications_must_not_define_one_kind_differently() -> None:
    app = Application()
    for name in ("a", "b"):
        inner = Application()
        inner.converter("kind", lambda value, name=name: name + value)  # type: ignore[misc]
        inner.add("GET", "/{x:kind}", lambda request: request.params["x"])
        app.mount(f"/{name}", inner)
    with pytest.raises(RouteError, match="kind"):
        app.prepare()


@pytest.mark.parametrize("value", ["/evil.example", "..", "a/../b", "."])
def test_a_url_must_not_lead_elsewhere(value: str) -> None:
    app = Application()
    app.add("GET", "/{p:path}", endpoint, name="p")
    with pytest.raises(ValueError):
        app.url("p", p=value)


def test_the_url_of_a_route_in_a_mounted_application() -> None:
    inner, middle, app = Application(), Application(), Application()
    inner.add("GET", "/notes/{number:int}", lambda request: "", name="note")
    assert inner.url("note", number=7) == "/notes/7"
    app.converter("hex", lambda text: int(text, 16), "{:x}".format)
    middle.group("/api").include(Group("/v1"))
    middle.mount("/in", inner)
    app.mount("/{tenant}/{space:hex}", middle)
    values: dict[str, Any] = {"tenant": "a b", "space": 255, "number": 7}
    for application in (inner, middle, app):
        assert application.url("note", **values) == "/a%20b/ff/in/notes/7"
    with pytest.raises(LookupError, match="tenant"):
        inner.url("note", number=7)
    app.mount("/other", inner)
    with pytest.raises(LookupError, match=r"mounted at /other, /\{tenant\}"):
        inner.url("note", **values)
