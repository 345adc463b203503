"""Imported by every Python that finds it: notes how long the garbage collector stops the process, a line a pause."""

import gc
import os
import time
from typing import Any

_LEAST_SECONDS = 0.001


def _watch(folder: str) -> None:
    began = 0.0

    def note(phase: str, told: dict[str, Any]) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
            return
        pause = time.perf_counter() - began
        if pause >= _LEAST_SECONDS:
            with open(os.path.join(folder, f"gc-{os.getpid()}"), "a") as file:
                file.write(f"{told['generation']} {pause:.6f}\n")

    gc.callbacks.append(note)


if "SOAK_FOLDER" in os.environ:
    _watch(os.environ["SOAK_FOLDER"])
