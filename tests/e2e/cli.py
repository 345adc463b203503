"""The `twin` command as a user runs it: a process of its own, in a workspace of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.settings import CHECKOUT, Workspace

# Trees of one model: what explaining it, and making it again without its parts, takes grows with them.
QUICK_ROUNDS = 60
TWIN = [sys.executable, "-c", "from pipelines.cli import main; main()"]


@contextmanager
def throwaway_workspace(name: str) -> Iterator[Workspace]:
    """A workspace of this checkout that is gone at the end."""
    workspace = Workspace(f"test-{name}-{os.getpid()}")
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.rmtree(workspace.mlruns, ignore_errors=True)


def twin(workspace: Workspace, *arguments: str, config_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `twin ARGUMENTS` in `workspace`, and wait for its end."""
    environment = {**os.environ, "TWIN_WORKSPACE": workspace.name}
    if config_dir is not None:
        environment["TWIN_CONFIG_DIR"] = str(config_dir)
    return subprocess.run(
        [*TWIN, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def quick_configs(folder: Path, trials: int = 4, customers: int | None = None) -> Path:
    """The checkout's configuration with a short tuning of small models, and perhaps a small demo."""
    copy = folder / "configs"
    shutil.copytree(CHECKOUT / "configs", copy)
    for model in (copy / "models").glob("*.yaml"):
        short = re.sub(r"trials: \d+", f"trials: {trials}", model.read_text())
        model.write_text(re.sub(r"(?m)^  rounds: \d+", f"  rounds: {QUICK_ROUNDS}", short))
    if customers is not None:
        demo = copy / "demo.yaml"
        demo.write_text(demo.read_text().replace("customers: 4000", f"customers: {customers}"))
    return copy
