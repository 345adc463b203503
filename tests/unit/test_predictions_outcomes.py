"""Served predictions against what happened: the model's own label at each as-of instant, and the figures made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.served import ServedVector, ShadowScore, encode_line, feature_list
from feature_repo.windows import DAY
from pipelines.cli.output import as_text, plain
from pipelines.console import UserError
from pipelines.predictions.happened import NO_EVENTS, NOT_ASKED, what_happened
from pipelines.predictions.outcomes import outcomes_of
from pipelines.predictions.shadow import compare_shadows
from pipelines.settings import Settings, Workspace, load_settings
from tests.made_up_lake import BEGIN, Made, write_lake

READS = feature_list("churn", "3", "0123", ["orders"])
CUSTOMERS, LAST_DAY = 60, 260.0
POINTS = [("c0", 100.0), ("c1", 100.0), ("c1", 130.5), ("c7", 150.0)]


def orders_of(number: int) -> list[float]:
    """Every third customer falls silent after day 110; the others order every 20 days."""
    every_20 = [float(day) for day in range(40 + number % 7, 260, 20)]
    return [day for day in every_20 if number % 3 or day < 110]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = replace(load_settings(), workspace=Workspace("outcomes", tmp_path_factory.mktemp("outcomes")))
    events = [Made(f"c{number}", "Order Completed", day) for number in range(CUSTOMERS) for day in orders_of(number)]
    write_lake(made.workspace, [*events, Made("late", "Order Completed", LAST_DAY)])
    return made


def at(day: float) -> int:
    return BEGIN + int(day * DAY)


def serve(settings: Settings, vectors: Sequence[ServedVector]) -> None:
    """These are the whole log."""
    settings.workspace.served.mkdir(parents=True, exist_ok=True)
    lines = b"".join(map(encode_line, [READS, *vectors]))
    (settings.workspace.served / "2026-06-01-00000000.jsonl").write_bytes(lines)


def served(who: str, day: float, probability: float, shadow: float | None = None, number: int = 0) -> ServedVector:
    vector = ServedVector(f"r{number}", who, at(day) + number, at(day), 1, 0, READS.id, [1], probability, 0.0)
    score = ShadowScore("churn", "4", 0.0, shadow if shadow is not None else 0.0)
    return vector if shadow is None else ServedVector(**{**_fields(vector), "shadow": (score,)})


def _fields(vector: ServedVector) -> dict[str, object]:
    return {name: getattr(vector, name) for name in vector.__struct_fields__}


def slow_label(number: int, day: float) -> int | None:
    """Churn read off the orders, one by one: 90 days of activity, 60 days of horizon."""
    orders = orders_of(number)
    if not any(day - 90 <= order < day for order in orders):
        return None
    return int(not any(day <= order < day + 60 for order in orders))


def test_labels_are_those_of_a_slow_oracle_at_each_own_instant(settings: Settings) -> None:
    points = [(number, day + 0.37 * number) for number in range(CUSTOMERS) for day in (60.0, 115.0, 170.0)]
    config = settings.models["churn"]
    happened = what_happened(settings, config.label, [(f"c{number}", at(day)) for number, day in points])
    expected = {
        place: label for place, (number, day) in enumerate(points) if (label := slow_label(number, day)) is not None
        if day + 60 <= LAST_DAY
    }  # fmt: skip
    assert happened.labels == expected
    assert set(happened.labels.values()) == {0, 1}
    assert happened.left_out == {NOT_ASKED: len(points) - len(expected)}


def test_the_first_of_each_customer_and_day_counts_and_the_rest_is_told(settings: Settings) -> None:
    right = [served(f"c{n}", 120.25, 0.9 if n % 3 == 0 else 0.1, number=n) for n in range(CUSTOMERS)]
    later = [served(f"c{n}", 120.75, 0.5, number=n) for n in range(CUSTOMERS)]
    waiting = [served("c1", 230.0, 0.5)]
    serve(settings, [*later, *right, *waiting, served("erased", 120.0, 0.5)])
    found = outcomes_of(settings, "churn")
    assert (found.logged, found.rows, found.matured, found.waiting) == (122, 62, 60, 1)
    assert (found.left_out, found.versions) == ({NO_EVENTS: 1}, {"3": 62})
    quality = found.quality
    assert quality is not None
    assert (quality.base_rate.estimate, quality.auc.estimate) == (pytest.approx(1 / 3), 1.0)
    assert quality.mean_probability.estimate == pytest.approx((20 * 0.9 + 40 * 0.1) / 60)
    assert quality.log_loss.estimate == pytest.approx(-np.log(0.9))
    assert quality.brier.estimate == pytest.approx(0.01)
    assert [(one.rows, one.rate.estimate) for one in quality.deciles] == [(40, 0.0), (20, 1.0)]
    low, high = quality.base_rate.low, quality.base_rate.high
    assert low is not None
    assert high is not None
    assert low < 1 / 3 < high
    assert "60 matured, 1 wait" in found.text()
    assert '"matured": 60' in as_text(plain(found))


def test_where_nothing_matured_it_is_said_when_the_first_will(settings: Settings) -> None:
    serve(settings, [served("c1", 230.0, 0.5), served("c2", 225.5, 0.5)])
    found = outcomes_of(settings, "churn")
    assert (found.matured, found.waiting, found.quality) == (0, 2, None)
    assert "the first will when events reach 2026-10-13T12:00:00" in found.text()


def test_a_challenger_is_held_against_the_champion_on_the_same_rows(settings: Settings) -> None:
    better = [
        served(f"c{n}", 120.25, 0.6 if n % 2 else 0.4, 0.9 if n % 3 == 0 else 0.1, number=n) for n in range(CUSTOMERS)
    ]
    serve(settings, [*better, served("c1", 121.0, 0.5)])
    (pair,) = compare_shadows(settings, "churn").pairs
    assert (pair.champion_version, pair.challenger, pair.challenger_version) == ("3", "churn", "4")
    assert (pair.predictions, pair.change_side) == (CUSTOMERS, sum((n % 2 == 1) != (n % 3 == 0) for n in range(60)))
    assert pair.mean_difference == pytest.approx(22 / 60 - 0.5)
    assert pair.correlation == pytest.approx(0.0, abs=0.2)
    against = pair.against
    assert against is not None
    assert against.rows == CUSTOMERS
    high = against.log_loss_difference.high
    assert high is not None
    assert high < 0
    assert against.challenger_auc.estimate == 1.0
    assert "60 matured" in compare_shadows(settings, "churn").text()


def test_without_shadow_scores_or_predictions_it_is_said(settings: Settings) -> None:
    serve(settings, [served("c1", 120.0, 0.5)])
    with pytest.raises(UserError, match="nobody answered in the shadow"):
        compare_shadows(settings, "churn")
    with pytest.raises(UserError, match="no prediction of conversion"):
        outcomes_of(settings, "conversion")
    with pytest.raises(UserError, match="no such model"):
        outcomes_of(settings, "nothing")


def test_who_may_not_be_learned_from_is_left_out(tmp_path: Path) -> None:
    settings = replace(load_settings(), workspace=Workspace("barred", tmp_path))
    events = [Made(who, "Order Completed", float(day)) for who in ("yes", "no") for day in range(40, 260, 20)]
    said = Made("no", "Consent Updated", 41.0, "web", None, {"purpose": "training", "granted": False})
    write_lake(settings.workspace, [*events, said])
    serve(settings, [served("yes", 120.0, 0.1), served("no", 120.0, 0.1)])
    found = outcomes_of(settings, "churn")
    assert (found.rows, found.matured, sum(found.left_out.values())) == (2, 1, 1)
