"""`python -m reactor`: see web/site/command_line.py."""

import sys

from reactor.web.site.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
