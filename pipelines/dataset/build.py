"""From the lake to `dataset.parquet`: population, labels, features, parts and folds."""

from __future__ import annotations

import hashlib
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
from pipelines.artefacts import DATASET, ID_COLUMNS, Dataset, DatasetManifest, Snapshot, save_dataset
from pipelines.console import UserError, progress
from pipelines.dataset.consent import barred_from_training
from pipelines.dataset.features import historical_features
from pipelines.dataset.inputs import model_inputs
from pipelines.dataset.labels import label_rows, log_range
from pipelines.dataset.snapshots import LogRange, SnapshotPlan, day, plan_snapshots
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ModelConfig

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What was made. Positive means churned; instants are int64 microseconds UTC."""

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
            *(f"  Note: {note}" for note in self.notes),
            f"  {self.path}",
        ]
        return "\n".join(lines)


def build_dataset(settings: Settings, config: ModelConfig, store: FeatureStore) -> DatasetSummary:
    """Make the dataset of one model from one version of the lake, and save it with its manifest.

    `store` is an open Feast feature store over the same lake; where it is pinned to a version of the
    lake, population and labels are read from that version too.

    Raises:
        UserError: no events, a history that is too short, too few customers, labels all alike, or a
            lake that changed while its features were read.
    """
    lake = settings.workspace.lake
    newest, pinned = _lake_version(lake), getattr(store.config.offline_store, "lake_version", None)
    version = newest if pinned is None else int(pinned)
    membership = current_membership(settings)
    # Features are read as of the same version of the identity map as population and labels.
    store.config.offline_store.membership_version = membership.version
    with duckdb.connect() as connection:
        register_customer_events(connection, lake, version, membership=membership)
        log = log_range(connection, config.label)
        plan = plan_snapshots(config, log)
        train = label_rows(connection, config.label, plan.train, known_by=plan.test[0])
        rows = pd.concat([train, label_rows(connection, config.label, plan.test)], ignore_index=True)
        barred = barred_from_training(connection, settings)
    kept = ~rows["customer_id"].isin(barred)
    left_out = int(rows.loc[~kept, "customer_id"].nunique())
    rows, notes = _populated(rows[kept].reset_index(drop=True), plan, config)
    if left_out:
        purpose = settings.consent.uses.training
        notes.append(
            f"{left_out:,} customers are left out: neither they nor all sources of their events allow {purpose}"
        )
    rows = _split(rows, plan, config)
    _check(rows, config)
    names = settings.features.service_features(config.feature_service)
    with progress(f"Features of {len(rows):,} rows"):
        values = _values(settings, config, store, rows, names)
    if pinned is None and _lake_version(lake) != version:
        raise UserError("Events were ingested while the dataset was being made. Nothing was saved; run it again.")
    rows = pd.concat([rows, values], axis=1)
    inputs = model_inputs(config, rows, names)
    manifest = _manifest(settings, config, rows, names, (version, membership.version), log, inputs)
    dataset = Dataset(_typed(rows), manifest)
    folder = settings.workspace.artefacts(config.name)
    save_dataset(folder, dataset)
    return _summary(dataset, folder, notes)


def _values(
    settings: Settings, config: ModelConfig, store: FeatureStore, rows: pd.DataFrame, names: tuple[str, ...]
) -> pd.DataFrame:
    """The model's features, then those that only simple models and slices read: no input of the model."""
    values = historical_features(store, store.get_feature_service(config.feature_service), rows, names)
    others = sorted(set(config.other_features) - set(names))
    if not others:
        return values
    references = [f"{settings.features.by_name[name].view}:{name}" for name in others]
    return pd.concat([values, historical_features(store, references, rows, others)], axis=1)


def fold_of(customer_id: str, folds: int) -> int:
    """The fold of all rows of a customer, the same in every run and on every machine."""
    return int.from_bytes(hashlib.blake2b(customer_id.encode(), digest_size=8).digest(), "big") % folds


def content_hash(rows: pd.DataFrame, names: tuple[str, ...]) -> str:
    """SHA-256 (16 hex digits) over ids, labels, parts, folds and values; row order does not matter."""
    ordered = rows.sort_values(["as_of", "customer_id"])
    digest = hashlib.sha256("\n".join(names).encode())
    for column in ("customer_id", "part"):
        digest.update("\n".join(ordered[column]).encode())
    digest.update(ordered[["as_of", "label", "fold"]].to_numpy(dtype="<i8").tobytes())
    values = ordered[list(names)].to_numpy(dtype="<f8") + 0.0  # one zero, not two
    values[np.isnan(values)] = np.nan  # one NaN out of many bit patterns
    digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _lake_version(lake: Path) -> int:
    if not DeltaTable.is_deltatable(str(lake)):
        hint = "ingest a file first: twin ingest --source NAME FILE"
        raise UserError("There are no events yet.", [Problem("lake", "a table of events", "nothing there", hint)])
    return DeltaTable(str(lake)).version()


