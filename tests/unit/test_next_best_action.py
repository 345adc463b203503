"""A model of actions: which policy is chosen, how it is judged, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.effect_model import FILE
from pipelines import next_best_action
from pipelines.artefacts import EVALUATION, PREDICTIONS, TRAINING, read_json, write_json
from pipelines.console import UserError
from pipelines.next_best_action import ActionEvaluation
from pipelines.next_best_action.policies import ALL, NO_ACTION
from pipelines.next_best_action.propensity import LOWEST, estimated
from pipelines.next_best_action.storage import load_effects, model_hash
from pipelines.next_best_action.trial import FEWEST_OF_ACTION, trials_of
from pipelines.next_best_action.worth import Prices
from pipelines.register import export_champion, history, promote
from pipelines.tracking import registered_version
from serving.bootstrap import wire
from serving.features import MemoryReader
from tests.unit.action_parts import ACTIONS, CONTROL, NAME, Made, action_config, made_up

PLAIN = Prices(None, 100, 1.0)


@pytest.fixture(scope="module")
def differing(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two actions, each good for half of the customers and bad for the other half."""
    made = made_up(tmp_path_factory.mktemp("differing"))
    next_best_action.fit(made.settings, made.config)
    next_best_action.evaluate(made.settings, made.config)
    return made


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The second action brings half an order more to everybody, the first a fifth."""
    made = made_up(tmp_path_factory.mktemp("alike"), np.tile([0.2, 0.5], (1500, 1)))
    next_best_action.fit(made.settings, made.config)
    next_best_action.evaluate(made.settings, made.config)
    return made


def training(made: Made) -> dict[str, Any]:
    content: dict[str, Any] = read_json(made.folder / TRAINING)
    return content


def evaluation(made: Made) -> dict[str, Any]:
    content: dict[str, Any] = read_json(made.folder / EVALUATION)
    return content


def policy(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in content["policies"] if row["name"] == name)


def true_value(made: Made, chosen: pd.Series) -> float:
    """What the policy of the test rows is really worth a decision."""
    truth = made.truth[(made.dataset.rows["part"] == "test").to_numpy()]
    arms = pd.Categorical(chosen, categories=[CONTROL, *ACTIONS]).codes
    return float(truth[np.arange(len(arms)), arms].mean())


def test_where_customers_differ_a_learner_is_chosen_and_is_worth_what_the_test_says(differing: Made) -> None:
    told, tested = training(differing), evaluation(differing)
    assert told["learner"] in ("t", "dr")
    assert "Decide by" in told["recommendation"]
    table = pd.read_parquet(differing.folder / PREDICTIONS)
    own = policy(tested, "chosen")
    assert own["low"] < true_value(differing, table["chosen"]) < own["high"]
    best = max(true_value(differing, pd.Series([arm] * len(table))) for arm in (CONTROL, *ACTIONS))
    assert true_value(differing, table["chosen"]) > best + 0.5
    over = next(gain for gain in tested["gains"] if gain["against"] == tested["reference"])
    assert over["low"] > 0
    assert "It is better than" in tested["verdict"]


def test_where_all_are_alike_nothing_is_said_to_beat_one_action_to_all(alike: Made) -> None:
    told = training(alike)
    assert told["learner"] == "constant"
    assert told["recommendation"].startswith("Nothing is shown to beat")
    fitted = load_effects(alike.folder)
    assert fitted.model.boosters == ()
    np.testing.assert_allclose(fitted.effect(np.zeros((1, 1)))[0], [0.2, 0.5], atol=0.25)
    table = pd.read_parquet(alike.folder / PREDICTIONS)
    assert set(table["chosen"]) == {"line_coupon"}
    tested = evaluation(alike)
    assert tested["reference"] == f"{ALL}line_coupon"
    assert "It does the same as line_coupon to all" in tested["verdict"]
    assert "It is better than no action" in tested["verdict"]


def test_every_policy_has_its_value_by_every_estimator_near_the_truth(differing: Made) -> None:
    tested = evaluation(differing)
    names = {row["name"] for row in tested["policies"]}
    assert {NO_ACTION, "all_email_coupon", "all_line_coupon", "random", "propensity", "logged", "chosen"} <= names
    assert {"t", "dr", "constant"} - names == {tested["learner"]}
    truth = differing.truth[(differing.dataset.rows["part"] == "test").to_numpy()]
    for name, value in ((NO_ACTION, truth[:, 0]), ("all_email_coupon", truth[:, 1]), ("random", truth.mean(axis=1))):
        row = policy(tested, name)
        assert set(row["estimates"]) == {"dm", "ips", "snips", "dr", "switch_dr", "dr_os"}
        # Of three intervals of 95 % one may miss; four standard errors none.
        assert abs(row["value"] - value.mean()) < row["high"] - row["low"]
    assert policy(tested, NO_ACTION)["acted"] == 0
    assert policy(tested, "random")["shares"] == pytest.approx(dict.fromkeys((CONTROL, *ACTIONS), 1 / 3))


def test_customers_are_ordered_better_by_effect_than_by_propensity(differing: Made) -> None:
    rows = {(row["action"], row["by"]): row for row in evaluation(differing)["rankings"]}
    for action in ACTIONS:
        assert rows[action, "effect"]["qini"]["low"] > 0
        assert rows[action, "random"]["qini"]["estimate"] == pytest.approx(0, abs=1e-12)
        assert rows[action, "effect"]["uplift"]["estimate"] > 0.6


def test_scores_are_kept_row_by_row(differing: Made) -> None:
    table, tested = pd.read_parquet(differing.folder / PREDICTIONS), evaluation(differing)
    test = differing.dataset.part("test")
    assert table["customer_id"].tolist() == test["customer_id"].tolist()
    fitted = load_effects(differing.folder)
    effects = fitted.effect(fitted.model.inputs.matrix(test[list(fitted.model.inputs.features)].to_numpy(float)))
    np.testing.assert_array_equal(table[[f"effect_{action}" for action in ACTIONS]].to_numpy(), effects)
    # Nothing costs anything here and a unit is worth 1: the doubly-robust gain can be summed by hand.
    observed = table[[f"observed_{action}" for action in ACTIONS]].to_numpy()
    arm = pd.Categorical(table["chosen"], categories=[CONTROL, *ACTIONS]).codes
    gain = np.hstack([np.zeros((len(table), 1)), observed])[np.arange(len(table)), arm].mean()
    told = next(gain for gain in tested["gains"] if gain["against"] == NO_ACTION)
    assert told["value"] == pytest.approx(gain)


def test_the_same_dataset_gives_the_same_model(differing: Made) -> None:
    before = model_hash(differing.folder)
    next_best_action.fit(differing.settings, differing.config)
    assert model_hash(differing.folder) == before


def test_boosters_of_an_earlier_fit_do_not_stay(differing: Made, tmp_path: Path) -> None:
    made = made_up(tmp_path, np.zeros((400, 2)), rows=400)
    (made.folder / "booster_7.txt").write_text("of another fit")
    next_best_action.fit(made.settings, made.config)
    kept = {file.name for file in made.folder.iterdir()}
    assert "booster_7.txt" not in kept
    assert FILE in kept


def test_another_dataset_than_it_was_trained_on_is_refused(differing: Made, tmp_path: Path) -> None:
    made = made_up(tmp_path, seed=4)
    for file in differing.folder.iterdir():
        if file.name.startswith("booster") or file.name in (FILE, TRAINING):
            (made.folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="another dataset"):
        next_best_action.evaluate(made.settings, made.config)


def change(made: Made, edit: Callable[[pd.DataFrame], None]) -> Made:
    rows = made.dataset.rows.copy()
    edit(rows)
    return replace(made, dataset=replace(made.dataset, rows=rows))


def test_an_action_with_too_few_decisions_is_left_out_and_told(differing: Made) -> None:
    def rare(rows: pd.DataFrame) -> None:
        own = np.flatnonzero((rows["action"] == "line_coupon") & (rows["part"] == "train"))
        rows.loc[own[FEWEST_OF_ACTION - 1 :], "action"] = "email_coupon"

    trials = trials_of(change(differing, rare).dataset, CONTROL, True, PLAIN)
    assert trials.train.rows.actions == ("email_coupon",)
    assert any("line_coupon is left out" in note for note in trials.notes)
    assert trials.train.rows.action.max() == trials.test.rows.action.max() == 1

    def none(rows: pd.DataFrame) -> None:
        rows["action"] = CONTROL

    with pytest.raises(UserError, match="cannot be learned"):
        trials_of(change(differing, none).dataset, CONTROL, True, PLAIN)


def test_what_could_not_be_chosen_is_chosen_by_no_policy(differing: Made, tmp_path: Path) -> None:
    made = made_up(tmp_path, rows=600)
    rows = made.dataset.rows
    rows["eligible"] = pd.Series([(CONTROL, action) for action in rows["action"]], dtype="object")
    trial = trials_of(made.dataset, CONTROL, True, PLAIN).test
    own = (np.arange(len(trial.rows.action)), trial.rows.action)
    assert (trial.eligible.sum(axis=1) <= 2).all()
    assert trial.eligible[own].all()
    assert trial.eligible[:, 0].all()


def test_money_is_value_of_the_reward_less_cost(differing: Made) -> None:
    """By the real catalogue: 30 % of the customer's mean order, 12 a contact; an action it lacks by configuration."""
    catalogue = differing.settings.catalogue
    loaded = made_catalogue()
    assert catalogue is None
    prices = Prices(loaded, 100, 7.0)
    mean = "order_completed_value_mean_lifetime"
    rows = pd.DataFrame({mean: [100_000.0, np.nan, 40_000.0]})
    worth, notes = prices.worth(rows, ("email_coupon", "unheard_of"))
    np.testing.assert_allclose(worth[:, 1], [300.0, 0.0, 120.0])
    np.testing.assert_allclose(worth[:, 2], 7.0)
    np.testing.assert_allclose(worth[:, 0], (worth[:, 1] + worth[:, 2]) / 2)
    np.testing.assert_allclose(prices.cost(("email_coupon", "unheard_of")), [0.0, 12.0, 0.0])
    told = " ".join(notes)
    assert "unheard_of: without a price in configs/actions.yaml" in told
    assert "not known in 1 of 3 rows" in told


