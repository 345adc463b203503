"""A real e-mail trial of three arms: `python -m tests.studies.hillstrom` prints Markdown.

Kevin Hillstrom's e-mail data of 2008: customers of the last twelve months were drawn with equal chances for the women's
e-mail, the men's e-mail, or none; what counts is a visit in the two weeks after. Here is a random half of the 64,000.
It is asked whether known means come back from importance weights, whether learners of effects rank customers better
than chance and than the propensity to visit, and whether any learned policy beats one e-mail to all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from feature_repo.model_inputs import ModelInputs
from pipelines.policy_value.estimators import gain_of, value_of
from pipelines.policy_value.logged import Array, Estimate, Gain, Logged, Policy
from pipelines.uplift.base import Fit, customer_folds, part
from pipelines.uplift.doubly_robust import cross_fitted_responses
from pipelines.uplift.learners import cross_fitted
from pipelines.uplift.rows import TrialRows
from pipelines.uplift.tuning import CAUTIOUS, CAUTIOUS_ROUNDS
from tests.real_data import DATA
from tests.studies import hillstrom_tables
from tests.studies.hillstrom_rankings import LEARNERS, SETTINGS, Compared, Effort, compare

FILE = DATA / "hillstrom" / "hillstrom.csv.gz"
CONTROL, ACTIONS = "No E-Mail", ("Womens E-Mail", "Mens E-Mail")
COLUMNS = ("recency", "history", "history_segment", "mens", "womens", "newbie")
CODED = {"zip_code": ("Rural", "Surburban", "Urban"), "channel": ("Multichannel", "Phone", "Web")}
NAMES = (*COLUMNS, *(f"{column}_{value}" for column, values in CODED.items() for value in values))


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out. All rates are visits a customer, and all intervals of 95 %.

    arms: the mean of each arm, and estimates of it by name of estimator. women: rankings for the women's e-mail.
    values: DR values of policies; shares: how often they choose each arm; gains: over the best single arm.
    """

    rows: int
    two_arm_rows: int
    arms: Mapping[str, tuple[float, Mapping[str, Estimate]]]
    women: Compared
    best_arm: str
    values: Mapping[str, Estimate]
    shares: Mapping[str, tuple[float, ...]]
    gains: Mapping[str, Gain]

    @property
    def recommendation(self) -> str:
        """The best learned policy if it is shown to bring more than the best single arm, else that arm."""
        shown = {name: gain for name, gain in self.gains.items() if gain.is_shown}
        if shown:
            return max(shown, key=lambda name: shown[name].value)
        return self.best_arm


def read_trial(table: pd.DataFrame | None = None) -> TrialRows:
    """All rows with the chance of a third each; nothing is dropped, every row is its own customer."""
    frame = pd.read_csv(FILE) if table is None else table
    coded = frame.assign(history_segment=frame["history_segment"].str[0].astype(float))
    columns = [coded[name].to_numpy(dtype=np.float64) for name in COLUMNS]
    columns += [(frame[name] == value).to_numpy(dtype=np.float64) for name, values in CODED.items() for value in values]
    action = frame["segment"].map({name: at for at, name in enumerate((CONTROL, *ACTIONS))}).to_numpy(dtype=np.int64)
    return TrialRows(
        np.column_stack(columns),
        frame["visit"].to_numpy(dtype=np.float64),
        action,
        np.full(len(frame), 1.0 / 3.0),
        np.arange(len(frame)),
        ACTIONS,
        CONTROL,
        ModelInputs(NAMES, NAMES),
    )


def figures(rows: TrialRows, effort: Effort) -> Figures:
    """Everything that the study prints."""
    fold = customer_folds(rows.cluster, 5, effort.seeds[0])
    cautious = Fit(CAUTIOUS, CAUTIOUS_ROUNDS, effort.seeds[0], effort.threads)
    expected = cross_fitted_responses(rows, fold, cautious)
    women = womens_only(rows)
    arms, compared = arm_means(rows, expected), compare(women, effort)
    return Figures(len(rows.reward), len(women.reward), arms, compared, *policies(rows, fold, expected, effort))


# Known means ---------------------------------------------------------------------------------------------------------


def logged(rows: TrialRows) -> Logged:
    eligible = np.ones((len(rows.reward), len(rows.actions) + 1), dtype=bool)
    return Logged(rows.action, rows.reward, rows.propensity, eligible, rows.cluster)


def always(arm: int, rows: TrialRows) -> Policy:
    """The policy of one arm for everybody."""
    policy = np.zeros((len(rows.reward), len(rows.actions) + 1))
    policy[:, arm] = 1.0
    return policy


def arm_means(rows: TrialRows, expected: Array) -> dict[str, tuple[float, dict[str, Estimate]]]:
    """The mean of those who got an arm, and the value of giving it to all as if the log were not of a trial."""
    found = {}
    for arm, name in enumerate((rows.control, *rows.actions)):
        policy = always(arm, rows)
        estimates = {one: value_of(one, logged(rows), policy, expected) for one in ("ips", "snips", "dr")}
        found[name] = (float(rows.reward[rows.action == arm].mean()), estimates)
    return found


# One e-mail against none ---------------------------------------------------------------------------------------------


def womens_only(rows: TrialRows) -> TrialRows:
    """The women's e-mail and the control alone; who got the other e-mail was not left alone, so is no control."""
    kept = part(rows, rows.action != ACTIONS.index("Mens E-Mail") + 1)
    return replace(kept, propensity=np.full(len(kept.reward), 0.5), actions=ACTIONS[:1])


# Three arms ----------------------------------------------------------------------------------------------------------


def policies(
    rows: TrialRows, fold: np.ndarray, expected: Array, effort: Effort
) -> tuple[str, dict[str, Estimate], dict[str, tuple[float, ...]], dict[str, Gain]]:
    """DR values by the same reward model for all; every customer's choice is of models of other customers."""
    seed = effort.seeds[0]
    made: dict[str, Policy] = {
        "nobody": always(0, rows),
        "women's to all": always(1, rows),
        "men's to all": always(2, rows),
        "at random": np.full((len(rows.reward), 3), 1.0 / 3.0),
    }
    singles = list(made)[:3]
    for setting, (params, rounds) in SETTINGS.items():
        for learner in LEARNERS:
            found = cross_fitted(learner, rows, fold, params, rounds, seed, effort.threads)
            made[f"{learner}, {setting}"] = choose(np.column_stack([np.zeros(len(rows.reward)), found.effects]))
            if learner == "t":
                contacted = np.column_stack([np.full(len(rows.reward), -np.inf), found.responses[:, 1:]])
                made[f"propensity, {setting}"] = choose(contacted)
    log = logged(rows)
    values = {name: value_of("dr", log, policy, expected) for name, policy in made.items()}
    best = max(singles, key=lambda name: values[name].value)
    gains = {name: gain_of("dr", log, policy, made[best], expected) for name, policy in made.items() if name != best}
    shares = {name: tuple(policy.mean(axis=0).tolist()) for name, policy in made.items()}
    return best, values, shares, gains


def choose(worth: Array) -> Policy:
    """The arm of the highest worth (n, arms) for certain, the first of equals: no e-mail where none brings anything."""
    policy = np.zeros(worth.shape)
    policy[np.arange(len(worth)), worth.argmax(axis=1)] = 1.0
    return policy


def main() -> int:
    if not FILE.exists():
        print(f"no data: {FILE.name}", file=sys.stderr)
        return 1
    began = time.monotonic()
    print(hillstrom_tables.report(figures(read_trial(), Effort())))
    print(f"\nMade in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
