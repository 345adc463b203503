"""What the learned policy is really worth on the made-up retailer, whose generator knows every expected order.

`python -m tests.studies.demo_actions [CUSTOMERS ...]` makes a retailer of each size in the workspace
`study-actions-<customers>`, learns from its first coupon wave, and judges every policy on the second by the truth: the
expected orders of each participant under each arm. Prints Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.artefacts import EVALUATION, PREDICTIONS, TRAINING, Dataset, load_dataset_of, read_json
from pipelines.next_best_action.candidates import CONSTANT, title_of
from pipelines.next_best_action.evaluation import Predicted, policies_of
from pipelines.next_best_action.learning import threads_for
from pipelines.next_best_action.policies import LOGGED, greedy
from pipelines.next_best_action.steps import prices_of
from pipelines.next_best_action.storage import load_effects
from pipelines.next_best_action.trial import Trial, Trials, trials_of
from pipelines.policy_value.logged import Array, Policy
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from pipelines.uplift.learners import fit_effects
from tests.studies.run import twin

MODEL = "next_best_action"
SIZES = (4000,)
ORACLE = "oracle"
# The retailer's names of the arms.
_ARMS = {"no_action": "control"}


def figures(sizes: tuple[int, ...] = SIZES) -> str:
    """A table for each size, made from nothing where its workspace holds none."""
    return "\n\n".join(_section(size, settings_of(size)) for size in sizes)


def settings_of(customers: int) -> Settings:
    """The workspace of a retailer of this size, with all steps done."""
    workspace = Workspace(f"study-actions-{customers}")
    if not (workspace.artefacts(MODEL) / EVALUATION).exists():
        for arguments in (("demo", "--customers", str(customers), "--ingest-only"), ("train", MODEL)):
            done = twin(workspace, CHECKOUT / "configs", *arguments)
            if done.returncode:
                raise SystemExit(done.stderr)
    return load_settings(workspace.name)


def _section(customers: int, settings: Settings) -> str:
    rows = true_values(settings)
    folder = settings.workspace.artefacts(MODEL)
    training, evaluation = read_json(folder / TRAINING), read_json(folder / EVALUATION)
    told = {row["name"]: row for row in evaluation["policies"]}
    lines = [
        f"### next best action (demo, {customers:,} customers)", "",
        f"{training['rows']:,} decisions to learn from, {evaluation['test_rows']:,} of a later wave to judge by. "
        f"{training['recommendation']}", "",
        "| policy | true orders a decision | true THB a decision, net | what the test says (DR) | acted |",
        "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, row in rows.sort_values("money", ascending=False).iterrows():
        said = told.get(str(name))
        interval = "–" if said is None else f"{said['value']:.1f} [{said['low']:.1f}, {said['high']:.1f}]"
        title = {ORACLE: "Oracle (knows every effect)", "chosen": "**This model**"}.get(str(name), title_of(str(name)))
        lines.append(f"| {title} | {row['orders']:.4f} | {row['money']:.2f} | {interval} | {row['acted']:.0%} |")
    return "\n".join([*lines, "", *evaluation["verdict_sentences"]])


def true_values(settings: Settings) -> pd.DataFrame:
    """By policy: true orders and money (net of costs) a decision of the test, and the share that is acted on."""
    config = settings.action_model(MODEL)
    folder = settings.workspace.artefacts(MODEL)
    dataset = load_dataset_of(folder, config)
    trials = trials_of(dataset, config.label.control, True, prices_of(settings, config))
    truth = true_orders(settings, dataset, trials.test.arms)
    table = pd.read_parquet(folder / PREDICTIONS)
    policies = _policies(trials, load_effects(folder), table, read_json(folder / TRAINING), config.tune.seed)
    known = ~np.isnan(truth).any(axis=1)
    oracle = np.nan_to_num(truth[:, 1:] - truth[:, :1])
    policies[ORACLE] = greedy(trials.test.gains(oracle), trials.test.eligible)
    money = trials.test.in_money(truth)
    made = {
        name: {
            "orders": float((policy * truth).sum(axis=1)[known].mean()),
            "money": float((policy * money).sum(axis=1)[known].mean()),
            "acted": float(1.0 - policy[known, 0].mean()),
        }
        for name, policy in policies.items()
    }
    return pd.DataFrame.from_dict(made, orient="index")


def true_orders(settings: Settings, dataset: Dataset, arms: tuple[str, ...]) -> NDArray[np.float64]:
    """Expected orders of each test row under each arm, shape (rows, k); NaN of who was merged with somebody else."""
    truth = pd.read_parquet(settings.workspace.sources / "truth" / "campaign.parquet")
    test = dataset.part("test")
    keys = pd.DataFrame({"customer_id": test["customer_id"], "starts": test["as_of"].dt.tz_convert(None).dt.date})
    found = keys.merge(truth, on=["customer_id", "starts"], how="left", validate="one_to_one")
    made = found[[f"orders_{_ARMS.get(arm, arm)}" for arm in arms]].to_numpy(dtype=np.float64)
    unknown = int(np.isnan(made).any(axis=1).sum())
    if unknown > 0.01 * len(made):
        raise SystemExit(f"the truth of {unknown} of {len(made)} test rows is not known")
    return made


def _policies(
    trials: Trials, fitted: Any, table: pd.DataFrame, training: Mapping[str, Any], seed: int
) -> dict[str, Policy]:
    test = trials.test
    expected = table[[f"expected_{arm}" for arm in test.arms]].to_numpy()
    predicted = Predicted(fitted.effect(test.rows.columns), fitted.response(test.rows.columns), expected)
    chosen = greedy(test.gains(predicted.effects), test.eligible)
    found = policies_of(test, predicted, chosen, _learners(trials, training, seed))
    return {name: policy for name, policy in found.items() if policy is not None and name != LOGGED}


def _learners(trials: Trials, training: Mapping[str, Any], seed: int) -> dict[str, Array]:
    """Effects by every learner but the one that was chosen."""
    train: Trial = trials.train
    asked = {CONSTANT: {"params": {}, "rounds": 1}, **training["searches"]}
    asked.pop(training["learner"])
    return {
        name: fit_effects(name, train.rows, one["params"], one["rounds"], seed, threads_for(train)).effect(
            trials.test.rows.columns
        )
        for name, one in asked.items()
    }


if __name__ == "__main__":
    print(figures(tuple(int(size) for size in sys.argv[1:]) or SIZES))
