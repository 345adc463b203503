"""`python -m tests.live_decisions replay` and `rules`: exit code 1 where something does not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.live_decisions.concurrent import Counted, count_under_load
from tests.live_decisions.replayed import Replayed, decide_and_replay


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live_decisions", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    replayed = parts.add_parser("replay", help="decide many times by the desk, and make all of it again")
    replayed.add_argument("--decisions", type=int, default=10_000)
    replayed.add_argument("--customers", type=int, default=2_000)
    rules = parts.add_parser("rules", help="two services under load; caps, quiet hours, consent and budget counted")
    rules.add_argument("--seconds", type=float, default=60.0)
    rules.add_argument("--clients", type=int, default=8, help="to each service")
    rules.add_argument("--customers", type=int, default=1_000)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if asked.part == "replay":
            shown: Replayed | Counted = decide_and_replay(Path(folder), asked.decisions, asked.customers)
        else:
            shown = count_under_load(Path(folder), asked.seconds, asked.clients, asked.customers)
    print(shown.text())
    print(f"{time.monotonic() - began:,.0f} s: {'holds' if shown.passed else 'DOES NOT HOLD'}")
    return 0 if shown.passed else 1


if __name__ == "__main__":
    sys.exit(main())
