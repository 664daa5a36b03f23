"""A child of the reloader: what it inherits, and what it reports."""

import os
from pathlib import Path

import pytest

from reactor.process.child import ReloadChild
from reactor.process.file_watcher import mark
from reactor.process.ipc import VARIABLE, Ended, Inheritance, MessageDecoder, Ready, Seen


def test_a_process_without_an_inheritance_is_no_child() -> None:
    assert VARIABLE not in os.environ
    assert ReloadChild.inherited() is None


def test_a_child_takes_its_inheritance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    lifeline = os.open(os.devnull, os.O_RDONLY)
    for descriptor in (writing, lifeline):
        os.set_inheritable(descriptor, True)
    inheritance = Inheritance([(lifeline, "http")], writing, lifeline, True)
    monkeypatch.setenv(VARIABLE, inheritance.environment()[VARIABLE])
    child = ReloadChild.inherited()
    assert child is not None
    assert child.first
    assert VARIABLE not in os.environ
    assert not os.get_inheritable(writing)
    assert not os.get_inheritable(lifeline)
    path = str(tmp_path)
    child._report_file(path)
    child._report_file("/no/such/file")
    child.ready()
    child.ended(2)
    messages = list(MessageDecoder().feed(os.read(reading, 65536)))
    assert messages == [Seen(path, mark(path)), Seen("/no/such/file", None), Ready(), Ended(2)]
    os.close(reading)
    child.ready()  # the parent is gone
    os.close(writing)
    os.close(lifeline)
    assert ReloadChild.inherited() is None