def made_catalogue() -> Any:
    from pipelines.settings import load_settings

    return load_settings().catalogue


@pytest.mark.slow
def test_chances_of_what_nobody_drew_are_estimated(tmp_path: Path) -> None:
    made = made_up(tmp_path, drawn=False, rows=6000)
    trials = trials_of(made.dataset, CONTROL, False, PLAIN)
    assert np.isnan(trials.train.rows.propensity).all()
    train, test, notes = estimated(trials.train, trials.test, 7)
    first = np.nan_to_num(made.dataset.rows.loc[made.dataset.rows["part"] == "test"].iloc[:, 9].to_numpy())
    odds = np.exp(np.stack([np.zeros(len(first)), first, 0.5 * first], axis=1))
    truth = (odds / odds.sum(axis=1, keepdims=True))[np.arange(len(first)), test.rows.action]
    assert np.abs(test.rows.propensity - truth).mean() < 0.08
    assert min(train.rows.propensity.min(), test.rows.propensity.min()) >= LOWEST
    assert "estimated" in notes[0]


def test_it_is_registered_exported_and_served_to_the_last_bit(differing: Made) -> None:
    settings, config = differing.settings, differing.config
    first = next_best_action.register(settings, config)
    assert (first.alias, first.version, first.is_new) == ("champion", "1", True)
    again = next_best_action.register(settings, config)
    assert (again.version, again.is_new) == ("1", False)
    found = registered_version(settings, config, "1")
    assert {"lake_version", "identity_version", "spec_hash", "dataset_hash", "config_hash", "data"} <= set(
        found.manifest
    )
    assert found.manifest["actions"] == list(ACTIONS)
    assert all(file.exists() for file in found.files)
    folder = export_champion(settings, config)
    assert json.loads((folder / "manifest.json").read_text())["kind"] == "effects"
    width = len(differing.dataset.manifest.features)
    reader = MemoryReader({}, width, settings.features.hash, 1)
    champion = wire(settings, lambda spec, features: reader).effects[NAME].champion
    values = differing.dataset.features("test").to_numpy()
    fitted = load_effects(differing.folder)
    columns = champion.columns(values)
    np.testing.assert_array_equal(champion.effects(columns), fitted.effect(columns))
    for action in ACTIONS:
        told = champion.contributions(action, columns[:50])
        at = ACTIONS.index(action)
        np.testing.assert_allclose(told.sum(axis=1), champion.effects(columns)[:50, at], rtol=0, atol=1e-9)
    # Judged again it stands beside itself, and what MLflow loads says the same.
    tested: ActionEvaluation = next_best_action.evaluate(settings, config)
    assert tested.champion_version == "1"
    assert "It does the same as the present champion" in tested.verdict
    import mlflow

    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    table = pd.DataFrame(columns, columns=list(fitted.model.inputs.names))
    np.testing.assert_array_equal(loaded.predict(table)[list(ACTIONS)].to_numpy(), fitted.effect(columns))


