"""`python -m handlers`: the command line of reactor, with this application named."""

import sys

from reactor.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["handlers:app", *sys.argv[1:]]))
