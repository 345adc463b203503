"""The parts of a plan, each against something slow and obvious."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import next_best_action
from pipelines.artefacts import PREDICTIONS
from pipelines.catalogue import NO_ACTION
from pipelines.console import UserError
from pipelines.decide_batch.choose import Draws, chances_of_many, choose_many, draws_of
from pipelines.decide_batch.effects import champion_effects
from pipelines.decide_batch.obstacles import CODES, obstacles_of
from pipelines.decide_batch.timing import NEVER, NO_HOUR, send_times
from pipelines.decide_batch.value import value_by_the_log
from pipelines.decisions.allocation import NOTHING
from pipelines.decisions.candidates import hour_for
from pipelines.decisions.customer_clock import clock_of, customer_zone
from pipelines.decisions.decide import decide
from pipelines.decisions.decide_many import candidates_of_many
from pipelines.decisions.draws import chances, draw, seed_of
from pipelines.decisions.obstacles import when_to_send
from pipelines.model_store import effect_booster_file
from pipelines.settings import Settings, load_settings
from tests.unit.action_parts import NAME, Made, made_up
from tests.unit.decide_batch_parts import offers, publish_effects
from tests.unit.test_decide_many import _columns as columns_of
from tests.unit.test_decide_many import crowds

FLAGS = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=12)


@settings(max_examples=100)
@given(FLAGS, st.floats(0, 1), st.integers(0, 60), st.integers(0, 2**32))
def test_the_budget_holds_and_draws_take_no_more_than_their_share_of_it(
    is_open: list[list[bool]], share: float, budget: int, seed: int
) -> None:
    generator, flags = np.random.default_rng(seed), np.array(is_open)
    values = generator.normal(2, 5, flags.shape)
    values[generator.random(flags.shape) < 0.1] = np.nan
    holdout, costs = generator.random(len(flags)) < 0.2, np.array([0, 3, 10])
    draws = Draws(generator.random(len(flags)), generator.random(len(flags)))
    found = choose_many(flags, np.where(flags, values, np.nan), holdout, costs, draws, share, budget)
    chosen = found.choice != NOTHING
    assert found.spent == costs[found.choice[chosen]].sum() <= budget
    assert costs[found.choice[chosen & found.explored]].sum() <= share * budget
    assert flags[np.flatnonzero(chosen), found.choice[chosen]].all()
    assert not (chosen | found.explored)[holdout].any()
    assert found.exploration_share <= share
    # The chances of all that is open are 1 together.
    others = flags.sum(axis=1) * found.chance_of_others + found.chance_of_best
    assert np.where(holdout, 1.0, others) == pytest.approx(1.0)
    assert (found.propensity > 0).all() or found.exploration_share == 0
    # No draw is left out that would have fitted.
    drawn = ~holdout & (draws.whether < share)
    assert found.exploration_share == share or (found.explored.sum() < drawn.sum())


def test_draws_are_those_of_single_decisions() -> None:
    ids = [f"run:{number}" for number in range(300)]
    customers = [f"c{number}" for number in range(300)]
    draws = draws_of("salt", ids, customers)
    is_open = np.random.default_rng(1).random((300, 4)) < 0.6
    nobody, free = np.zeros(300, dtype=bool), np.zeros(4, dtype=np.int64)
    found = choose_many(is_open, np.where(is_open, -1.0, np.nan), nobody, free, draws, 0.4, 10)
    for row in range(300):
        options = [NOTHING, *np.flatnonzero(is_open[row]).tolist()]
        drawn = draw(seed_of("salt", ids[row], customers[row]), 0.4, len(options))
        assert found.explored[row] == (drawn is not None)
        assert found.choice[row] == (NOTHING if drawn is None else options[drawn])
    table = chances_of_many(0.4, np.arange(1, 9))
    assert [tuple(pair) for pair in zip(*(part.tolist() for part in table), strict=True)] == [
        chances(0.4, count) for count in range(1, 9)
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(crowds())
def test_obstacles_and_send_times_are_those_of_single_decisions(case: tuple) -> None:  # type: ignore[type-arg]
    catalogue, crowd = case
    if not crowd:
        return
    catalogue = replace(catalogue, holdout_share=0.0, exploration_share=0.0)
    many = columns_of(catalogue, crowd, crowd[0].as_of, crowd[0].spent)
    found = candidates_of_many(catalogue, many)
    obstacles = obstacles_of(catalogue, many, found)
    times = send_times(catalogue, dict(many.features), many.as_of, many.rows)
    for row, one in enumerate(crowd):
        told = {item.action: item for item in decide(catalogue, one).alternatives if item.action != NO_ACTION}
        said = one.features.get(catalogue.time_zone_feature or "")
        clock = clock_of(customer_zone(said, catalogue.time_zone), one.as_of)
        for at, action in enumerate(catalogue.actions):
            code = CODES[obstacles[row, at]]
            assert code == (told[action.id].lost if not found.open[row, at] else "")
            if action.channel is None:
                assert (times.hour[row, at], times.send_at[row, at]) == (NO_HOUR, NEVER)
                continue
            has_hours = catalogue.send_time is not None and action.channel in catalogue.send_time.counts
            best = hour_for(catalogue, action.channel, clock, dict(one.features)) if has_hours else None
            assert times.hour[row, at] == (NO_HOUR if best is None else best.hour)
            expected = when_to_send(action, best, clock)
            assert times.send_at[row, at] == (NEVER if expected is None else expected)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Settings]:
    """A model that was evaluated and is the champion, with the project's catalogue."""
    made = made_up(tmp_path_factory.mktemp("champion"), rows=900)
    next_best_action.fit(made.settings, made.config)
    next_best_action.evaluate(made.settings, made.config)
    loaded = load_settings()
    served = replace(made.settings, catalogue=loaded.catalogue, action_models={NAME: made.config})
    publish_effects(served, dataset_hash=made.dataset.manifest.dataset_hash)
    place = served.workspace.bentoml_home / "models" / NAME / "1"
    for file in made.folder.glob("booster_*.txt"):
        (place / file.name).write_bytes(file.read_bytes())
    (place / "effects.json").write_bytes((made.folder / "effects.json").read_bytes())
    return made, served