def test_what_was_not_drawn_becomes_no_champion_unless_a_person_says_so_and_why(tmp_path: Path) -> None:
    made = made_up(tmp_path, drawn=False, learners=("t",))
    settings, config = made.settings, made.config
    assert "chances are estimated" in next_best_action.fit(settings, config).text()
    tested = next_best_action.evaluate(settings, config)
    assert not tested.randomised
    assert tested.verdict_sentences[0].startswith("Associational")
    registration = next_best_action.register(settings, config)
    assert registration.alias == "challenger"
    assert [gate.name for gate in registration.gates if not gate.passed] == ["randomised"]
    with pytest.raises(UserError, match="did not pass its gates"):
        promote(settings, config, "1", "we like it")
    with pytest.raises(UserError, match="nobody drew"):
        promote(settings, config, "1", despite_gates=True)
    done = promote(settings, config, "1", "a pilot, agreed on", despite_gates=True)
    assert done.moved
    assert "randomised" in " ".join(done.notes)
    assert json.loads((Path(done.path) / "manifest.json").read_text())["randomised"] is False
    assert history(settings, config).moves[-1].reason == "a pilot, agreed on"


def test_an_evaluation_of_another_model_is_not_registered(alike: Made) -> None:
    content = evaluation(alike)
    write_json(alike.folder / EVALUATION, {**content, "model_hash": "0" * 16})
    try:
        with pytest.raises(UserError, match="do not belong together"):
            next_best_action.register(alike.settings, alike.config)
    finally:
        write_json(alike.folder / EVALUATION, content)


