"""What the service decided is what the next model learns from: with its own chances, and without those held out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from pipelines.artefacts import EVALUATION, load_dataset, read_json
from pipelines.catalogue import NO_ACTION
from pipelines.decisions.ledger_event import Recorded
from pipelines.settings import Settings
from pipelines.state_build import build_state
from tests.e2e.cli import twin
from tests.e2e.test_decisions import Place, decide, place
from tests.unit.desk_parts import DAY, EFFECTS, Office, changed, order

pytestmark = pytest.mark.slow

# Enough that chance leaves no action with fewer decisions than are learned from.
CUSTOMERS = 240
HORIZON = 30 * DAY
OPEN = changed(
    exploration={"share": 0.9}, holdout={"share": 0.2, "salt": "learning"}, caps=[{"contacts": 3, "within": "7d"}]
)


def test_decisions_of_the_service_and_later_orders_train_the_next_model(tmp_path: Path) -> None:
    with place("test-learning", tmp_path, OPEN, CUSTOMERS) as made:
        _quick(made.settings)
        answers, orders = [], []
        for wave in range(2):
            answers += _decided(made)
            orders += _ordered_later(made.settings, made.logged(), wave)
        logged = {one.decision.decision_id: one for one in made.logged()}
        # All of it into the lake, as `twin state rebuild` does.
        build_state(made.settings)
        config = made.settings.config_dir
        workspace = made.settings.workspace
        told = twin(workspace, "dataset", EFFECTS, config_dir=config)
        assert told.returncode == 0, told.stderr
        dataset = load_dataset(workspace.artefacts(EFFECTS))
        rows = dataset.rows
        drawn = {(logged[a["decision_id"]].decision.customer_id, logged[a["decision_id"]].decision.as_of): a
                 for a in answers if not a["holdout"]}  # fmt: skip
        held_out = [a for a in answers if a["holdout"]]
        assert len(held_out) > 20
        found = {
            (who, at): row for who, at, row in zip(rows["customer_id"], _micros(rows), rows.itertuples(), strict=True)
        }
        assert found.keys() == drawn.keys()
        assert {row.action for row in found.values()} == {"email_coupon", "line_coupon", NO_ACTION}
        for key, row in found.items():
            # The chance that was answered, to the last bit.
            assert (row.action, row.propensity) == (drawn[key]["action"], drawn[key]["propensity"])
            assert row.label == sum(who == key[0] and key[1] <= at < key[1] + HORIZON for who, at in orders)
        assert 0 < sum(row.label > 0 for row in found.values()) < len(found)
        assert Counter(rows["part"]).keys() == {"train", "test"}
        trained = twin(workspace, "train", EFFECTS, "--json", config_dir=config)
        assert trained.returncode == 0, trained.stderr
        evaluation = read_json(workspace.artefacts(EFFECTS) / EVALUATION)
        assert evaluation["randomised"]
        assert evaluation["actions"] == ["email_coupon", "line_coupon"]


def _decided(made: Place) -> list[dict[str, object]]:
    """Every customer once, by a service that starts and ends: its clock is the data's."""
    client = made.serve()
    answers = [decide(client, f"c{number}") for number in range(CUSTOMERS)]
    client.close()
    made.kill()
    return answers


def _ordered_later(settings: Settings, log: list[Recorded], wave: int) -> list[tuple[str, int]]:
    """Some order within 30 days after what was decided last of them, and one long after, so that all is known."""
    newest = {one.decision.customer_id: one.decision.as_of for one in sorted(log, key=lambda one: one.decision.as_of)}
    last = max(newest.values())
    buyers = [who for number, who in enumerate(sorted(newest)) if (number + wave) % 3 == 0]
    placed = [(who, last + (1 + number % 28) * DAY) for number, who in enumerate(buyers)]
    placed.append(("c0", last + 45 * DAY))
    office = Office(settings)
    try:
        for number, (who, at) in enumerate(placed):
            office.keep(order(1_000 * (wave + 1) + number, who, at))
    finally:
        office.close()
    return placed


def _quick(settings: Settings) -> None:
    """A short tuning."""
    file = settings.config_dir / "models" / f"{EFFECTS}.yaml"
    file.write_text(re.sub(r"trials: \d+", "trials: 1", file.read_text()), encoding="utf-8")


def _micros(rows: pd.DataFrame) -> list[int]:
    return [int(at) for at in rows["as_of"].astype("int64")]
