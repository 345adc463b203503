"""`python -m tests.soak`: exit code 1 where something does not hold."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pipelines.settings import Workspace
from tests.soak.place import soak_place
from tests.soak.run import Plan, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Ten minutes under load.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--capacity-seconds", type=float, default=20.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the capacity [default: 0.7]")
    parser.add_argument("--swaps", type=int, default=3)
    parser.add_argument("--bound", type=float, default=1.0, help="megabytes a minute that memory may grow")
    parser.add_argument("--workspace", default="demo", help="to copy, where it is there; else a small one is made up")
    asked = parser.parse_args()
    workspace = Workspace(asked.workspace).root
    plan = Plan(60 * asked.minutes, asked.capacity_seconds, asked.share, asked.swaps, asked.bound)
    with tempfile.TemporaryDirectory() as folder:
        copied = workspace if (workspace / "state.db").exists() else None
        print(f"over {'a copy of ' + asked.workspace if copied else 'a made-up workspace'}", flush=True)
        with soak_place(Path(folder), copied) as place:
            soaked = soak(place, plan)
            print(soaked.text())
            told = "".join(place.server.lines)
    if "Traceback" in told:
        print(told)
        return 1
    return 1 if soaked.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
