"""Mistakes in the label of a model of actions: all are told at once, with file and field."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.configuration import ConfigurationError
from pipelines.settings import CHECKOUT, load_settings

DRAWN = {"event": "Decision Made", "action": "action_id", "propensity": "propensity", "eligible": "eligible"}
SENT = {"event": "Direct Mail Sent", "action": "campaign_type"}
ORDERS = ["Order Completed"]


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))


def mistakes(configs: Path, label: dict[str, Any]) -> list[tuple[str, str]]:
    """Field and the whole text of each, all of which are of the model's file."""
    file = configs / "models" / "next_best_action.yaml"
    raw = yaml.safe_load(file.read_text())
    raw["label"] = {**raw["label"], **label}
    file.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigurationError) as raised:
        load_settings("test", configs)
    assert {Path(problem.file).name for problem in raised.value.problems} == {file.name}
    return [(problem.field, str(problem)) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("label", "field", "told"),
    [
        ({"assigned_by": [{**DRAWN, "event": "Decided"}]}, "label.assigned_by.0.event", "an event of events.yaml"),
        ({"assigned_by": [{**DRAWN, "action": "cost"}]}, "label.assigned_by.0.action", "that is a string"),
        ({"assigned_by": [DRAWN, {**DRAWN, "action": "x"}]}, "label.assigned_by.1.action", "not declared"),
        (
            {"assigned_by": [{**DRAWN, "propensity": "basis"}]},
            "label.assigned_by.0.propensity",
            "a number or an int",
        ),
        ({"assigned_by": [{**DRAWN, "eligible": "variant"}]}, "label.assigned_by.0.eligible", "that is a list"),
        ({"assigned_by": [{**DRAWN, "only": {"holdout": 0}}]}, "label.assigned_by.0.only.holdout", "type boolean"),
        (
            {"assigned_by": [{**DRAWN, "only": {"action_id": True}}]},
            "label.assigned_by.0.only.action_id",
            "a value that",
        ),
        ({"assigned_by": [{**DRAWN, "only": {"basis": "luck"}}]}, "label.assigned_by.0.only.basis", "one of: effect"),
        ({"assigned_by": [{**DRAWN, "only": {"record": "x"}}]}, "label.assigned_by.0.only.record", "a string or an"),
        ({"reward": {"events": ["Order Lost"]}}, "label.reward.events", "events of events.yaml"),
        ({"reward": {"events": ["Page Viewed"], "of": "value"}}, "label.reward.events", "events with `value:`"),
        (
            {"reward": {"events": ORDERS, "subtract": ["Order Refunded"]}},
            "label.reward.subtract",
            "only money is",
        ),
        (
            {"reward": {"events": ORDERS, "of": "value", "subtract": ORDERS}},
            "label.reward.subtract",
            "other events",
        ),
        ({"reward": {"events": ["Decision Made"]}}, "label.reward.events", "than those of label.assigned_by"),
        ({"others": {"events": ORDERS, "within": "9d"}, "assigned_by": [DRAWN]}, "label.others", "nobody was drawn"),
        ({"others": {"events": ["X"], "within": "9d"}, "assigned_by": [SENT]}, "label.others.events", "events.yaml"),
        (
            {"others": {"events": ORDERS, "within": "0d"}, "assigned_by": [SENT]},
            "label.others.within",
            "longer than",
        ),
        ({"assigned_by": [DRAWN], "actions": {"a": "b", "c": "b"}}, "label.actions", "its propensity is that of one"),
        ({"exclude": {"events": ["X"]}}, "label.exclude", "events of events.yaml"),
    ],
)
def test_a_mistake_is_told(configs: Path, label: dict[str, Any], field: str, told: str) -> None:
    ((found, text),) = mistakes(configs, label)
    assert found == field
    assert told in text


def test_all_are_told_at_once(configs: Path) -> None:
    label = {
        "assigned_by": [{**DRAWN, "action": "x", "propensity": "y", "eligible": "z"}],
        "reward": {"events": ["Order Lost"], "subtract": ["Order Refunded"]},
        "others": {"events": ORDERS, "within": "9d"},
    }
    assert {field for field, _ in mistakes(configs, label)} == {
        "label.assigned_by.0.action", "label.assigned_by.0.propensity", "label.assigned_by.0.eligible",
        "label.reward.events", "label.reward.subtract", "label.others",
    }  # fmt: skip


@pytest.mark.parametrize(
    "label",
    [
        {"actions": {"arm_7": "an_action_that_the_catalogue_lacks"}},
        {"exclude": {"events": ["Decision Made"], "within": "30d"}},  # who was decided on before
        {"assigned_by": [SENT], "actions": {"A": "mailing", "B": "mailing"}},  # no chance of one of them is logged
    ],
)
def test_what_can_be_meant_is_loaded(configs: Path, label: dict[str, Any]) -> None:
    file = configs / "models" / "next_best_action.yaml"
    raw = yaml.safe_load(file.read_text())
    raw["label"] = {**raw["label"], **label}
    file.write_text(yaml.safe_dump(raw))
    assert load_settings("test", configs).action_model("next_best_action").label.control == "no_action"
