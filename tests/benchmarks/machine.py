"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("bentoml", "deltalake", "duckdb", "feast", "lightgbm", "mlflow", "msgspec", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class Machine:
    """`load` is the mean number of busy processes over the last 1, 5 and 15 minutes."""

    cores: int
    processor: str
    load: tuple[float, float, float]
    python: str
    packages: dict[str, str]


def describe() -> Machine:
    """This machine, now."""
    packages = {name: version(name) for name in PACKAGES}
    return Machine(os.cpu_count() or 1, _processor(), os.getloadavg(), platform.python_version(), packages)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
