"""Compare the tuned model with simple ones, the default and the champion, out of time, on all that counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import (
    EVALUATION,
    MODEL,
    PREDICTIONS,
    TRAINING,
    TUNING,
    Dataset,
    file_hash,
    read_json,
    refuse_foreign_training,
    write_json,
)
from pipelines.console import progress
from pipelines.evaluate.champion import compare_with_champion
from pipelines.evaluate.checks import dataset_to_judge_on
from pipelines.evaluate.notes import notes_of
from pipelines.evaluate.probabilities import Compared, all_probabilities
from pipelines.evaluate.profit import Profit, profit_of
from pipelines.evaluate.results import (
    DEFAULT,
    NAMES,
    RANDOM,
    TUNED,
    Difference,
    Evaluation,
    Judgement,
    SearchCost,
    TuningGain,
)
from pipelines.evaluate.scores import differences_of, scores_of
from pipelines.evaluate.slices import Band, Cut, Rows, judge_bands, worst_band
from pipelines.evaluate.snapshots import base_rate_drift, per_snapshot, snapshots_of
from pipelines.evaluate.truth import against_truth
from pipelines.evaluate.verdict import further_sentences, verdict_sentences
from pipelines.fitted_model import write_simple_models
from pipelines.scoring.bootstrap import Interval, Resampled, resample, resamples_for
from pipelines.scoring.metrics import Array
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.slicing import ConsentGroups, slice_rows

SEED = 20050501


def evaluate(
    settings: Settings,
    model_config: ModelConfig,
    champion_path: Path | None = None,
    champion_inputs: ModelInputs | None = None,
    consent: ConsentGroups | None = None,
    truth: pd.DataFrame | None = None,
) -> Evaluation:
    """Score all models on the test part; writes `evaluation.json`, `predictions.parquet` and `simple_models.json`.

    Args:
        settings: whose workspace holds the artefacts.
        model_config: which model, its label, profit and slices, and the features of the simple models.
        champion_path: file of the model served now, if there is one. It is left out, with a note, when it reads
            features this dataset does not have.
        champion_inputs: what it makes of features; without it, its columns are features.
        consent: of each purpose that a slice names, the group of each customer.
        truth: true probabilities, where the customers were made up: customer_id, as_of, probability.

    Raises:
        UserError: an artefact is missing, a part has no rows or one class only, a column is missing, or the truth
            is of other rows.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(model_config.name)
    dataset = dataset_to_judge_on(folder, model_config)
    if (folder / TRAINING).exists():
        refuse_foreign_training(read_json(folder / TRAINING), dataset)
    with progress("compare models", total=5) as advance:
        compared = all_probabilities(folder, dataset, model_config, champion_path, champion_inputs)
        advance(1)
        test = _Test(model_config, dataset, compared, consent)
        scores = tuple(
            scores_of(name, test.labels, values, test.resampled[name], SEED) for name, values in compared.of.items()
        )
        advance(1)
        profit = test.profit()
        advance(1)
        bands = test.bands(TUNED)
        own = test.judgement(TUNED, bands)
        advance(1)
        candidates = {name: test.judgement(name, test.bands(name)) for name in compared.simple}
        advance(1)
    names = {**NAMES, "logistic": model_config.baselines.logistic.name}
    gain = _tuning_gain(folder, own.differences)
    sentences = (
        *verdict_sentences(own.differences, model_config.name, names, gain, compared.servable),
        *further_sentences(profit, own.worst_slice, names),
    )
    fitted = compared.bg_nbd
    result = Evaluation(
        model=model_config.name, label_kind=model_config.label.kind,
        test_rows=len(test.rows), test_customers=int(test.customers.max()) + 1,
        test_as_of=tuple(item.as_of for item in dataset.manifest.snapshots if item.part == "test"),
        train_rows=len(test.train), positive_rate=float(test.labels.mean()),
        train_positive_rate=float(test.train["label"].mean()),
        base_rate_drift=base_rate_drift(test.train, test.rows, test.resamples, SEED),
        resamples=test.resamples, seed=SEED, names={name: names[name] for name in compared.of},
        models=scores, differences=own.differences, tuning_gain=gain,
        per_snapshot=per_snapshot(test.rows, compared.of, SEED), profit=profit, slices=bands,
        worst_slice=own.worst_slice, champion_comparison=own.champion_comparison, candidates=candidates,
        truth=None if truth is None else against_truth(test.rows, compared.of, truth),
        bg_nbd=asdict(fitted.parameters) | {"customers": fitted.customers} if fitted else {},
        notes=notes_of(model_config, bands, compared.notes),
        verdict=" ".join(sentences), verdict_sentences=sentences,
        dataset_hash=dataset.manifest.dataset_hash, model_hash=file_hash(folder / MODEL),
        champion_hash=file_hash(champion_path) if champion_path and compared.champion is not None else None,
        seconds=round(time.monotonic() - began, 2),
    )  # fmt: skip
    test.rows[["customer_id", "as_of", "label"]].assign(**compared.of).to_parquet(folder / PREDICTIONS, index=False)
    write_simple_models(folder, compared.simple, dataset.manifest.dataset_hash)
    write_json(folder / EVALUATION, asdict(result))
    return result


class _Test:
    """The test rows with what every judgement of a model on them needs; all are on the same resamples of customers."""

    def __init__(
        self, config: ModelConfig, dataset: Dataset, compared: Compared, consent: ConsentGroups | None
    ) -> None:
        self._config, self._compared = config, compared
        self.train, self.rows = dataset.part("train"), dataset.part("test")
        self.labels: Array = self.rows["label"].to_numpy(dtype=np.float64)
        self.customers: NDArray[np.int64] = pd.factorize(self.rows["customer_id"])[0].astype(np.int64)
        self.resamples = resamples_for(len(self.rows))
        self.resampled: dict[str, Resampled] = resample(self.labels, compared.of, self.customers, self.resamples, SEED)
        self._cuts = [
            Cut(slice_rows(cut, self.rows, self.train, consent), slice_rows(cut, self.train, self.train, consent))
            for cut in config.slices
        ]
        self._train_labels: Array = self.train["label"].to_numpy(dtype=np.float64)

    def profit(self) -> Profit | None:
        if self._config.profit is None:
            return None
        return profit_of(
            self._config.profit, self.labels, self._compared.of, self.customers, TUNED, self.resamples, SEED
        )

    def bands(self, name: str) -> tuple[Band, ...]:
        return judge_bands(self._cuts, self._train_labels, self._of(name), self.resamples, SEED)

    def judgement(self, name: str, bands: tuple[Band, ...]) -> Judgement:
        """What the gates look at, of the model called `name`; `bands` are its own."""
        comparison = compare_with_champion(
            self._config, self._of(name), snapshots_of(self.rows), self._cuts, self._train_labels, self.resamples, SEED
        )
        return Judgement(differences_of(name, self.resampled), worst_band(bands), comparison)

    def _of(self, name: str) -> Rows:
        return Rows(self.labels, self._compared.of[name], self._compared.champion, self.customers)


def _tuning_gain(folder: Path, differences: tuple[Difference, ...]) -> TuningGain:
    found = {item.against: Interval(item.estimate, item.low, item.high)
             for item in differences if item.metric == "log_loss"}  # fmt: skip
    tuning = read_json(folder / TUNING) if (folder / TUNING).exists() else {}
    return TuningGain(found[DEFAULT], found.get(RANDOM), _cost(tuning), _cost(tuning.get("random")))


def _cost(search: Mapping[str, Any] | None) -> SearchCost | None:
    return SearchCost(float(search["seconds"]), int(search["trials"])) if search else None
