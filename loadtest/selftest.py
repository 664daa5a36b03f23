"""`python -m loadtest.selftest`: see experiment/selftest.py."""

from loadtest.experiment.selftest import main

raise SystemExit(main())
