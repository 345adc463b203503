"""A plan for all customers: each line is what a single decision at its shadow price says, and the budget holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from pipelines.catalogue import NO_ACTION
from pipelines.cli.decide_batch import plan
from pipelines.console import UserError
from pipelines.decide_batch import BatchSummary, decide_all
from pipelines.decide_batch.customers import Customers
from pipelines.decide_batch.table import SCHEMA, decision_id, written_whole
from pipelines.decisions.decide import decide
from pipelines.decisions.situation import Contact, Decision
from pipelines.events.exclusion import nothing_taken
from pipelines.settings import CHECKOUT, Settings
from tests.unit.decide_batch_parts import CUSTOMERS, DENIED, contact, make_place, offers, situation_of

DAY = 86_400_000_000
RICH = 10**9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_place(tmp_path_factory.mktemp("place"))


def rows_of(summary: BatchSummary) -> list[dict[str, Any]]:
    table = parquet.read_table(summary.path)
    assert table.schema.equals(SCHEMA)
    return table.to_pylist()


def alone(settings: Settings, summary: BatchSummary, customer: str, contacts: tuple[Contact, ...] = ()) -> Decision:
    situation = situation_of(
        settings, customer, decision_id(summary.run_id, customer), summary.as_of, summary.shadow_price, contacts
    )
    return decide(replace(offers(settings), exploration_share=summary.exploration_share), situation)


def score(row: dict[str, Any], action: str, price: float, costs: dict[str, int]) -> float:
    value = next(item["expected_value"] for item in row["alternatives"] if item["action"] == action)
    return float(value - price * costs[action])


@pytest.mark.parametrize(("budget", "run"), [(RICH, "a"), (60_000, "b"), (9_000, "c")])
def test_each_line_is_what_one_decision_says(place: Settings, budget: int, run: str, tmp_path: Path) -> None:
    summary = decide_all(place, budget, tmp_path / "plan.parquet", run)
    rows = rows_of(summary)
    catalogue = offers(place)
    costs = {NO_ACTION: 0, **{action.id: action.cost for action in catalogue.actions}}
    apart = 0
    for row in rows:
        one = alone(place, summary, row["customer_id"])
        if row["action"] != one.action:
            # Only at the margin, where both are worth the same at this price.
            at_price = [score(row, name, summary.shadow_price, costs) for name in (row["action"], one.action)]
            assert at_price[0] == pytest.approx(at_price[1], abs=1e-6)
            apart += 1
            continue
        assert (row["variant"], row["channel"], row["cost"]) == (one.variant, one.channel, one.cost)
        assert (row["propensity"], row["holdout"], row["explored"]) == (one.propensity, one.holdout, one.explored)
        assert row["expected_value"] == one.expected_value
        assert row["stage"] == one.stage
        assert (None if row["send_at"] is None else round(row["send_at"].timestamp() * 1e6)) == one.send_at
        assert row["send_hour"] == one.hour
        told = {item["action"]: item for item in row["alternatives"]}
        for other in one.alternatives:
            mine = told[other.action]
            assert (mine["lost"], mine["propensity"]) == (other.lost, other.propensity), (row["customer_id"], other)
            assert mine["expected_value"] == other.expected_value
    assert apart <= 1
    # The test says nothing unless most kinds of lines are among them.
    assert {row["reason"] for row in rows} >= {"holdout", "value", "nothing_open"}
    assert budget < RICH or any(row["explored"] for row in rows)


@pytest.mark.parametrize("budget", [0, 1_199, 1_200, 5_000, 24_000, RICH])
def test_no_plan_spends_more_than_its_budget(place: Settings, budget: int, tmp_path: Path) -> None:
    summary = decide_all(place, budget, tmp_path / "plan.parquet", "spending")
    rows = rows_of(summary)
    assert summary.spent == sum(row["cost"] for row in rows) <= min(budget, 20_000 * 100)
    assert sum(row["cost"] for row in rows if row["explored"]) <= offers(place).exploration_share * budget
    assert summary.actions == {
        name: sum(row["action"] == name for row in rows) for name in ("email_coupon", "line_coupon", NO_ACTION)
    }
    assert summary.expected_value == pytest.approx(sum(row["expected_value"] for row in rows))


def test_more_money_brings_more_and_the_price_of_money_falls(place: Settings, tmp_path: Path) -> None:
    plans = [decide_all(place, budget, tmp_path / "p.parquet", "curve") for budget in (0, 12_000, 48_000, RICH)]
    prices = [plan.shadow_price for plan in plans]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > 0 == prices[-1]
    assert plans[0].spent == 0 < plans[1].spent < plans[2].spent


def test_consent_and_holdout_are_respected(place: Settings, tmp_path: Path) -> None:
    rows = rows_of(decide_all(place, RICH, tmp_path / "plan.parquet", "consent"))
    assert len(rows) == CUSTOMERS - 1
    assert DENIED not in {row["customer_id"] for row in rows}
    for row in rows:
        silent = int(row["customer_id"][2:]) % 5 == 0
        assert not (silent or row["holdout"]) or row["action"] == NO_ACTION
        if silent:
            assert {item["lost"] for item in row["alternatives"][:-1]} == {"consent"}
        if row["holdout"]:
            assert row["propensity"] == 1.0
    assert any(row["holdout"] for row in rows)


def test_caps_count_what_the_ledger_holds(tmp_path: Path) -> None:
    settings = make_place(tmp_path / "place")
    before = decide_all(settings, RICH, tmp_path / "before.parquet", "caps")
    acted = [row for row in rows_of(before) if row["action"] == "email_coupon"]
    customer, at = acted[0]["customer_id"], before.as_of - DAY // 2
    contact(settings, customer, "email_coupon", "email", at, cost=1_200)
    after = decide_all(settings, RICH, tmp_path / "after.parquet", "caps")
    found = {row["customer_id"]: row for row in rows_of(after)}
    lost = {item["action"]: item["lost"] for item in found[customer]["alternatives"]}
    assert lost["email_coupon"] == "cap"
    one = alone(settings, after, customer, (Contact("email_coupon", "email", at),))
    assert found[customer]["action"] == one.action
    # What was spent today is not there to be spent again.
    assert after.available == min(RICH, 20_000 * 100 - 1_200)
    assert "of the catalogue's own budget is left" in after.text()


def test_the_same_plan_made_again_is_the_same(place: Settings, tmp_path: Path) -> None:
    plans = [decide_all(place, 30_000, tmp_path / f"{number}.parquet") for number in range(2)]
    assert plans[0].run_id == plans[1].run_id
    assert rows_of(plans[0]) == rows_of(plans[1])
    other = decide_all(place, RICH, tmp_path / "other.parquet", "another run")
    drawn = [{row["customer_id"] for row in rows_of(plan) if row["explored"]} for plan in (plans[0], other)]
    assert drawn[0] != drawn[1]


def test_without_effects_the_chance_of_the_goal_ranks_and_without_any_model_only_draws_act(tmp_path: Path) -> None:
    settings = make_place(tmp_path / "place", customers=40, champion=False)
    summary = decide_all(settings, RICH, tmp_path / "plan.parquet", "cold")
    rows = rows_of(summary)
    assert (summary.basis, summary.model) == ("none", None)
    assert all(row["explored"] for row in rows if row["action"] != NO_ACTION)
    assert any(row["action"] != NO_ACTION for row in rows)
    assert summary.by_the_log.unknown is not None
    assert "no model yet" in summary.text()


def test_what_stood_at_the_place_is_replaced_whole(place: Settings, tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    path.write_bytes(b"old")
    decide_all(place, 0, path, "whole")
    assert len(parquet.read_table(path)) == CUSTOMERS - 1
    assert [file.name for file in tmp_path.iterdir()] == ["plan.parquet"]


def test_a_plan_that_is_killed_leaves_no_file(place: Settings, tmp_path: Path) -> None:
    """The process is killed after the first rows were written."""
    program = f"""
        import os, signal
        from dataclasses import replace
        from pathlib import Path
        from pipelines.decide_batch import plan, table
        from pipelines.settings import Workspace, load_settings
        workspace = Workspace("unit", checkout=Path({str(place.workspace.checkout)!r}))
        settings = replace(load_settings(), workspace=workspace)
        table._ROWS = 10
        made = plan.plan_tables
        def dying(*arguments):
            for number, part in enumerate(made(*arguments)):
                if number == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield part
        plan.plan_tables = dying
        plan.decide_all(settings, 10**9, Path({str(tmp_path / "plan.parquet")!r}), "killed")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (tmp_path / "plan.parquet").exists()
    assert [file.name for file in tmp_path.iterdir()] == [".plan.parquet.partial"]
    # The next plan takes its place.
    decide_all(place, RICH, tmp_path / "plan.parquet", "killed")
    assert [file.name for file in tmp_path.iterdir()] == ["plan.parquet"]


