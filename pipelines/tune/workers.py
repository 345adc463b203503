"""Tuning in several processes: what the parent does. It bins the folds, starts the workers, and watches them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.artefacts import write_json
from pipelines.boosting import LearningRows
from pipelines.child_process import start
from pipelines.console import UserError
from pipelines.settings.models import TuneConfig
from pipelines.tune.folds import save_folds
from pipelines.tune.worker import JOB

FOLDS = "tuning.folds"
_GLANCE_SECONDS = 0.2
_TOLD_OF_AN_ERROR = 4000


def processes_of(config: TuneConfig) -> int:
    """How many work side by side: as configured, or one a core that we may use, and no more than there are trials."""
    return min(config.processes or len(os.sched_getaffinity(0)), config.trials)


def search_in_processes(
    journal: Path, study: str, config: TuneConfig, rows: LearningRows, lock: int, tell: Callable[[], None],
    fixed: Mapping[str, Any],
) -> None:  # fmt: skip
    """Have workers search until the study, and the one at random beside it, are over. `tell` is called meanwhile.

    `fixed` are parameters that hold for all trials.
    `lock` is the descriptor of the journal's lock. However this ends, no worker outlives it.

    Raises:
        UserError: a worker was killed.
        RuntimeError: a worker failed; with its error.
    """
    with _folder(journal.parent / FOLDS) as folder:
        save_folds(folder, rows, config.seed)
        write_json(
            folder / JOB,
            {
                "journal": str(journal),
                "study": study,
                "config": config.model_dump(mode="json"),
                "rows": len(rows.labels),
                "fixed": dict(fixed),
            },
        )
        workers = {
            _said(folder, number): start(
                "pipelines.tune.worker", [str(folder), str(number)], _said(folder, number), keep_open=[lock]
            )
            for number in range(processes_of(config))
        }
        try:
            while _running(workers):
                tell()
                time.sleep(_GLANCE_SECONDS)
        finally:
            for worker in workers.values():
                worker.kill()
            for worker in workers.values():
                worker.wait()


def remove_leftovers(journal: Path) -> None:
    """Folds that a killed run left. The journal's lock must be held: then none of its workers lives."""
    shutil.rmtree(journal.parent / FOLDS, ignore_errors=True)


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _said(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.txt"


def _running(workers: Mapping[Path, subprocess.Popen[bytes]]) -> bool:
    """Whether one of them, here with the file of what it said, still works; raises for one that ended badly."""
    codes = {said: worker.poll() for said, worker in workers.items()}
    for said, code in codes.items():
        if code is not None and code < 0:
            raise UserError(
                f"A tuning process was ended by {signal.Signals(-code).name}. If memory ran out, set tune.processes or "
                "tune.most_rows lower; the same command goes on where it was."
            )
        if code:
            told = said.read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(f"a tuning process failed:\n{told[-_TOLD_OF_AN_ERROR:]}")
    return any(code is None for code in codes.values())
