"""From the lake to `dataset.parquet`: population, labels, features, parts and folds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
from deltalake import DeltaTable

from feature_repo.configuration import Problem
from feature_repo.event_table import register_customer_events
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import (
    ACTION_COLUMNS,
    DATASET,
    ID_COLUMNS,
    Dataset,
    DatasetManifest,
    Snapshot,
    save_dataset,
    value_columns,
)
from pipelines.console import UserError, progress
from pipelines.dataset.action_counts import ActionCount, count_actions
from pipelines.dataset.checks import check_actions, check_inputs, check_labels
from pipelines.dataset.consent import barred_from_training
from pipelines.dataset.features import historical_features
from pipelines.dataset.inputs import model_inputs
from pipelines.dataset.labels import is_positive, log_range
from pipelines.dataset.notes import notes_of
from pipelines.dataset.rows import PARTS, TEST, TRAIN, plan_of, populated, rows_of
from pipelines.dataset.snapshots import LogRange, day
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from pipelines.settings.labels import Label, microseconds
from pipelines.settings.models import ActionModelConfig, CompanionConfig, LearningConfig, ModelConfig

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What was made. Positive is a label above 0, or a next event in time; instants are int64 microseconds UTC.

    `actions` are the counts of a dataset of actions, by part.
    """

    model: str
    path: str
    features: int
    customers: int
    train_rows: int
    test_rows: int
    train_positive_rate: float
    test_positive_rate: float
    snapshots: tuple[Snapshot, ...]
    notes: tuple[str, ...]
    lake_version: int
    dataset_hash: str
    actions: tuple[ActionCount, ...] = ()

    def text(self) -> str:
        """The summary for a person."""
        lines = [
            f"Dataset of {self.model}: {self.features} features, {self.customers:,} customers",
            f"  train {self.train_rows:,} rows, {self.train_positive_rate:.1%} positive; "
            f"test {self.test_rows:,} rows, {self.test_positive_rate:.1%} positive",
            *(
                f"  {day(s.as_of)}  {s.part:<5} {s.customers:>8,} customers {s.positives:>8,} positive"
                for s in self.snapshots
            ),
            *(f"  {one.part:<5} {one.text()}" for one in self.actions),
            *(f"  Note: {note}" for note in self.notes),
            f"  {self.path}",
        ]
        return "\n".join(lines)


def build_dataset(
    settings: Settings, config: ModelConfig | CompanionConfig | ActionModelConfig, store: FeatureStore
) -> DatasetSummary:
    """Make the dataset of one model from one version of the lake, and save it with its manifest.

    `store` is an open Feast feature store over the same lake; where it is pinned to a version of the
    lake, population and labels are read from that version too.

    Raises:
        UserError: no events, a history that is too short, too few customers, labels or actions all alike, or
            a lake that changed while its features were read.
    """
    lake = settings.workspace.lake
    newest, pinned = lake_version(lake), getattr(store.config.offline_store, "lake_version", None)
    version = newest if pinned is None else int(pinned)
    membership = current_membership(settings)
    # Features are read as of the same version of the identity map as population and labels.
    store.config.offline_store.membership_version = membership.version
    with duckdb.connect() as connection:
        register_customer_events(connection, lake, version, membership=membership)
        log = log_range(connection, config.label)
        barred = barred_from_training(connection, settings)
        plan = plan_of(connection, config, log, barred)
        parts = {part: rows_of(connection, config, plan, part) for part in PARTS}
    rows = pd.concat([parts[TRAIN].rows, parts[TEST].rows], ignore_index=True)
    kept = ~rows["customer_id"].isin(barred)
    found = populated(rows[kept].reset_index(drop=True), plan, config)
    notes = notes_of(settings, config, plan, parts, int(rows.loc[~kept, "customer_id"].nunique()), found)
    rows = _with_folds(found.rows, config)
    check_labels(rows, config)
    if isinstance(config, ActionModelConfig):
        notes += check_actions(rows, config)
    names = settings.features.service_features(config.feature_service)
    with progress(f"Features of {len(rows):,} rows"):
        values = feature_values(settings, config, store, rows, names)
    if pinned is None and lake_version(lake) != version:
        raise UserError("Events were ingested while the dataset was being made. Nothing was saved; run it again.")
    rows = pd.concat([rows, values], axis=1)
    inputs = model_inputs(config, rows, names)
    manifest = _manifest(settings, config, rows, names, (version, membership.version), log, inputs)
    dataset = Dataset(_typed(rows), manifest)
    notes += check_inputs(dataset)
    folder = settings.workspace.artefacts(config.name)
    save_dataset(folder, dataset)
    return _summary(dataset, config.label, folder, notes)


