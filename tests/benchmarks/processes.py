"""One measurement in a process of its own, which tells its time and its peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
    print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": _peak_megabytes()}))


def _peak_megabytes() -> float:
    # Not what `getrusage` says: a process inherits that from the one that started it.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024
