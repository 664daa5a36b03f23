"""The command line: python -m loadtest.benchmarks.tls."""

import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest import system
from loadtest.benchmarks import common
from loadtest.benchmarks.figures import Figures
from loadtest.benchmarks.files import YOUNG_SECONDS, make_files
from loadtest.benchmarks.tls.arms import CIPHER, all_arms, make_pair
from loadtest.benchmarks.tls.cases import CASES, Round
from loadtest.system import MeasurementError


def run(figures: Figures, cases: Sequence[str], rounds: int, seconds: int) -> None:
    """Measure the cases; one that fails is reported and does not stop the others."""
    system.raise_descriptor_limit()
    print(f"{ssl.OPENSSL_VERSION}; TLS 1.3, {CIPHER}, ECDSA P-256", flush=True)
    with tempfile.TemporaryDirectory(prefix="loadtest-files-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker runs as another user
        make_files(directory)
        with tempfile.TemporaryDirectory(prefix="loadtest-") as keys:
            arms = all_arms(directory, make_pair(Path(keys)))
            time.sleep(YOUNG_SECONDS)
            for number in range(rounds):
                for case in cases:
                    print(f"round {number + 1}: {case}", file=sys.stderr, flush=True)
                    try:
                        CASES[case](Round(figures, arms, number, seconds))
                    except MeasurementError as failure:
                        figures.fail(case, str(failure))


def main() -> int:
    return common.main("The cost of TLS, beside other servers.", list(CASES), run)


if __name__ == "__main__":
    raise SystemExit(main())
