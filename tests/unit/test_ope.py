"""`twin ope` on files and on the dataset of a workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from pipelines.artefacts import DATASET, DATASET_MANIFEST
from pipelines.cli import app
from pipelines.console import UserError
from pipelines.policy_value.decision_log import read_file, read_logged
from pipelines.policy_value.policies import policy_named
from pipelines.policy_value.report import evaluate
from pipelines.settings import Workspace, load_settings
from tests.e2e.cli import throwaway_workspace

ROWS = 1_500


@pytest.fixture
def decisions() -> pd.DataFrame:
    """A coupon helps those of low spending only, and was given more often to the others; drawn with known chances."""
    drawn = np.random.default_rng(4)
    spending = drawn.normal(size=ROWS)
    chance = 1 / (1 + np.exp(-spending))
    coupon = drawn.random(ROWS) < chance
    rate = 0.2 + 0.4 * (coupon & (spending < 0))
    return pd.DataFrame({
        "action": np.where(coupon, "coupon", "none"),
        "reward": (drawn.random(ROWS) < rate).astype(int),
        "propensity": np.where(coupon, chance, 1 - chance),
        "customer_id": [f"c{number}" for number in drawn.integers(0, 500, ROWS)],
        "spending": spending,
        "channel": drawn.choice(["web", "app"], ROWS),
        "p_coupon": (spending < 0).astype(float),
        "p_none": (spending >= 0).astype(float),
    })  # fmt: skip


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ope", *map(str, arguments)])


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.parquet"])
def test_a_file_is_judged_whatever_its_kind(decisions: pd.DataFrame, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    decisions.to_parquet(path) if name.endswith("parquet") else decisions.to_csv(path, index=False)
    result = run(
        "--file", path, "--policy", "columns:p_", "--against", "constant:coupon", "--context", "spending,channel",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["decisions"] == ROWS
    assert found["customers"] == decisions["customer_id"].nunique()
    truth = 0.2 + 0.4 * float((decisions["spending"] < 0).mean())
    for estimate in found["judged"][0]["estimates"]:
        if estimate["estimator"] != "dm":
            assert estimate["low"] < truth < estimate["high"]
    for gain in found["gains"]:
        if gain["estimator"] != "dm":
            assert gain["low"] < 0 < gain["high"], "among the others the coupon changes nothing"


def test_text_says_values_gains_support_and_warnings(decisions: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    decisions.drop(columns="customer_id").to_csv(path, index=False)
    result = run("--file", path, "--policy", "constant:none", "--against", "constant:none")
    assert "shown" not in result.stdout, "a policy gains nothing over itself"
    better = run("--file", path, "--policy", "columns:p_", "--against", "constant:none")
    shown = [line.split()[0] for line in better.stdout.splitlines() if line.endswith("shown")]
    assert shown == ["IPS", "SNIPS", "DR", "Switch-DR", "DRos"], "DM shows nothing, however narrow its interval"
    result = run("--file", path, "--policy", "constant:coupon", "--against", "logged")
    assert result.exit_code == 0, result.output
    for said in (
        "IPS",
        "Switch-DR",
        "Gain of constant:coupon over logged",
        "effective sample size",
        "(the log itself)",
    ):
        assert said in result.stdout
    assert "warning: there is no customer_id" in result.stdout
    assert "warning: constant:coupon: the interval of DM" in result.stdout


def test_a_file_may_call_its_columns_something_else(decisions: pd.DataFrame, tmp_path: Path) -> None:
    plain = evaluate(read_file(_saved(decisions, tmp_path)), "uniform")
    theirs = {"action": "item", "reward": "click", "propensity": "score"}
    # One of our names may stand for something else in their file.
    renamed = decisions.rename(columns=theirs).assign(reward=-1.0)
    found = evaluate(read_file(_saved(renamed, tmp_path), called=theirs), "uniform")
    assert found.judged == plain.judged
    with pytest.raises(UserError, match="clicks"):
        read_file(_saved(renamed, tmp_path), called={**theirs, "reward": "clicks"})


def test_columns_are_named_once_each(decisions: pd.DataFrame, tmp_path: Path) -> None:
    file = str(_saved(decisions, tmp_path))
    for called in ("action", "action=a,action=b", "item=action"):
        result = CliRunner().invoke(app, ["ope", "--file", file, "--columns", called])
        assert isinstance(result.exception, UserError)
        assert "--columns" in str(result.exception)


def test_without_propensities_figures_are_associational(decisions: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    decisions.drop(columns="propensity").to_csv(path, index=False)
    log = read_file(path, ("spending",))
    assert log.associational
    found = evaluate(log, "uniform")
    assert any(text.startswith("associational") for text in found.warnings)
    known = evaluate(read_file(_saved(decisions, tmp_path), ("spending",)), "uniform")
    assert known.warnings == ()
    one, another = (item.judged[0].estimates[3] for item in (found, known))
    assert one.value == pytest.approx(another.value, abs=0.03)


def test_the_log_itself_is_its_mean_reward(decisions: pd.DataFrame, tmp_path: Path) -> None:
    found = evaluate(read_file(_saved(decisions, tmp_path)), "logged", "uniform")
    for item in found.judged[0].estimates:
        assert item.value == pytest.approx(decisions["reward"].mean())
    assert found.judged[0].support is None


def test_a_policy_of_columns_may_choose_what_was_never_chosen_and_is_warned_of(
    decisions: pd.DataFrame, tmp_path: Path
) -> None:
    path = _saved(decisions.assign(q_gift=1.0), tmp_path)
    result = run("--file", path, "--policy", "columns:q_", "--json")
    found = json.loads(result.stdout)
    assert any("never chosen" in text for item in found["judged"][0]["estimates"] for text in item["warnings"])
    assert found["judged"][0]["estimates"][2]["value"] is None, "SNIPS is 0 over 0, which JSON cannot say"


def test_mistakes_of_a_file_are_told_at_once(decisions: pd.DataFrame, tmp_path: Path) -> None:
    bad = decisions.astype({"reward": object})
    bad.loc[3, "reward"] = "much"
    bad.loc[5, "propensity"] = np.nan
    bad.loc[7, "customer_id"] = np.nan
    with pytest.raises(UserError) as caught:
        read_file(_saved(bad, tmp_path), ("age",))
    assert {problem.field for problem in caught.value.problems} == {"age", "reward", "propensity", "customer_id"}
    assert "much" not in str(caught.value)
    zero = decisions.assign(propensity=decisions["propensity"].where(decisions.index != 4, 0.0))
    with pytest.raises(UserError, match="propensity: expected above 0"):
        evaluate(read_file(_saved(zero, tmp_path)), "uniform")
    with pytest.raises(UserError, match="at least one"):
        read_file(_saved(decisions[:0], tmp_path))
    with pytest.raises(UserError, match="at most 200 texts"):
        read_file(_saved(decisions, tmp_path), ("customer_id",))
    for name in ("missing.csv", "d.txt"):
        (tmp_path / "d.txt").write_text("x")
        with pytest.raises(UserError):
            read_file(tmp_path / name)


@pytest.mark.parametrize("policy", ["constant:gift", "constant:", "columns:x_", "best", ""])
def test_a_policy_that_is_none_is_refused(decisions: pd.DataFrame, tmp_path: Path, policy: str) -> None:
    with pytest.raises(UserError):
        evaluate(read_file(_saved(decisions, tmp_path)), policy)


def test_chances_that_do_not_sum_to_one_are_refused(decisions: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="against: expected chances that sum to 1"):
        evaluate(read_file(_saved(decisions.drop(columns="p_none"), tmp_path)), "uniform", "columns:p_")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with throwaway_workspace("ope") as made:
        yield made


def test_decisions_of_the_workspace_know_who_could_get_what(decisions: pd.DataFrame, workspace: Workspace) -> None:
    """A gift was never chosen, and only half could get it; where an action is not eligible there is none."""
    folder = workspace.artefacts("next_best_action")
    folder.mkdir(parents=True)
    half = [["coupon", "gift"] if number % 2 else ["coupon"] for number in range(ROWS)]
    rows = decisions.rename(columns={"reward": "label"})[["customer_id", "action", "propensity", "label", "spending"]]
    rows["action"] = rows["action"].replace("none", "no_action")
    rows.assign(eligible=half).to_parquet(folder / DATASET)
    (folder / DATASET_MANIFEST).write_text(json.dumps({"features": ["spending"]}))
    settings = load_settings(workspace.name)
    log = read_logged(settings, settings.action_model("next_best_action"))
    assert log.actions == ("no_action", "coupon", "gift")
    assert not log.associational
    assert log.context.columns.shape == (ROWS, 1)
    gift = policy_named("constant:gift", log)
    assert gift is not None
    assert gift.mean(axis=0).tolist() == [0.5, 0.0, 0.5]
    uniform = policy_named("uniform", log)
    assert uniform is not None
    assert uniform[:2].tolist() == [[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]
    assert any("50.0% of what the policy chooses" in text for text in evaluate(log, "constant:gift").judged[0].warnings)
    rows.assign(eligible=half, propensity=np.nan).to_parquet(folder / DATASET)
    assert read_logged(settings, settings.action_model("next_best_action")).associational
    told = CliRunner().invoke(app, ["-w", workspace.name, "ope", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["warnings"][0].startswith("associational")


def test_a_workspace_without_decisions_says_how_to_get_them(workspace: Workspace) -> None:
    settings = load_settings(workspace.name)
    with pytest.raises(UserError, match="dataset next_best_action"):
        read_logged(settings, settings.action_model("next_best_action"))


def _saved(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "saved.csv"
    frame.to_csv(path, index=False)
    return path
