"""Off-policy estimates against the truth of two policies that really ran: the Open Bandit data set, men's campaign.

    python -m tests.studies.open_bandit

10,000 impressions drawn evenly (`random`) and 10,000 chosen by Bernoulli Thompson sampling (`bts`), of the same week,
34 items, 3 positions; reward is a click. The value of each policy is estimated from the log of the other, and the
truth is the mean click of the policy's own log. An item is the action; the position is context. The reward model knows
position and what is said of the user (4 categories). The log names no users, so intervals take impressions.

What `bts` would choose is not logged but for what it chose, and moved during the week (the chance of one item in one
position varies up to 600-fold). Three stand-ins are compared:

prior: Thompson sampling with the beta prior of the men's campaign that was published with the data (st-tech/zr-obp,
`obp/policy/conf/prior_bts.yaml`, Apache-2.0; figures below), the three highest of 34 draws in 3 positions.
shares: how often each item stood in the position, over the week, in the log of `bts`; of choices, not of clicks.
daily: the same a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.policy_value.cross_fit import Context, expected_rewards
from pipelines.policy_value.decision_log import context_of
from pipelines.policy_value.diagnostics import support_of
from pipelines.policy_value.estimators import ESTIMATORS, TITLES, contributions, value_of
from pipelines.policy_value.logged import Array, Expected, Logged, Policy
from tests.real_data import DATA

ITEMS, POSITIONS, DRAWS = 34, 3, 100_000
USER = ("user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3")
FOLDER = DATA / "open_bandit"
StandIn: TypeAlias = Literal["prior", "shares", "daily"]
STAND_INS: tuple[StandIn, ...] = ("prior", "shares", "daily")
# zr-obp, examples with small logs, campaign "all", mean relative error of bts from random.
PUBLISHED = {"dm": 0.157, "dr_os": 0.160, "dr": 0.292, "ips": 0.311}
# fmt: off
ALPHA = (
    47, 8, 62, 142, 3, 6, 100, 48, 23, 71, 61, 13, 16, 518, 30, 7, 4, 23, 8, 10, 11, 11, 18, 121, 11, 4, 32, 30, 9, 22,
    6, 23, 5, 54,
)
BETA = (
    12198, 3566, 15993, 35522, 2367, 3100, 24665, 13210, 7061, 18061, 17449, 5644, 6787, 111326, 8776, 3334, 2271, 7389,
    2659, 3665, 4724, 3561, 5085, 27407, 4601, 2923, 8897, 8654, 4000, 6580, 3174, 6766, 2602, 14506,
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Impressions:
    """A log, with what a policy and a reward model may read: position (0, 1, 2) and day of each impression."""

    logged: Logged
    position: NDArray[np.int64]
    day: NDArray[np.int64]
    context: Context


@dataclass(frozen=True, slots=True)
class Error:
    """Relative error |estimate - truth| / truth, with the 95 % interval over resamples of both logs.

    Resampled is what each impression contributes: the reward model is not fitted again, nor a shrinkage chosen.
    """

    estimator: str
    value: float
    low: float
    high: float
    error: float
    error_low: float
    error_high: float


@dataclass(frozen=True, slots=True)
class Judged:
    """One policy from the log of the other. `truth_low` and `truth_high` are the 95 % interval of its own clicks."""

    name: str
    truth: float
    truth_low: float
    truth_high: float
    effective_sample_size: float
    errors: tuple[Error, ...]
    warnings: tuple[str, ...]


def figures(rows: int | None = None, resamples: int = 1_000, seed: int = 7) -> list[Judged]:
    """All four: random from bts, and bts from random by each stand-in. `rows` takes the first of each log only."""
    random, bts = _read("random", rows), _read("bts", rows)
    even = np.full(bts.logged.eligible.shape, 1 / ITEMS)
    found = [_judge("random, from the log of bts", bts, even, random, resamples, seed)]
    expected = _expected(random)
    for stand_in in STAND_INS:
        policy = bts_policy(stand_in, random, bts, seed)
        found.append(
            _judge(f"bts ({stand_in}), from the log of random", random, policy, bts, resamples, seed, expected)
        )
    return found


def drift(rows: int | None = None) -> float:
    """The largest ratio of two propensities of one item in one position in the log of bts."""
    bts = _read("bts", rows)
    frame = pd.DataFrame({"item": bts.logged.action, "position": bts.position, "chance": bts.logged.propensity})
    chances = frame.groupby(["item", "position"])["chance"]
    return float((chances.max() / chances.min()).max())


def distance(stand_in: StandIn, seed: int = 7) -> float:
    """Mean total variation from `shares`, over the impressions of the log of random; 0 is the same, 1 is disjoint."""
    random, bts = _read("random", None), _read("bts", None)
    shares = bts_policy("shares", random, bts, seed)
    return float(np.abs(bts_policy(stand_in, random, bts, seed) - shares).sum(axis=1).mean() / 2)


def bts_policy(stand_in: StandIn, asked: Impressions, bts: Impressions, seed: int) -> Policy:
    """What bts would choose in each impression of `asked`, shape (n, ITEMS)."""
    if stand_in == "prior":
        return thompson(seed)[asked.position]
    if stand_in == "shares":
        return _shares(np.zeros_like(bts.day), bts)[0, asked.position]
    return _shares(bts.day, bts)[asked.day, asked.position]


def thompson(seed: int, draws: int = DRAWS) -> Array:
    """Chances, shape (POSITIONS, ITEMS), that an item's draw from its beta is the highest, the second, the third."""
    drawn = np.random.default_rng(seed).beta(ALPHA, BETA, size=(draws, ITEMS))
    first = np.argsort(-drawn, axis=1)[:, :POSITIONS]
    return np.stack([np.bincount(first[:, place], minlength=ITEMS) / draws for place in range(POSITIONS)])


