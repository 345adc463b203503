"""A worker lives no longer than the process that started it.

BentoML gives its workers sessions of their own, so that a starter that is killed outright would leave them
behind, answering on its port with nobody to stop them.
"""

from __future__ import annotations

import ctypes
import signal
import sys

import bentoml

# Of <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


def end_with_starter() -> None:
    """Have the kernel ask this worker to stop when its starter dies (Linux; elsewhere nothing is done).

    Outside of a worker, such as in a test that runs the service in its own process, nothing is done.
    """
    if sys.platform != "linux" or bentoml.server_context.worker_index is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