@pytest.mark.parametrize("price", [0.0, 3.0])
def test_the_value_by_the_log_is_the_doubly_robust_one(champion: tuple[Made, Settings], price: float) -> None:
    made, served = champion
    effects, catalogue = champion_effects(served, NAME), offers(served)
    assert effects is not None
    found = value_by_the_log(served, effects, catalogue, 0.2, price, 1000)
    table, rows = pd.read_parquet(made.folder / PREDICTIONS), made.dataset.part("test")
    worth = 0.3 * rows["order_completed_value_mean_lifetime"].fillna(0.0).to_numpy() / 100
    actions = [action.id for action in catalogue.actions]
    gains, acts = [], []
    for at in range(len(table)):
        row = table.iloc[at]
        scores = [0.0, *(row[f"effect_{name}"] * worth[at] - 12.0 - price * 12.0 for name in actions)]
        best = int(np.argmax(scores))
        chances_of = [0.2 / 3 + (0.8 if arm == best else 0.0) for arm in range(3)]
        # What each arm brings, by the doubly-robust guess of the row.
        brings = [0.0, *(row[f"observed_{name}"] * worth[at] - 12.0 for name in actions)]
        gains.append(sum(chance * value for chance, value in zip(chances_of, brings, strict=True)))
        acts.append(sum(chances_of[1:]))
    assert found.total == pytest.approx(np.mean(gains) / np.mean(acts) * 100 * 1000)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.total < found.high
    assert found.decisions == len(table)
    assert found.unknown is None


def test_where_the_log_cannot_tell_it_is_said_why(champion: tuple[Made, Settings], tmp_path: Path) -> None:
    _, served = champion
    effects, catalogue = champion_effects(served, NAME), offers(served)
    assert effects is not None
    other = replace(effects, manifest={**effects.manifest, "dataset_hash": "another"})
    assert "other decisions" in str(value_by_the_log(served, other, catalogue, 0.1, 0.0, 5).unknown)
    empty = replace(served, workspace=replace(served.workspace, checkout=tmp_path))
    assert "not there any more" in str(value_by_the_log(empty, effects, catalogue, 0.1, 0.0, 5).unknown)
    undrawn = made_up(tmp_path / "undrawn", rows=60, drawn=False)
    observed = replace(served, action_models={NAME: undrawn.config})
    assert "nobody drew" in str(value_by_the_log(observed, effects, catalogue, 0.1, 0.0, 5).unknown)
    assert "no effect is known" in str(value_by_the_log(served, None, catalogue, 0.1, 0.0, 5).unknown)


def test_a_champion_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    loaded = load_settings()
    settings = replace(loaded, workspace=replace(loaded.workspace, checkout=tmp_path))
    assert champion_effects(settings, NAME) is None
    publish_effects(settings)
    folder = settings.workspace.bentoml_home / "models" / NAME / "1"
    (folder / effect_booster_file(0)).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        champion_effects(settings, NAME)
