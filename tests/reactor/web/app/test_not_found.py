"""Requests without a route: OPTIONS, 405, redirects for slashes, 404."""

from reactor.testing import Client
from reactor.web.app.application import Application


def test_slashes_are_redirected_if_wanted() -> None:
    for redirects in (False, True):
        app = Application(redirect_slashes=redirects)
        app.add("GET", "/a", lambda request: "a")
        app.add("POST", "/b/", lambda request: "b")
        app.add("GET", "/{x}/{y}/", lambda request: "xy")
        with Client(app) as client:
            for path, where in (
                ("/a/?q=1", "/a?q=1"),
                ("/b", "/b/"),
                ("/%2f%2Fevil.example/y", "/%2F%2Fevil.example/y/"),
            ):
                response = client.post(path) if path == "/b" else client.get(path)
                assert response.status == (308 if redirects else 404)
                assert response.headers.get("location") == (where if redirects else "")
            assert client.get("//evil.example").headers.get("location", "/").count("//") == 0
            assert client.get("/c/").status == 404


def test_a_path_that_cannot_be_decoded() -> None:
    app = Application()
    app.add("GET", "/{x}", lambda request: "x")
    with Client(app) as client:
        assert client.get("/%zz").status == 400
        assert client.get("/%ff").status == 400
        response = client.get("/%ff", headers={"Accept": "application/json"})
        assert response.headers.get("content-type") == "application/problem+json"
        assert client.request("OPTIONS", "/x").status == 204


def test_options_list_the_methods_of_all_patterns() -> None:
    app = Application()
    app.add("PUT", "/x/{n:int}", lambda request: "")
    app.add("GET", "/x/{n}", lambda request: "")
    with Client(app) as client:
        assert client.options("/x/5").headers["Allow"] == "GET, HEAD, OPTIONS, PUT"
