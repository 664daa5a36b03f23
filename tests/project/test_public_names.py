"""The names that applications are written with, in one place, and what it costs to have them."""

import re
import subprocess
import sys
from typing import Any

import pytest

import reactor
from reactor import Application, Request, Response, file, json, redirect, set_cookie, text
from reactor.testing import Client
from tests.support.paths import ROOT

LOADED = "import {}, sys; print(*sys.modules)"


def loaded_by(module: str) -> set[str]:
    command = [sys.executable, "-c", LOADED.format(module)]
    return set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def test_an_application_needs_one_import() -> None:
    app = Application()

    @app.get("/")
    async def index(request: Request) -> Any:
        if "file" in request.args:
            return await file(request, __file__)
        return redirect("/x") if "redirect" in request.args else json({"a": 1})

    @app.get("/x")
    def other(request: Request) -> Response:
        return set_cookie(text("x"), "a", "b")

    with Client(app) as client:
        assert client.get("/").json() == {"a": 1}
        assert client.get("/?file").text.startswith('"""The names')
        assert client.get("/?redirect", follow_redirects=True).text == "x"


def test_the_names_are_all_there_and_mean_one_thing() -> None:
    assert sorted(reactor.__all__) == sorted(set(reactor.__all__))
    for name in reactor.__all__:
        assert getattr(reactor, name) is not None
        assert f"reactor.{name}" not in sys.modules, "it hides a module"


def test_each_is_explained_where_it_is_defined() -> None:
    for name in set(reactor.__all__) - {"Fields", "__version__"}:
        documented = getattr(reactor, name)
        assert documented.__doc__, name
        assert documented.__module__.startswith("reactor."), name


def test_docs_and_the_demo_import_from_public_places_only() -> None:
    public = ("reactor", "reactor.web.middlewares", "reactor.testing")
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    found = [
        (path.name, module)
        for path in [*pages, *(ROOT / "handlers").rglob("*.py")]
        for module in re.findall(r"^\s*from (reactor[\w.]*) import", path.read_text(), re.MULTILINE)
        if module not in public and path.name != "__main__.py"
    ]
    assert not found


@pytest.mark.system
def test_they_bring_nothing_along_that_applications_do_not_need() -> None:
    loaded = loaded_by("reactor")
    assert "reactor.web.app.application" in loaded
    assert (
        not {"reactor.web.uploads.receiver", "reactor.web.uploads.resumable", "reactor.testing"}
        & loaded
    )
    assert not {"asyncio", "email", "http.client", "http.cookies", "unittest"} & loaded