def test_a_reward_that_is_money_is_worth_its_minor_units() -> None:
    from pipelines.next_best_action.steps import prices_of
    from pipelines.settings import load_settings

    settings = load_settings()
    config = action_config(worth=2.0)
    assert prices_of(settings, config).otherwise == 2.0
    label = config.label.model_copy(update={"reward": config.label.reward.model_copy(update={"of": "value"})})
    assert prices_of(settings, config.model_copy(update={"label": label})).otherwise == 0.02


def test_a_source_that_says_not_who_could_get_what_offered_what_it_drew(differing: Made) -> None:
    """A campaign drew between the control and the first action; decisions, which say it, know the second as well."""
    rows = differing.dataset.rows.copy()
    of_decisions = np.arange(len(rows)) % 2 == 0
    rows = rows[of_decisions | (rows["action"] != ACTIONS[1])]
    of_decisions = of_decisions[rows.index]
    all_arms = (CONTROL, *ACTIONS)
    rows["eligible"] = pd.Series([all_arms if one else None for one in of_decisions], rows.index, dtype="object")
    dataset = replace(differing.dataset, rows=rows.reset_index(drop=True))
    train = trials_of(dataset, CONTROL, True, PLAIN).train
    told = of_decisions[(rows["part"] == "train").to_numpy()]
    assert train.arms == all_arms
    assert train.eligible[told].all()
    np.testing.assert_array_equal(train.eligible[~told], [[True, True, False]] * int((~told).sum()))