def _populated(rows: pd.DataFrame, plan: SnapshotPlan, config: ModelConfig) -> tuple[pd.DataFrame, list[str]]:
    """Drop train snapshots with too few customers, and say what was dropped and why."""
    least = config.snapshots.at_least_customers
    counts = rows.groupby("as_of").size()
    sparse = [instant for instant in plan.train + plan.test if counts.get(instant, 0) < least]
    usable = set(plan.train + plan.test) - set(sparse)
    if not usable & set(plan.train) or not usable.issuperset(plan.test):
        found = ", ".join(f"{day(instant)}: {counts.get(instant, 0)}" for instant in sparse)
        hint = "lower it, lengthen label.activity_window, or ingest more customers"
        problem = Problem("snapshots.at_least_customers", f"{least} active customers a snapshot", found, hint)
        raise UserError(f"Too few customers to learn {config.name} from.", [problem])
    notes = []
    if plan.dropped:
        notes.append(
            f"{len(plan.dropped)} snapshots from {day(plan.dropped[0])} to {day(plan.dropped[-1])} are left out: "
            f"their labels reach past the first test instant {day(plan.test[0])}"
        )
    if sparse:
        notes.append(f"{len(sparse)} snapshots with fewer than {least} customers are left out")
    return rows[rows["as_of"].isin(usable)].reset_index(drop=True), notes


def _split(rows: pd.DataFrame, plan: SnapshotPlan, config: ModelConfig) -> pd.DataFrame:
    """Out of time: the test is later. Inside train, all rows of a customer share a fold."""
    is_test = rows["as_of"].isin(plan.test)
    folds = rows["customer_id"].map(lambda customer: fold_of(customer, config.split.folds))
    part = np.where(is_test, "test", "train")
    rows.insert(2, "snapshot", rows["as_of"])
    return rows.assign(part=part, fold=folds.where(~is_test, -1).astype("int64"))


def _check(rows: pd.DataFrame, config: ModelConfig) -> None:
    train = rows[rows["part"] == "train"]
    if train["fold"].nunique() < config.split.folds:
        found = f"{train['customer_id'].nunique()} customers"
        raise UserError("Too few customers to cross-validate.", [Problem("split.folds", "a customer in each", found)])
    for part, label in rows.groupby("part")["label"]:
        if label.nunique() == 1:
            got = f"{len(label):,} rows, all of them {label.iloc[0]}"
            hint = "change label.horizon or label.activity_window"
            raise UserError(
                "There is nothing to tell apart.", [Problem(f"labels of {part}", "both 0 and 1", got, hint)]
            )


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    instants = pd.to_datetime(rows["as_of"], unit="us", utc=True).astype("datetime64[us, UTC]")
    return rows.assign(as_of=instants, snapshot=instants)


def _manifest(
    settings: Settings,
    config: ModelConfig,
    rows: pd.DataFrame,
    names: tuple[str, ...],
    pinned: tuple[int, int],
    log: LogRange,
    inputs: ModelInputs,
) -> DatasetManifest:
    grouped = rows.groupby(["snapshot", "part"])["label"].agg(["size", "sum"]).reset_index()
    snapshots = (Snapshot(int(as_of), str(part), int(n), int(k)) for as_of, part, n, k in grouped.to_numpy())
    label = config.label
    return DatasetManifest(
        config.name,
        config.feature_service,
        names,
        settings.features.hash,
        *pinned,
        config.hash,
        content_hash(rows, tuple(name for name in rows.columns if name not in ID_COLUMNS)),
        microseconds(label.horizon),
        microseconds(label.gap),
        log.start,
        log.end,
        tuple(snapshots),
        inputs,
    )


def _summary(dataset: Dataset, folder: Path, notes: list[str]) -> DatasetSummary:
    manifest, rows = dataset.manifest, dataset.rows
    train, test = dataset.part("train"), dataset.part("test")
    return DatasetSummary(
        manifest.model,
        str(folder / DATASET),
        len(manifest.features),
        rows["customer_id"].nunique(),
        len(train),
        len(test),
        float(train["label"].mean()),
        float(test["label"].mean()),
        manifest.snapshots,
        tuple(notes),
        manifest.lake_version,
        manifest.dataset_hash,
    )
