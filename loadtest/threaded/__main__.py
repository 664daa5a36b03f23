"""`python -m loadtest.threaded`: see server.py."""

import sys

from loadtest.threaded.server import main

sys.exit(main())
