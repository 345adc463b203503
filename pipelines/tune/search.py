"""The search: by TPE, then at random in the same wall-clock, in one process or several, resumable after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from pipelines.artefacts import TUNING, load_dataset_of, write_json
from pipelines.boosting import (
    LearningRows,
    drawn,
    learning_customers,
    learning_rows,
    make_folds,
    parameters,
    sampled_rows,
)
from pipelines.console import progress
from pipelines.fitting import monotone_constraints
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig, TuneConfig
from pipelines.tune.result import Difference, JudgedRows, TuneSummary, difference, found_by
from pipelines.tune.space import DEFAULTS, inside, space_hash
from pipelines.tune.study import finished, of_origin, open_journal, queue_once, resume_study, storage_of
from pipelines.tune.trials import (
    DEFAULT,
    Bench,
    Limits,
    is_over,
    limits_of_random,
    random_name,
    search_all,
    share_spent,
)
from pipelines.tune.workers import processes_of, remove_leftovers, search_in_processes

JOURNAL = "tuning.journal"
_TOLD = ("params", "rounds", "trials", "pruned", "seconds", "default_loss", "best_loss", "study", "processes")


def tune(settings: Settings, config: ModelConfig, also_try: Sequence[Mapping[str, Any]] = ()) -> TuneSummary:
    """Search LightGBM parameters on the train part of the saved dataset, and save `tuning.json`.

    LightGBM's defaults are tried first, then `also_try` (such as the champion's parameters), then
    TPE. The study goes on where a killed run stopped, and is over once `tune.trials` trials or
    `tune.budget_seconds` of wall-clock are spent over all runs; a study that is over is not repeated.
    With `tune.random_search` a second study begins with the same candidates and draws at random, in
    the wall-clock that the first one took. At most `tune.most_rows` rows are cross-validated.

    Raises:
        FileNotFoundError: there is no dataset.
        UserError: another process is tuning this model, or a process of the search was killed.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset_hash, rows, judged = _judged_rows(folder, config)
    fixed = monotone_constraints(config.fit, rows.names)
    name = study_name(dataset_hash, judged.rows, config.tune, fixed)
    journal = folder / JOURNAL
    with open_journal(journal) as lock:
        remove_leftovers(journal)
        studies = _open_studies(journal, name, config.tune, also_try)
        resumed = len(finished(studies[0].trials))
        if not _all_over(studies, config.tune):
            _search(journal, studies, config.tune, rows, lock, fixed)
        result = _result(studies, config.tune, judged)
    write_json(folder / TUNING, result)
    return TuneSummary(
        model=config.name,
        path=str(folder / TUNING),
        resumed=resumed,
        stopped_by="trials" if result["trials"] >= config.tune.trials else "the time budget",
        judged=judged,
        differences=_differences(studies),
        random_loss=result.get("random", {}).get("best_loss"),
        random_trials=result.get("random", {}).get("trials", 0),
        **{name: result[name] for name in _TOLD},
    )


def study_name(dataset_hash: str, rows: int, config: TuneConfig, fixed: Mapping[str, Any]) -> str:
    """Same data, space, way of judging and `fixed` parameters, same study; more trials or time continue it."""
    held = hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:8] if fixed else "free"
    judged = f"{config.rounds}-{config.early_stopping_rounds}-{config.seed}"
    return f"{dataset_hash}-{rows}-{space_hash()}-{held}-{judged}"


def _judged_rows(folder: Path, config: ModelConfig) -> tuple[str, LearningRows, JudgedRows]:
    """The hash of the dataset and what is cross-validated of it. The dataset itself is not held while we search."""
    dataset, most = load_dataset_of(folder, config), config.tune.most_rows
    every, customers = learning_rows(dataset), learning_customers(dataset)
    rows, places = sampled_rows(every, customers, most), drawn(customers, most)
    judged = JudgedRows(len(places), len(pd.unique(customers[places])), len(customers))
    return dataset.manifest.dataset_hash, rows, judged


def _open_studies(
    journal: Path, name: str, config: TuneConfig, also_try: Sequence[Mapping[str, Any]]
) -> list[optuna.Study]:
    """The study of TPE, and the one at random where it is wanted. Both begin with the same candidates."""
    storage = storage_of(journal)
    studies = [resume_study(storage, each) for each in (name, random_name(name))[: 1 + config.random_search]]
    for study in studies:
        queue_once(study, DEFAULT, DEFAULTS)
        for number, candidate in enumerate(also_try):
            queue_once(study, f"candidate {number}", inside(candidate))
    return studies


def _limits(studies: Sequence[optuna.Study], config: TuneConfig) -> list[Limits]:
    tuned = Limits(config.trials, config.budget_seconds)
    return [tuned, limits_of_random(studies[0])][: len(studies)]


def _all_over(studies: Sequence[optuna.Study], config: TuneConfig) -> bool:
    return all(is_over(study, limits) for study, limits in zip(studies, _limits(studies, config), strict=True))


def _search(
    journal: Path, studies: Sequence[optuna.Study], config: TuneConfig, rows: LearningRows, lock: int,
    fixed: Mapping[str, Any],
) -> None:  # fmt: skip
    name = studies[0].study_name
    with _telling(studies, config) as tell:
        if processes_of(config) > 1:
            search_in_processes(journal, name, config, rows, lock, tell, fixed)
            return
        folds = make_folds(rows, config.seed)
        bench = Bench(folds, parameters(fixed, config.seed, len(rows.labels)), 0, nullcontext, tell)
        search_all(storage_of(journal), name, config, bench)


@contextmanager
def _telling(studies: Sequence[optuna.Study], config: TuneConfig) -> Iterator[Callable[[], None]]:
    """Shows how far all studies are, each as long as the others; yields what is to be called now and then."""
    told = 0.0
    with progress("Tuning (percent)", 100) as advance:

        def tell() -> None:
            nonlocal told
            shares = [share_spent(studies[0], _limits(studies, config)[0])]
            # How long the search at random may take is known when the other one is over.
            if len(studies) > 1:
                shares.append(share_spent(studies[1], _limits(studies, config)[1]) if shares[0] >= 1.0 else 0.0)
            share = float(np.mean(shares))
            advance(max(0.0, 100 * (share - told)))
            told = max(told, share)

        tell()
        yield tell


def _result(studies: Sequence[optuna.Study], config: TuneConfig, judged: JudgedRows) -> dict[str, Any]:
    """The content of `tuning.json`."""
    default = of_origin(studies[0], DEFAULT)
    beside = {"random": asdict(found_by(studies[1]))} if len(studies) > 1 else {}
    return {
        **asdict(found_by(studies[0])),
        "default_loss": default.value if default else None,
        "study": studies[0].study_name,
        "seed": config.seed,
        "processes": processes_of(config),
        "judged": asdict(judged),
        "differences": {other: asdict(measured) for other, measured in _differences(studies).items()},
        **beside,
    }


def _differences(studies: Sequence[optuna.Study]) -> dict[str, Difference]:
    """Of the tuned parameters, against `default` and `random`."""
    tuned = studies[0].best_trial
    others = {"default": of_origin(studies[0], DEFAULT), "random": studies[1].best_trial if len(studies) > 1 else None}
    return {name: difference(tuned, trial) for name, trial in others.items() if trial is not None}
