"""Data that no model can be made of: `twin train` says why and what to do, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.settings import CHECKOUT, Workspace
from pipelines.tracking import connect
from tests.e2e.cli import throwaway_workspace, twin
from tests.e2e.made_up_lake import Made, write_lake

MODEL: dict[str, Any] = {
    "name": "hopeless", "description": "-", "owner": "tests", "feature_service": "some",
    "label": {"kind": "churn", "qualifying_events": ["Order Completed"], "activity_window": "30d", "horizon": "20d"},
    "snapshots": {"every": "10d", "most": 12}, "tune": {"trials": 1, "budget_seconds": 5, "rounds": 10},
    "baselines": {"logistic": {"features": ["order_completed_count_30d"]}},
}  # fmt: skip


def orders(customers: int = 120, days: int = 150, of_each: Callable[[int], float] = lambda _: 0.1) -> list[Made]:
    """Customers who order now and then; half of them stop on the way."""
    generator = np.random.default_rng(0)
    events = []
    for number in range(customers):
        last = generator.integers(40, days) if number % 2 else days
        for day in np.flatnonzero(generator.random(last) < of_each(number)):
            events.append(Made(f"c{number}", "Order Completed", float(day) + 0.5, "web", 1000))
    return events


def faithful() -> list[Made]:
    """Everybody orders every week."""
    return [
        Made(f"c{number}", "Order Completed", day + number / 1000, "web", 1000)
        for number in range(120)
        for day in range(0, 150, 7)
    ]


@pytest.fixture(scope="module")
def place() -> Iterator[Workspace]:
    with throwaway_workspace("hopeless") as workspace:
        yield workspace


def train(
    place: Workspace, folder: Path, events: list[Made], views: list[str], command: str = "train", **sections: Any
) -> Any:
    """Run a step of a model of its own over `events`, whose service reads `views`."""
    configs = Path(shutil.copytree(CHECKOUT / "configs", folder / "configs"))
    features = yaml.safe_load((configs / "features.yaml").read_text())
    features["services"]["some"] = {"description": "-", "views": views}
    (configs / "features.yaml").write_text(yaml.safe_dump(features))
    (configs / "models" / "hopeless.yaml").write_text(yaml.safe_dump({**MODEL, **sections}))
    shutil.rmtree(place.lake, ignore_errors=True)
    write_lake(place, events)
    return twin(place, command, "hopeless", config_dir=configs)


CONVERSION = {
    "kind": "conversion", "opened_by": ["Product Added"], "open_for": "9d", "goal_events": ["Order Completed"],
    "horizon": "9d",
}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "views", "sections", "message", "remedy"),
    [
        pytest.param(faithful(), ["orders"], {}, "nothing to tell apart", "change label.horizon", id="one class"),
        pytest.param(
            orders(20), ["orders"], {}, "Too few customers", "ingest more customers", id="twenty customers"
        ),
        pytest.param(
            orders(), ["surveys"], {}, "No input of the model tells customers apart",
            "twin features list --service some", id="every feature is empty",
        ),
        pytest.param(
            orders(), ["email_delivered", "line_messages"], {}, "No input of the model tells customers apart",
            "twin features list --service some", id="every feature is constant",
        ),
        pytest.param(
            orders(), ["orders"], {"label": {**MODEL["label"], "horizon": "400d"}}, "history is too short",
            "shorten label.horizon", id="a horizon beyond the data",
        ),
        pytest.param(
            orders(), ["orders"], {"label": CONVERSION}, "nothing to label", "change label.opened_by", id="no opening",
        ),
        pytest.param(
            orders(), ["orders"],
            {"label": CONVERSION | {"opened_by": ["Order Completed"], "goal_events": ["Deal Won"]},
             "snapshots": {"at": "opening", "every": "10d", "most": 12}},
            "nothing to label", "change label.goal_events", id="no goal",
        ),
    ],
)  # fmt: skip
def test_hopeless_data_is_told(
    place: Workspace,
    tmp_path: Path,
    events: list[Made],
    views: list[str],
    sections: dict[str, Any],
    message: str,
    remedy: str,
) -> None:
    done = train(place, tmp_path, events, views, **sections)
    assert done.returncode == 1, done.stdout + done.stderr
    assert message in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    artefacts = place.artefacts("hopeless")
    assert not artefacts.exists() or not list(artefacts.iterdir())
    assert connect(place).search_registered_models() == []


def test_a_constant_feature_among_good_ones_is_a_note(place: Workspace, tmp_path: Path) -> None:
    done = train(place, tmp_path, orders(), ["orders", "email_delivered", "surveys"], "dataset")
    assert done.returncode == 0, done.stderr
    assert "inputs never vary in training" in done.stdout
    assert "inputs are empty in training" in done.stdout
    assert (place.artefacts("hopeless") / "dataset.parquet").exists()