def test_the_command_takes_major_units_and_prints_json(
    place: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(place, "600.50", tmp_path / "plan.parquet", "command", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["budget"], told["run_id"]) == (60_050, "command")
    assert told["spent"] <= 60_050
    plan(place, "600", tmp_path / "plan.parquet", "command", as_json=False)
    text = capsys.readouterr().out
    assert "of 600.00 THB" in text
    assert "A plan only: nobody is contacted" in text
    for wrong in ("much", "-1", "NaN", "1e999999999"):
        with pytest.raises(UserError, match="no such budget"):
            plan(place, wrong, None, None, as_json=True)


def test_mistakes_are_told(place: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such budget"):
        decide_all(place, -1)
    with pytest.raises(UserError, match="nothing to offer"):
        decide_all(replace(place, catalogue=None), 1)
    assert np.isfinite(decide_all(place, 0, tmp_path / "p.parquet").expected_value)


def test_what_an_erasure_took_away_meanwhile_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    with pytest.raises(UserError, match="erasure"), written_whole(path):
        (tmp_path / ".plan.parquet.partial").unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_plan_begun_before_an_erasure_is_not_written_after_it(
    place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.decide_batch import plan

    read, asked = plan.customers_of, []

    def once_gone(settings: Settings) -> Customers:
        found = read(settings)
        asked.append(None)
        return found if len(asked) == 1 else replace(found, ids=found.ids[1:])

    monkeypatch.setattr(plan, "customers_of", once_gone)
    with pytest.raises(UserError, match="erased while the plan was made"):
        decide_all(place, RICH, tmp_path / "plan.parquet", "erased")
    assert list(tmp_path.iterdir()) == []


def test_while_an_erasure_runs_no_plan_is_written(place: Settings, tmp_path: Path) -> None:
    with nothing_taken(place.workspace.erasure_lock), pytest.raises(UserError, match="being erased"):
        decide_all(place, RICH, tmp_path / "plan.parquet", "erasing")
    assert list(tmp_path.iterdir()) == []
