"""The dataset of actions over campaigns months apart and decisions: split, columns, what is left out, and warnings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.windows import DAY
from pipelines import label_words
from pipelines.artefacts import DATASET, DATASET_MANIFEST, Dataset, load_dataset, value_columns
from pipelines.console import UserError
from pipelines.dataset import DatasetSummary, action_overview, build_dataset
from pipelines.dataset.action_counts import count_actions
from pipelines.dataset.action_overview import OFF_BY, off_by
from pipelines.dataset.build import content_hash
from pipelines.expressions import Kind
from pipelines.expressions.expression import compile_expression
from pipelines.feature_store import open_feature_store
from pipelines.settings import Settings, load_settings
from pipelines.settings.models import ActionModelConfig
from tests.made_up_lake import BEGIN, Made, write_lake
from tests.reference.labels import Event, action_rows
from tests.unit.model_parts import make_settings

FIRST, SECOND = 40.25, 150.25
CHANCES = {"control": 400_000, "email": 300_000, "line": 300_000}


def orders(customers: int, days: int = 200) -> list[Made]:
    generator = np.random.default_rng(4)
    return [
        Made(f"c{number}", "Order Completed", day + generator.random(), "web", int(generator.integers(100, 9000)))
        for number in range(customers)
        for day in np.flatnonzero(generator.random(days) < 0.02)
    ]


def campaign(customers: int, at: float, seed: int, chances: dict[str, int] = CHANCES) -> list[Made]:
    generator = np.random.default_rng(seed)
    arms = generator.choice(list(chances), customers, p=np.array(list(chances.values())) / 1_000_000)
    return [
        Made(f"c{n}", "Campaign Assigned", at, "crm", None, {"arm": str(arm), "propensity_ppm": chances[str(arm)]})
        for n, arm in enumerate(arms)
    ]


def decision(customer: str, at: float, action: str = "email", **said: Any) -> Made:
    properties = {"action_id": action, "propensity": 0.5, "eligible": ["email", "no_action"], "holdout": False, **said}
    return Made(customer, "Decision Made", at, "back_office", None, properties)


def two_waves() -> list[Made]:
    mistaken = Made("c7", "Campaign Assigned", SECOND + 1, "crm", None, {"arm": "line", "propensity_ppm": 0})
    nobody = Made("c8", "Campaign Assigned", SECOND + 1, "crm", None, {"propensity_ppm": 1})
    decisions = [
        decision("c3", SECOND + 2),
        decision("c4", SECOND + 2, "no_action", holdout=True),
        decision("c5", 100),  # alone in its span
        decision("c6", SECOND - 20),  # whose outcome reaches past the first test instant
    ]
    bought_at_once = Made("c0", "Order Completed", SECOND, "web", 500)
    return [
        *orders(300), *campaign(300, FIRST, 1), *campaign(300, SECOND, 2), mistaken, nobody, *decisions, bought_at_once
    ]  # fmt: skip


def config_of(project: Settings, **label: Any) -> ActionModelConfig:
    raw = project.action_model("next_best_action").model_dump()
    raw["label"] |= {"actions": {"control": "no_action"}, **label}
    raw["snapshots"] |= {"at_least_customers": 20}
    return ActionModelConfig.model_validate(raw)


def project_of(folder: Path, events: list[Made]) -> Settings:
    settings = replace(make_settings(folder), catalogue=None)
    write_lake(settings.workspace, events)
    return settings


def made(project: Settings, config: ActionModelConfig | None = None) -> tuple[DatasetSummary, Dataset]:
    summary = build_dataset(project, config or config_of(project), open_feature_store(project))
    return summary, load_dataset(Path(summary.path).parent)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return project_of(tmp_path_factory.mktemp("actions"), two_waves())


@pytest.fixture(scope="module")
def found(project: Settings) -> tuple[DatasetSummary, Dataset]:
    return made(project)


def instants(rows: pd.DataFrame, column: str) -> list[int]:
    return [int(at) for at in rows[column].astype("int64")]


def log() -> list[Event]:
    at = [BEGIN + int(one.day * DAY) for one in two_waves()]
    return [
        Event(one.customer, one.event, t, t, one.value, None, one.properties)
        for one, t in zip(two_waves(), at, strict=True)
    ]


def test_the_newest_span_with_assignments_is_the_test_however_long_nobody_was_assigned_anything(
    project: Settings, found: tuple[DatasetSummary, Dataset]
) -> None:
    _, dataset = found
    train, test = dataset.part("train"), dataset.part("test")
    assert set(instants(train, "as_of")) == {BEGIN + int(FIRST * DAY)}
    assert set(instants(test, "as_of")) == {BEGIN + int(at * DAY) for at in (SECOND, SECOND + 2)}
    (span,) = set(instants(test, "snapshot"))
    assert span <= min(instants(test, "as_of"))
    assert max(instants(test, "as_of")) < span + 7 * DAY
    label = config_of(project).label
    for part, known_by in ((train, span), (test, 2**63)):
        begin, end = min(instants(part, "as_of")), max(instants(part, "as_of")) + 1
        expected, _ = action_rows(log(), label, begin, end, 0, 1, known_by)
        columns = [part[name].tolist() for name in ("customer_id", "label", "action", "propensity", "eligible")]
        assert list(zip(instants(part, "as_of"), *columns, strict=True)) == [
            (row.as_of, row.customer_id, row.reward, row.action, row.propensity, row.eligible) for row in expected
        ]
    assert train["fold"].nunique() == 5
    assert set(test["fold"]) == {-1}


def test_it_has_the_columns_of_actions_before_its_features(found: tuple[DatasetSummary, Dataset]) -> None:
    _, dataset = found
    assert list(dataset.rows.columns[6:9]) == ["action", "propensity", "eligible"]
    assert value_columns(dataset.rows) == dataset.manifest.features
    assert dataset.features("train").dtypes.eq("float64").all()
    assert set(dataset.rows["action"]) == {"no_action", "email", "line"}
    assert dataset.rows["label"].dtype == "int64"


def test_what_an_action_does_is_not_seen_but_counts(found: tuple[DatasetSummary, Dataset]) -> None:
    """c0 bought at the very instant of its assignment."""
    rows = found[1].part("test")
    row = rows[rows["customer_id"] == "c0"].iloc[0]
    before = [e for e in log() if e.customer_id == "c0" and e.event == "Order Completed"]
    begin = BEGIN + int(SECOND * DAY)
    assert row["order_completed_count_90d"] == sum(begin - 90 * DAY <= e.event_time < begin for e in before)
    assert row["label"] == sum(begin <= e.event_time < begin + 30 * DAY for e in before) > 0


def test_a_decision_is_a_row_and_one_in_the_holdout_is_none(found: tuple[DatasetSummary, Dataset]) -> None:
    rows = found[1].rows
    decided = rows[rows["as_of"] == pd.Timestamp(BEGIN + int((SECOND + 2) * DAY), unit="us", tz="UTC")]
    assert decided[["customer_id", "action", "propensity"]].to_numpy().tolist() == [["c3", "email", 0.5]]
    assert decided["eligible"].tolist() == [("email", "no_action")]


def test_what_is_left_out_is_told(found: tuple[DatasetSummary, Dataset]) -> None:
    told = " ".join(found[0].notes)
    assert "1 assignments whose propensity is not above 0 and at most 1" in told
    assert "1 assignments without an action" in told
    assert "1 rows from 2026-05-11 to 2026-05-11 are left out: their labels reach past" in told
    assert "snapshots with fewer than 20 customers are left out: " in told
    assert "associational" not in told
    assert sum(one.rows for one in found[0].actions) == len(found[1].rows)
    assert "email" in found[0].text()
    assert all(one.standard_error is not None for one in found[0].actions)


def test_a_single_row_has_no_standard_error() -> None:
    rows = pd.DataFrame({"part": ["test"], "action": ["email"], "label": [2], "propensity": [0.5]})
    (counted,) = count_actions(rows, ["part"])
    assert (counted.mean, counted.standard_error) == (2.0, None)
    assert " ".join(counted.text().split()) == "email 1 rows 100.0% mean reward 2.0000 drawn with chance 0.5"


def test_it_is_the_same_to_the_byte(project: Settings, found: tuple[DatasetSummary, Dataset]) -> None:
    files = [Path(found[0].path).parent / name for name in (DATASET, DATASET_MANIFEST)]
    before = [file.read_bytes() for file in files]
    made(project)
    assert [file.read_bytes() for file in files] == before


@pytest.mark.parametrize(
    ("column", "value"), [("action", "line"), ("propensity", 0.125), ("propensity", np.nan), ("eligible", ("email",))]
)
def test_its_hash_is_over_what_was_assigned(found: tuple[DatasetSummary, Dataset], column: str, value: object) -> None:
    rows, manifest = found[1].rows, found[1].manifest
    changed = rows.copy()
    changed.at[int(np.flatnonzero(rows["action"] == "email")[0]), column] = value
    hashes = [content_hash(one, manifest.features, manifest.inputs) for one in (rows, rows.sample(frac=1.0), changed)]
    assert hashes[0] == hashes[1] == manifest.dataset_hash
    assert hashes[2] != hashes[0]


def test_of_a_single_campaign_customers_are_divided(tmp_path: Path) -> None:
    project = project_of(tmp_path, [*orders(300), *campaign(300, FIRST, 1)])
    summary, dataset = made(project)
    train, test = (set(dataset.part(part)["customer_id"]) for part in ("train", "test"))
    assert not train & test
    assert len(train | test) == 300
    assert 60 <= len(test) <= 120
    assert {s.part for s in summary.snapshots} == {"train", "test"}
    assert len({s.as_of for s in summary.snapshots}) == 1
    assert any("the same days of other customers" in note for note in summary.notes)
    overview = action_overview(project, config_of(project))
    assert any("the same days of other customers" in warning for warning in overview.warnings)


def test_what_the_catalogue_reads_to_say_what_an_action_is_worth_is_added(project: Settings) -> None:
    offered = load_settings().catalogue
    assert offered is not None
    read: dict[str, Kind] = {"order_refunded_count_90d": "number", "order_completed_value_mean_lifetime": "number"}
    value = compile_expression(" + ".join(read), read, "number")
    catalogue = replace(offered, actions=tuple(replace(action, value=value) for action in offered.actions))
    _, dataset = made(replace(project, catalogue=catalogue))
    assert set(value_columns(dataset.rows)) - set(dataset.manifest.features) == {"order_refunded_count_90d"}
    assert "order_completed_value_mean_lifetime" in dataset.manifest.features


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"actions": {"control": "a", "email": "b", "line": "c"}}, "rows of no_action"),
        ({"actions": {"email": "no_action", "line": "no_action", "control": "no_action"}}, "only no_action"),
    ],
)
def test_without_anybody_to_compare_with_nothing_is_made(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    project = project_of(tmp_path, [*orders(120), *campaign(120, FIRST, 1), *campaign(120, SECOND, 2)])
    with pytest.raises(UserError, match="nothing to compare") as caught:
        made(project, config_of(project, **changed))
    assert [problem.field for problem in caught.value.problems] == ["actions of test", "actions of train"]
    assert told in str(caught.value.problems[0])


def test_too_few_assignments_are_told_with_the_days_they_are_looked_for(tmp_path: Path) -> None:
    project = project_of(tmp_path, [*orders(120), *campaign(15, FIRST, 1), *campaign(120, 195, 2)])
    with pytest.raises(UserError, match="Too few assignments") as caught:
        made(project)
    (problem,) = caught.value.problems
    assert (problem.field, problem.got) == ("snapshots.at_least_customers", "15, 15 at most in a span")
    assert problem.hint


def test_what_nobody_drew_is_said_to_be_associational(tmp_path: Path) -> None:
    sent = [
        Made(f"c{n}", "Direct Mail Sent", at, "mail", None, {"campaign_id": "1", "campaign_type": "AB"[n % 2]})
        for at in (FIRST, SECOND)
        for n in range(60)
    ]
    project = project_of(tmp_path, [*orders(300), *sent])
    config = project.action_model("grocery_mailing").model_copy(update={"split": config_of(project).split})
    summary, dataset = made(project, config)
    assert dataset.rows["propensity"].isna().all()
    assert dataset.rows["eligible"].isna().all()
    assert set(dataset.rows["action"]) == {"mailing_a", "mailing_b", "no_action"}
    assert any("associational" in note for note in summary.notes)
    assert load_dataset(Path(summary.path).parent).manifest.label["others"]["within"] == "30d"
    overview = action_overview(project, config)
    assert not overview.randomised
    assert "not drawn" in overview.text()


def test_the_overview_counts_what_the_dataset_holds(project: Settings, found: tuple[DatasetSummary, Dataset]) -> None:
    overview, rows = action_overview(project, config_of(project)), found[1].rows
    for part in ("train", "test"):
        for action, own in rows[rows["part"] == part].groupby("action"):
            (counted,) = [one for one in overview.actions if (one.part, one.action) == (part, action)]
            assert (counted.rows, counted.positives) == (len(own), int((own["label"] > 0).sum()))
            assert counted.mean == pytest.approx(own["label"].mean())
            assert counted.lowest_propensity == own["propensity"].min()
    assert overview.randomised
    assert not any("standard errors" in warning for warning in overview.warnings)
    told = " ".join(overview.left_out)
    for reason in ("1 rows whose outcomes reach past", "spans with fewer than 20", "without an action"):
        assert reason in told


def test_chances_that_were_not_those_of_the_draw_are_told(tmp_path: Path) -> None:
    claimed = {"control": 400_000, "email": 300_000, "line": 300_000}
    drawn = campaign(300, FIRST, 1, {"control": 200_000, "email": 500_000, "line": 300_000})
    wrong = [
        replace(one, properties={**one.properties, "propensity_ppm": claimed[one.properties["arm"]]}) for one in drawn
    ]
    project = project_of(tmp_path, [*orders(100), *wrong, *campaign(300, SECOND, 2)])
    (low, high) = [w for w in action_overview(project, config_of(project)).warnings if "standard errors" in w]
    assert low.startswith("email was assigned more often")
    assert high.startswith("no_action was assigned less often")


def test_true_chances_are_off_by_standard_normal_errors() -> None:
    generator = np.random.default_rng(0)
    errors = []
    for _ in range(300):
        chances = generator.uniform(0.1, 0.6, 400)
        took = generator.random(400) < chances
        rows = pd.DataFrame(
            {"action": np.where(took, "a", "b"), "propensity": np.where(took, chances, 1 - chances), "eligible": None}
        )
        errors.append(off_by(rows, "a"))
    assert abs(np.mean(errors)) < 0.25
    assert 0.85 < np.std(errors) < 1.15
    assert np.abs(errors).max() < OFF_BY + 1


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({}, ["“Campaign Assigned” (arm, chances in propensity_ppm)", "only holdout false", "assigned no_action",
              "how many events “Order Completed” lie in the 30 days after it", "differences are effects"]),
        ({"gap": "1d", "reward": {"events": ["Order Completed"], "of": "any"}}, ["1 if the 30 days that begin 1 day"]),
        ({"assigned_by": [{"event": "Direct Mail Sent", "action": "campaign_type"}],
          "others": {"events": ["Order Completed"], "within": "20d"},
          "reward": {"events": ["Order Completed"], "of": "value", "subtract": ["Order Refunded"]}},
         ["with an event “Order Completed” in the 20 days before", "less that of “Order Refunded”", "associational"]),
    ],
)  # fmt: skip
def test_the_rule_is_told_in_words(project: Settings, label: dict[str, Any], words: list[str]) -> None:
    told = label_words.label_definition(config_of(project, **label).label, "opening")
    for text in words:
        assert text in told
