"""One measurement in a process of its own, which tells its time and its peak memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from pipelines.settings import CHECKOUT


def run_module(module: str, *arguments: str) -> dict[str, float]:
    """Run `python -m module arguments`, and give what it told.

    Raises:
        RuntimeError: it failed; with the end of what it wrote to its error output.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)}: {done.stderr.decode()[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def tell(call: Callable[[], object]) -> None:
    """Do it, and print its seconds and this process's peak megabytes as JSON."""
    began = time.perf_counter()
    call()
    seconds = time.perf_counter() - began
    # The kernel counts kilobytes.
    print(json.dumps({"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