def feature_values(
    settings: Settings,
    config: ModelConfig | CompanionConfig | ActionModelConfig,
    store: FeatureStore,
    rows: pd.DataFrame,
    names: tuple[str, ...],
) -> pd.DataFrame:
    """The model's features, then those that only simple models, slices and the catalogue read: no inputs."""
    values = historical_features(store, store.get_feature_service(config.feature_service), rows, names)
    others = sorted({*config.other_features, *_of_catalogue(settings, config)} - set(names))
    if not others:
        return values
    references = [f"{settings.features.by_name[name].view}:{name}" for name in others]
    return pd.concat([values, historical_features(store, references, rows, others)], axis=1)


def _of_catalogue(settings: Settings, config: LearningConfig) -> list[str]:
    """What the catalogue reads to say what an action is worth, in order."""
    catalogue = settings.checked_catalogue() if isinstance(config, ActionModelConfig) else None
    return sorted({name for action in catalogue.actions for name in action.value.names}) if catalogue else []


def fold_of(customer_id: str, folds: int) -> int:
    """The fold of all rows of a customer, the same in every run and on every machine."""
    return int.from_bytes(hashlib.blake2b(customer_id.encode(), digest_size=8).digest(), "big") % folds


def content_hash(rows: pd.DataFrame, names: tuple[str, ...], inputs: ModelInputs) -> str:
    """SHA-256 (16 hex digits) over ids, labels, parts, folds, actions, values and inputs; row order does not matter."""
    ordered = rows.sort_values(["as_of", "customer_id"])
    digest = hashlib.sha256("\n".join(names).encode())
    for column in ("customer_id", "part"):
        digest.update("\n".join(ordered[column]).encode())
    digest.update(ordered[["as_of", "label", "fold"]].to_numpy(dtype="<i8").tobytes())
    if "action" in ordered:
        digest.update(json.dumps([ordered["action"].tolist(), ordered["eligible"].tolist()]).encode())
        digest.update(_bytes(ordered["propensity"].to_numpy(dtype="<f8")))
    digest.update(_bytes(ordered[list(names)].to_numpy(dtype="<f8")))
    # The same values are other columns to learn from where inputs differ.
    digest.update(json.dumps(inputs.to_json(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _bytes(values: np.ndarray) -> bytes:
    values = values + 0.0  # one zero, not two
    values[np.isnan(values)] = np.nan  # one NaN out of many bit patterns
    return values.tobytes()


def lake_version(lake: Path) -> int:
    """The newest version of the lake. Raises UserError where there is none."""
    if not DeltaTable.is_deltatable(str(lake)):
        hint = "ingest a file first: twin ingest --source NAME FILE"
        raise UserError("There are no events yet.", [Problem("lake", "a table of events", "nothing there", hint)])
    return DeltaTable(str(lake)).version()


def _with_folds(rows: pd.DataFrame, config: LearningConfig) -> pd.DataFrame:
    """Inside train, all rows of a customer share a fold."""
    folds = rows["customer_id"].map(lambda customer: fold_of(customer, config.split.folds))
    rows = rows.assign(fold=folds.where(rows["part"] == TRAIN, -1).astype("int64"))
    return rows[[*ID_COLUMNS, *(name for name in ACTION_COLUMNS if name in rows)]]


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    def instants(column: str) -> pd.Series:
        return pd.to_datetime(rows[column], unit="us", utc=True).astype("datetime64[us, UTC]")

    return rows.assign(as_of=instants("as_of"), snapshot=instants("snapshot"))


def _manifest(
    settings: Settings,
    config: LearningConfig,
    rows: pd.DataFrame,
    names: tuple[str, ...],
    pinned: tuple[int, int],
    log: LogRange,
    inputs: ModelInputs,
) -> DatasetManifest:
    positive = is_positive(rows["label"], config.label)
    grouped = rows.assign(label=positive).groupby(["snapshot", "part"])["label"].agg(["size", "sum"]).reset_index()
    snapshots = (Snapshot(int(as_of), str(part), int(n), int(k)) for as_of, part, n, k in grouped.to_numpy())
    label = config.label
    return DatasetManifest(
        config.name,
        config.feature_service,
        names,
        settings.features.hash,
        *pinned,
        config.hash,
        content_hash(rows, value_columns(rows), inputs),
        microseconds(label.horizon),
        microseconds(label.gap),
        log.start,
        log.end,
        tuple(snapshots),
        inputs,
        label.model_dump(mode="json"),
    )


def _summary(dataset: Dataset, label: Label, folder: Path, notes: list[str]) -> DatasetSummary:
    manifest, rows = dataset.manifest, dataset.rows
    train, test = dataset.part("train"), dataset.part("test")
    return DatasetSummary(
        manifest.model,
        str(folder / DATASET),
        len(manifest.features),
        rows["customer_id"].nunique(),
        len(train),
        len(test),
        float(is_positive(train["label"], label).mean()),
        float(is_positive(test["label"], label).mean()),
        manifest.snapshots,
        tuple(notes),
        manifest.lake_version,
        manifest.dataset_hash,
        tuple(count_actions(rows, ["part"])) if label.kind == "action" else (),
    )