def _shares(day: NDArray[np.int64], bts: Impressions) -> Array:
    """Shape (days, POSITIONS, ITEMS)."""
    counts = np.zeros((int(day.max()) + 1, POSITIONS, ITEMS))
    np.add.at(counts, (day, bts.position, bts.logged.action), 1)
    made: Array = counts / counts.sum(axis=2, keepdims=True)
    return made


def _read(policy: str, rows: int | None) -> Impressions:
    columns = ["timestamp", "item_id", "position", "click", "propensity_score", *USER]
    frame = pd.read_csv(FOLDER / policy / "men" / "men.csv.gz", usecols=columns, nrows=rows)
    logged = Logged(
        frame["item_id"].to_numpy(dtype=np.int64),
        frame["click"].to_numpy(dtype=np.float64),
        frame["propensity_score"].to_numpy(dtype=np.float64),
        np.ones((len(frame), ITEMS), dtype=bool),
        np.arange(len(frame)),
    )
    day = pd.to_datetime(frame["timestamp"], format="ISO8601", utc=True).dt.day.to_numpy(dtype=np.int64)
    place = frame["position"].to_numpy(dtype=np.int64) - 1
    context = context_of(frame, ("position", *USER))
    return Impressions(logged, place, day - 24, context)


def _expected(log: Impressions) -> Expected:
    logged = log.logged
    return expected_rewards(log.context, logged.action, logged.reward, ITEMS, logged.cluster)


def _judge(
    name: str,
    log: Impressions,
    policy: Policy,
    own: Impressions,
    resamples: int,
    seed: int,
    expected: Expected | None = None,
) -> Judged:
    model = _expected(log) if expected is None else expected
    drawn = np.random.default_rng(seed)
    truths = _means(own.logged.reward, resamples, drawn)
    truth = float(own.logged.reward.mean())
    errors = []
    for estimator in ESTIMATORS:
        found = value_of(estimator, log.logged, policy, model)
        means = _means(contributions(estimator, log.logged, policy, model).rows, resamples, drawn)
        low, high = np.quantile(np.abs(means - truths) / truths, (0.025, 0.975))
        error = abs(found.value - truth) / truth
        errors.append(Error(estimator, found.value, found.low, found.high, error, float(low), float(high)))
    support = support_of(log.logged, policy)
    low, high = np.quantile(truths, (0.025, 0.975))
    return Judged(
        name, truth, float(low), float(high), support.effective_sample_size, tuple(errors), support.warnings
    )  # fmt: skip


def _means(rows: Array, resamples: int, drawn: np.random.Generator) -> Array:
    """Means of resamples, shape (resamples,)."""
    count = len(rows)
    return np.array([rows[drawn.integers(0, count, count)].mean() for _ in range(resamples)])


def table(found: list[Judged]) -> str:
    lines = []
    for judged in found:
        truth = f"{judged.truth:.2%} [{judged.truth_low:.2%}, {judged.truth_high:.2%}]"
        size = f"{judged.effective_sample_size:,.0f}"
        lines += [
            f"{judged.name}: truth {truth} clicks; effective sample size {size}.",
            *(f"Warning: {text}." for text in judged.warnings),
            "",
            "| estimator | estimate | relative error | published, see below |",
            "| --- | --- | --- | --- |",
        ]
        for item in judged.errors:
            published = PUBLISHED.get(item.estimator) if judged.name.startswith("bts") else None
            lines.append(
                f"| {TITLES[item.estimator]} | {item.value:.2%} [{item.low:.2%}, {item.high:.2%}] "
                f"| {item.error:.3f} [{item.error_low:.3f}, {item.error_high:.3f}] "
                f"| {'–' if published is None else f'{published:.3f}'} |"
            )
        lines.append("")
    lines.append(
        "Published: zr-obp's examples, bts from random, campaign `all` (80 items), mean over bootstrap samples with "
        "another reward model; ours is the men's campaign (34 items) and the whole small log once, so that the two can "
        "be put beside each other and not compared."
    )
    return "\n".join(lines)


def main() -> None:
    print(table(figures()))
    print(f"\nOne item in one position: its chance under bts varied up to {drift():.0f}-fold.")
    told = ", ".join(f"{name} {distance(name):.2f}" for name in STAND_INS)
    print(f"Total variation between a stand-in for bts and its shares over the week: {told}.")


if __name__ == "__main__":
    main()
