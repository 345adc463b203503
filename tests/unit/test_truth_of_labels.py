"""The truth of a model's labels, from the hidden states of the made-up retailer."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.cli.truth import demo_truth, read_truth
from pipelines.console import UserError
from pipelines.demo import DemoConfig
from pipelines.demo.churn_truth import churn_table
from pipelines.demo.clock import DAY
from pipelines.settings.models import ModelConfig
from tests.reference import churn_artefacts

DEMO = DemoConfig(customers=400, months=8, seed=3, end=date(2026, 6, 30))
CONVERSION = {
    "kind": "conversion", "opened_by": ["Product Added"], "open_for": "7d", "goal_events": ["Order Completed"],
    "horizon": "14d",
}  # fmt: skip


def _config(label: dict[str, Any], **snapshots: Any) -> ModelConfig:
    raw = churn_artefacts.config().model_dump(mode="json")
    return ModelConfig.model_validate({**raw, "label": label, "snapshots": {**raw["snapshots"], **snapshots}})


def _instants(known: pd.DataFrame) -> list[int]:
    return sorted({instant.value // 1000 for instant in known["as_of"]})


def test_truth_of_churn_is_that_of_the_retailers_own_file() -> None:
    known = churn_table(DEMO).to_pandas()
    found = demo_truth(DEMO, churn_artefacts.config(), _instants(known))
    both = known.merge(found, on=["customer_id", "as_of"], how="left", validate="one_to_one")
    assert len(both) == len(known) > 100
    assert (both["probability_x"] == both["probability_y"]).all()


def test_truth_of_conversion_is_that_an_order_comes_within_its_own_horizon() -> None:
    demo = DEMO.model_copy(update={"truth": DEMO.truth.model_copy(update={"horizon_days": 14})})
    known = churn_table(demo).to_pandas()
    found = demo_truth(DEMO, _config(CONVERSION), _instants(known))
    both = known.merge(found, on=["customer_id", "as_of"], how="left", validate="one_to_one")
    assert (both["probability_y"] == 1 - both["probability_x"]).all()
    assert both["probability_y"].mean() == pytest.approx(1 - both["churned"].mean(), abs=0.03)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_config({**CONVERSION, "goal_events": ["Product Viewed"]}), "expected Order Completed, got Product Viewed"),
        (_config({**CONVERSION, "horizon": "12h"}), "label.horizon in part days"),
        (_config({**CONVERSION, "match": "campaign"}), "label.match"),
        (_config({**CONVERSION, "gap": "1d"}), "label.gap"),
        (_config(CONVERSION, at="opening"), "snapshots.at: expected calendar, got opening"),
    ],
)
def test_labels_whose_truth_is_not_known_are_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        demo_truth(DEMO, config, [])


def test_instants_that_the_retailer_has_none_of_are_refused() -> None:
    midnight = _instants(churn_table(DEMO).to_pandas())[0]
    with pytest.raises(UserError, match="00:00 UTC"):
        demo_truth(DEMO, churn_artefacts.config(), [midnight + 1])
    with pytest.raises(UserError, match="not within the days"):
        demo_truth(DEMO, churn_artefacts.config(), [midnight + 4000 * DAY])


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    settings = churn_artefacts.settings(tmp_path)
    with pytest.raises(UserError, match=r"no file .*nowhere.parquet"):
        read_truth(settings, churn_artefacts.config(), str(tmp_path / "nowhere.parquet"))
    pd.DataFrame({"customer_id": ["a"]}).to_parquet(tmp_path / "truth.parquet")
    assert len(read_truth(settings, churn_artefacts.config(), str(tmp_path / "truth.parquet"))) == 1
