"""The part about whole training runs: `twin train churn` as a process, step by step, as the data grows."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import yaml

from pipelines.artefacts import load_dataset
from pipelines.boosting import matrix
from pipelines.cli.model_steps import STEPS
from pipelines.settings import CHECKOUT, Workspace
from tests.benchmarks.measure import Figure
from tests.benchmarks.place import Place, Size
from tests.benchmarks.train.lake import write_shop
from tests.benchmarks.train.process_tree import Watched, watch

# Of the customers of the lake, those that a snapshot of the churn model holds.
_ACTIVE = 0.71


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run: its seconds, and of all its processes the most megabytes and the seconds of processor."""

    name: str
    seconds: float
    megabytes: float
    processor: float


def train(place: Place, size: Size) -> list[Figure]:
    """`twin train churn` from a lake to a registered model, step by step; against plain LightGBM on its dataset."""
    figures = []
    for points in size.train_points:
        with _workspace(points, size.train_budget) as (workspace, environment):
            command = [str(Path(sys.executable).with_name("twin")), "--workspace", workspace.name, "train", "churn"]
            run = watch(command, environment)
            rows, plain, processor = _plain_lightgbm(workspace)
        peer = f"{rows:,} points: lgb.train, 100 rounds, {processor:,.1f} s of processor"
        figures.append(Figure("train", peer, (plain,), "points", rows, peer, ()))
        for step in [_step("whole run", run, 0.0, run.seconds), *steps_of(run)]:
            name = f"{rows:,} points: {step.name}, {step.megabytes:,.0f} MB, {step.processor:,.0f} s of processor"
            figures.append(Figure("train", name, (step.seconds,), "points", rows, peer, (step.seconds / plain,)))
    return figures


def steps_of(run: Watched) -> list[Step]:
    """The steps of a run of all of them, told apart by the empty line after the summary of each.

    Raises:
        RuntimeError: there are not as many summaries as steps.
    """
    ends = [at for at, line in run.lines if not line]
    if len(ends) != len(STEPS):
        raise RuntimeError(f"{len(ends)} summaries of {len(STEPS)} steps")
    return [_step(name, run, begin, end) for name, begin, end in zip(STEPS, [0.0, *ends], ends, strict=False)]


def _step(name: str, run: Watched, begin: float, end: float) -> Step:
    return Step(name, end - begin, run.peak(begin, end), run.processor(begin, end))


@contextmanager
def _workspace(points: int, budget: float) -> Iterator[tuple[Workspace, dict[str, str]]]:
    """A workspace of this checkout with a lake for about `points` rows, and the environment to work on it."""
    workspace = Workspace(f"bench-train-{secrets.token_hex(4)}")
    with tempfile.TemporaryDirectory() as folder:
        configs = Path(folder) / "configs"
        snapshots = _copy_configs(configs, budget)
        try:
            workspace.root.mkdir(parents=True)
            write_shop(workspace.lake, max(100, round(points / snapshots / _ACTIVE)))
            yield workspace, {**os.environ, "TWIN_CONFIG_DIR": str(configs), "PYTHONUNBUFFERED": "1"}
        finally:
            shutil.rmtree(workspace.root, ignore_errors=True)
            shutil.rmtree(workspace.mlruns, ignore_errors=True)


def _copy_configs(folder: Path, budget: float) -> int:
    """The checkout's configuration with a tuning of `budget` seconds; the number of snapshots of the churn model."""
    shutil.copytree(CHECKOUT / "configs", folder)
    file = folder / "models" / "churn.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["tune"]["budget_seconds"] = budget
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return int(content["snapshots"]["most"])


def _plain_lightgbm(workspace: Workspace) -> tuple[int, float, float]:
    """The rows of the dataset, and the seconds of LightGBM as it comes on its train part, binning included.

    Wall-clock, then processor.
    """
    dataset = load_dataset(workspace.artefacts("churn"))
    values, labels = matrix(dataset.inputs("train")), dataset.part("train")["label"].to_numpy()
    began, used = time.perf_counter(), time.process_time()
    lgb.train({"objective": "binary", "verbosity": -1}, lgb.Dataset(values, labels), 100)
    return len(dataset.rows), time.perf_counter() - began, time.process_time() - used
