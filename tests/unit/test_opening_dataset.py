"""A dataset whose rows are right after openings: spans, split, labels, and the same rows made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.windows import DAY
from pipelines.artefacts import DATASET, DATASET_MANIFEST, Dataset, load_dataset
from pipelines.dataset import build_dataset
from pipelines.dataset.again import DatasetAgain
from pipelines.dataset.build import DatasetSummary
from pipelines.feature_store import open_feature_store
from pipelines.identity.current import current_membership
from pipelines.leakage.truncated import CutLog, truncated_log
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from tests.made_up_lake import BEGIN, Made, write_lake
from tests.reference.labels import Event, labels_at_openings
from tests.unit.model_parts import make_settings

EVERY, HORIZON = 15 * DAY, 12 * DAY


def mailings(customers: int = 150, days: int = 150) -> list[Made]:
    """Half of the coupons are of another campaign than the mailing; who redeemed before is likelier to."""
    generator = np.random.default_rng(4)
    made = []
    for number in range(customers):
        customer, liking = f"c{number}", generator.random()
        for day in np.flatnonzero(generator.random(days) < 0.05):
            at, campaign = float(day) + generator.random(), str(generator.integers(3))
            made.append(Made(customer, "Direct Mail Sent", at, "mail", None, {"campaign_id": campaign}))
            if generator.random() < 0.6 * liking:
                said = {"campaign_id": campaign if generator.random() < 0.7 else "other", "coupon_id": "x"}
                made.append(Made(customer, "Coupon Applied", at + generator.uniform(0, 14), "pos", None, said))
    return made


def config_of(project: Settings, **label: Any) -> ModelConfig:
    raw = project.model("coupon_redemption").model_dump()
    raw["label"] |= {"horizon": "12d", "open_for": "20d", "arrival_delay": "0d", **label}
    raw["snapshots"] |= {"every": "15d", "at_least_customers": 5}
    raw["split"] |= {"test_snapshots": 2}
    return ModelConfig.model_validate(raw)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = make_settings(tmp_path_factory.mktemp("openings"))
    write_lake(settings.workspace, mailings())
    return settings


@pytest.fixture(scope="module")
def summary(project: Settings) -> DatasetSummary:
    return build_dataset(project, config_of(project), open_feature_store(project))


@pytest.fixture
def dataset(project: Settings, summary: DatasetSummary) -> Dataset:
    return load_dataset(Path(summary.path).parent)


def log() -> list[Event]:
    found = []
    for made in mailings():
        at = BEGIN + int(made.day * DAY)
        found.append(Event(made.customer, made.event, at, at, made.value, made.properties["campaign_id"]))
    return found


def in_microseconds(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(as_of=rows["as_of"].astype("int64"), snapshot=rows["snapshot"].astype("int64"))


def test_rows_are_those_of_the_oracle(project: Settings, dataset: Dataset) -> None:
    rows, label = in_microseconds(dataset.rows), config_of(project).label
    spans = sorted(rows["snapshot"].unique())
    assert set(np.diff(spans)) <= {EVERY, 2 * EVERY}, "what lies between train and test is left out"
    assert ((rows["as_of"] >= rows["snapshot"]) & (rows["as_of"] < rows["snapshot"] + EVERY)).all()
    assert rows[["customer_id", "as_of"]].duplicated().sum() == 0

    test_begins, end = spans[-2], spans[-1] + EVERY
    test, train = rows[rows["part"] == "test"], rows[rows["part"] == "train"]
    assert sorted(test["snapshot"].unique()) == spans[-2:]
    assert (train["as_of"] + HORIZON <= test_begins).all()
    expected = labels_at_openings(log(), label, test_begins, end)  # type: ignore[arg-type]
    assert list(test[["as_of", "customer_id", "label"]].itertuples(index=False, name=None)) == expected
    known = [event for event in log() if event.available_at <= test_begins]
    learned = labels_at_openings(known, label, spans[0], test_begins - HORIZON + 1)  # type: ignore[arg-type]
    first = BEGIN + int(min(made.day for made in mailings() if made.event == "Coupon Applied") * DAY)
    learned = [row for row in learned if row[0] >= first]
    assert list(train[["as_of", "customer_id", "label"]].itertuples(index=False, name=None)) == learned
    # The opening itself is seen: its day is the last.
    assert (dataset.rows["direct_mail_sent_count_90d"] >= 1).all()


def test_what_lies_between_is_told(dataset: Dataset, summary: DatasetSummary) -> None:
    begins = dataset.part("test")["snapshot"].min().date()
    assert any(note.endswith(f"reach past the first test instant {begins}") for note in summary.notes)
    assert [s.part for s in summary.snapshots][-2:] == ["test", "test"]
    assert sum(s.customers for s in summary.snapshots) == len(dataset.rows)


def test_it_is_the_same_to_the_byte(project: Settings, summary: DatasetSummary) -> None:
    files = [Path(summary.path).parent / name for name in (DATASET, DATASET_MANIFEST)]
    before = [file.read_bytes() for file in files]
    build_dataset(project, config_of(project), open_feature_store(project))
    assert [file.read_bytes() for file in files] == before


def test_it_is_made_again_from_a_cut_log(project: Settings, dataset: Dataset) -> None:
    config, store = config_of(project), open_feature_store(project)
    again = DatasetAgain(project, config, store)
    whole = CutLog(project.workspace.lake, current_membership(project))
    rows = in_microseconds(dataset.part("test"))
    made = again.labels(whole, rows).merge(rows, on=["customer_id", "as_of"], suffixes=("", "_of_dataset"))
    assert len(made) == len(rows)
    assert (made["label"] == made["label_of_dataset"]).all()
    assert truncated_log(project, dataset, again, config.label.window, 60).figure == 0
