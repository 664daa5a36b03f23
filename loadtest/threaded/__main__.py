"""`python -m loadtest.threaded`: see command_line.py."""

import sys

from loadtest.threaded.command_line import main

sys.exit(main())
