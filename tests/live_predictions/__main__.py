"""`python -m tests.live_predictions`: exit code 1 where something does not hold. It works on a copy of a workspace."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from pipelines.model_store import latest_file
from pipelines.settings import Workspace, load_settings
from tests.live_predictions.served import serve_and_replay
from tests.unit.serving_parts import ingest_key


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live_predictions", description=__doc__)
    parser.add_argument("--predictions", type=int, default=10_000)
    parser.add_argument("--workspace", default="demo", help="is copied; `make demo` makes it")
    asked = parser.parse_args()
    source = Workspace(asked.workspace)
    if not source.root.exists():
        print(f"error: there is no workspace {asked.workspace}; make it: make demo", file=sys.stderr)
        return 1
    copy = Workspace(f"live-predictions-{os.getpid()}")
    began = time.monotonic()
    try:
        shutil.copytree(source.root, copy.root, ignore=shutil.ignore_patterns("served"))
        settings = load_settings(copy.name)
        served = [model for model in settings.models if latest_file(copy.bentoml_home, model).exists()]
        shown = serve_and_replay(settings, ingest_key(copy), served, asked.predictions)
    finally:
        shutil.rmtree(copy.root, ignore_errors=True)
    print(shown.text())
    print(f"{time.monotonic() - began:.0f} s: {'passed' if shown.passed else 'FAILED'}")
    return 0 if shown.passed else 1


if __name__ == "__main__":
    sys.exit(main())
