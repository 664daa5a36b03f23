"""The file for locust: all users of `loadtest.scenarios`, and its hooks.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:4221

It finds the project by its own path, so it can be started from any directory. Shapes are not
imported here by their names, since locust would use the first one. See docs/load-testing.md.
"""

import sys
from pathlib import Path

PROJECT = str(Path(__file__).resolve().parent.parent)
if PROJECT not in sys.path:
    # At the end, since locust removes the entry that it has put at the beginning.
    sys.path.append(PROJECT)

from loadtest.scenarios import hooks  # noqa: E402
from loadtest.scenarios.held_users import EventListener, SlowReader  # noqa: E402
from loadtest.scenarios.open_loop import OpenLoop  # noqa: E402
from loadtest.scenarios.users import Blocking, Browser, Burning, Hello, Uploader  # noqa: E402

__all__ = (
    "Blocking",
    "Browser",
    "Burning",
    "EventListener",
    "Hello",
    "OpenLoop",
    "SlowReader",
    "Uploader",
)

hooks.register()
