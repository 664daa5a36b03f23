"""`python -m loadtest.selftest`: the program of experiment/selftest.py."""

from loadtest.experiment.selftest import main

raise SystemExit(main())
