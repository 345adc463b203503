"""A process of our own that never outlives the one that started it, not even one that was killed.

`start` runs `python -m pipelines.child_process PARENT MODULE ARGUMENTS`, which asks the kernel to be killed with
its parent before it imports anything that takes long, and then runs the module.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def start(
    module: str, arguments: Sequence[str], output: Path, keep_open: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Run `module` as a child on one thread; what it prints goes to the file `output`.

    File descriptors `keep_open` stay open in it. Ctrl-C is for the parent to act on: the child does not hear it.
    """
    command = [sys.executable, "-m", "pipelines.child_process", str(os.getpid()), module, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with output.open("wb") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, pass_fds=keep_open
        )


def _tie_to(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    # It may have died before the kernel was asked.
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    _tie_to(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
