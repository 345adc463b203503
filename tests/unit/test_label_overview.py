"""`twin labels explain`: counts held against the oracle, words for each kind, and warnings that are due."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from feature_repo.windows import DAY
from pipelines import label_words
from pipelines.dataset import LabelOverview, label_overview
from pipelines.settings import Settings
from pipelines.settings.labels import Label
from pipelines.settings.models import CompanionConfig, ModelConfig
from tests.e2e.made_up_lake import BEGIN, Made, write_lake
from tests.reference.labels import Event, labels_at, labels_at_openings
from tests.unit.model_parts import make_settings

ACTIVE = {"qualifying_events": ["Order Completed"], "activity_window": "30d", "horizon": "20d"}
LABELS: dict[str, dict[str, Any]] = {
    "churn": ACTIVE,
    "value": {**ACTIVE, "add": ["Order Completed"], "subtract": ["Order Refunded"]},
    "next_event": ACTIVE,
    "conversion": {
        "opened_by": ["Direct Mail Sent"], "open_for": "15d", "goal_events": ["Order Completed"], "horizon": "20d",
        "closed_by": ["Unsubscribed"], "exclude": {"events": ["Order Refunded"], "within": "40d"},
    },
}  # fmt: skip


def events(customers: int = 90, days: int = 140) -> list[Made]:
    generator = np.random.default_rng(1)
    kinds = {"Order Completed": 0.06, "Order Refunded": 0.004, "Direct Mail Sent": 0.03, "Unsubscribed": 0.005}
    made = []
    for number in range(customers):
        for kind, rate in kinds.items():
            for day in np.flatnonzero(generator.random(days) < rate):
                properties = {"campaign_id": str(generator.integers(2))} if generator.random() < 0.9 else {}
                value = int(generator.integers(100, 5000))
                made.append(Made(f"c{number}", kind, day + generator.random(), "web", value, properties))
    return made


def config_of(kind: str, at: str = "calendar", **said: Any) -> ModelConfig | CompanionConfig:
    history = {"recency": "a", "frequency": "b", "age": "c"}
    shared = {
        "name": "rule", "description": "A rule.", "owner": "-", "feature_service": "churn",
        "label": {"kind": kind, **LABELS[kind], **said}, "split": {"test_snapshots": 2},
        "snapshots": {"at": at, "every": "10d", "most": 9, "at_least_customers": 1},
        "tune": {"trials": 1, "budget_seconds": 1},
    }  # fmt: skip
    if kind in ("value", "next_event"):
        return CompanionConfig.model_validate({**shared, "bg_nbd": history, "monetary": "m"})
    return ModelConfig.model_validate({**shared, "baselines": {"logistic": {"features": ["a"]}}})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = make_settings(tmp_path_factory.mktemp("overview"))
    write_lake(settings.workspace, events())
    return settings


def log() -> list[Event]:
    found = []
    for made in events():
        at = BEGIN + int(made.day * DAY)
        found.append(Event(made.customer, made.event, at, at, made.value, made.properties.get("campaign_id")))
    return found


def instant(day: str) -> int:
    return int(np.datetime64(day, "us").astype("int64"))


@pytest.mark.parametrize("kind", list(LABELS))
def test_counts_are_those_of_the_oracle(project: Settings, kind: str) -> None:
    config = config_of(kind)
    overview = label_overview(project, config)
    first_test = min(instant(s.day) for s in overview.snapshots if s.part == "test")
    assert {s.part for s in overview.snapshots} == {"train", "dropped", "test"}
    for snapshot in overview.snapshots:
        known_by = first_test if snapshot.part == "train" else 2**63
        expected = [label for *_, label in labels_at(log(), config.label, [instant(snapshot.day)], known_by)]
        assert snapshot.rows == snapshot.customers == len(expected)
        assert snapshot.positives == sum(label >= 0 if kind == "next_event" else label > 0 for label in expected)
        if kind == "value":
            assert snapshot.mean == pytest.approx(np.mean(expected))
        if kind == "next_event":
            assert snapshot.median_days == pytest.approx(np.median([x for x in expected if x >= 0]) / DAY)


def test_openings_are_counted_by_span(project: Settings) -> None:
    config = config_of("conversion", "opening", match="campaign_id")
    overview = label_overview(project, config)
    for snapshot in overview.snapshots:
        if snapshot.part == "test":
            begin = instant(snapshot.day)
            expected = labels_at_openings(log(), config.label, begin, begin + 10 * DAY)  # type: ignore[arg-type]
            assert (snapshot.rows, snapshot.positives) == (len(expected), sum(label for *_, label in expected))
            assert snapshot.customers == len({customer for _, customer, _ in expected})
    told = " ".join(overview.left_out)
    without = sum(e.event == "Direct Mail Sent" and e.campaign is None for e in log())
    assert f"{without:,} openings without campaign_id" in told
    for reason in ("past the first test instant", "whose labels are not known yet", "Order Refunded before"):
        assert reason in told


def test_who_may_not_train_is_told(project: Settings) -> None:
    source = project.source("online_retail")
    assert source.consent is not None
    profiling = source.consent.model_copy(update={"purposes": ("profiling",)})
    sources = {"online_retail": source.model_copy(update={"consent": profiling})}
    overview = label_overview(replace(project, sources=sources), config_of("churn"))
    assert overview.snapshots == ()
    assert any("allow training" in reason for reason in overview.left_out)
    assert any("no dataset can be made" in warning for warning in overview.warnings)


def warnings_of(folder: Path, made: list[Made], config: ModelConfig | CompanionConfig) -> str:
    settings = make_settings(folder)
    write_lake(settings.workspace, made)
    return " ".join(label_overview(settings, config).warnings)


def test_warnings_are_given_where_they_are_due(tmp_path: Path) -> None:
    weekly = [Made(f"c{n}", "Order Completed", d + n / 100, "web") for n in range(60) for d in range(0, 140, 7)]
    assert "all 120 labels of test are 0" in warnings_of(tmp_path / "one", weekly, config_of("churn"))
    # Half of the customers fall silent in the same week.
    silent = [made for made in weekly if int(made.customer[1:]) % 2 or made.day < 100]
    told = warnings_of(tmp_path / "two", silent, config_of("churn"))
    assert "drifts by more than 1.5: 0.0%" in told
    assert "120 test rows, where gates.minimum_test_rows asks for 200" in told


@pytest.mark.parametrize("kind", list(LABELS))
def test_the_text_draws_the_rate(project: Settings, kind: str) -> None:
    overview: LabelOverview = label_overview(project, config_of(kind))
    highest = max(overview.snapshots, key=lambda snapshot: snapshot.rate)
    lines = overview.text().splitlines()
    (line,) = [line for line in lines if line.strip().startswith(highest.day)]
    assert line.count("█") == 30
    assert lines[0] == f"Labels of rule ({kind}): A rule."


@pytest.mark.parametrize(
    ("kind", "at", "said", "words"),
    [
        ("churn", "calendar", {}, ["“Order Completed” in the 30 days before", "the 20 days after it hold no such"]),
        ("churn", "calendar", {"gap": "1d"}, ["the 20 days that begin 1 day after it"]),
        ("value", "calendar", {}, ["the value of “Order Completed” less that of “Order Refunded”", "minor units"]),
        ("next_event", "calendar", {"gap": "2d"}, ["the time from 2 days after it to the first such event", "-1"]),
        ("conversion", "calendar", {}, ["open opportunity", "no “Unsubscribed” or “Order Completed” since",
                                        "who had an event “Order Refunded” in the 40 days before"]),
        ("conversion", "opening", {"match": "campaign_id"}, ["right after an event “Direct Mail Sent”",
                                                              "agree in campaign_id", "of the same campaign_id"]),
    ],
)  # fmt: skip
def test_the_rule_is_told_in_words(kind: str, at: str, said: dict[str, Any], words: list[str]) -> None:
    label = TypeAdapter(Label).validate_python({"kind": kind, **LABELS[kind], **said})
    told = label_words.label_definition(label, at)
    for text in words:
        assert text in told
    assert ("probability" in told) == (kind in ("churn", "conversion"))
