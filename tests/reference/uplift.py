"""Metrics of a ranking by their definitions: one prefix after another, rows of equal score taken in equal parts."""

from __future__ import annotations

import itertools


def prefix(rows: list[tuple[float, float, bool, float, float]], taken: list[float]) -> dict[str, float]:
    """Sums over rows of (score, reward, treated, weight, pseudo-effect), of each the part `taken`."""
    sums = dict.fromkeys(("treated", "of_treated", "control", "of_control", "effect"), 0.0)
    for (_, reward, treated, weight, effect), part in zip(rows, taken, strict=True):
        arm = "treated" if treated else "control"
        sums[arm] += part * weight
        sums[f"of_{arm}"] += part * weight * reward
        sums["effect"] += part * effect
    return sums


def parts_taken(scores: list[float], amount: float) -> list[float]:
    """How much of each row is among the first `amount` rows."""
    parts = [0.0] * len(scores)
    left = amount
    for score in sorted(set(scores), reverse=True):
        group = [at for at, value in enumerate(scores) if value == score]
        part = min(1.0, left / len(group))
        for at in group:
            parts[at] = part
        left -= part * len(group)
        if left <= 1e-12:
            break
    return parts


def metrics(
    scores: list[float],
    rewards: list[float],
    treated: list[bool],
    propensities: list[float],
    effects: list[float],
    share: float,
) -> dict[str, float]:
    """Qini coefficient, AUUC, uplift@share and DR gain@share."""
    n = len(scores)
    weights = []
    for arm, chance in zip(treated, propensities, strict=True):
        others = [1.0 / p for t, p in zip(treated, propensities, strict=True) if t == arm]
        weights.append(1.0 / chance / (sum(others) / len(others)))
    rows = list(zip(scores, rewards, treated, weights, effects, strict=True))
    points = [(0.0, 0.0, 0.0)]
    for score in sorted(set(scores), reverse=True):
        first = sum(value >= score for value in scores)
        sums = prefix(rows, parts_taken(scores, first))
        rescaled = sums["of_control"] * sums["treated"] / sums["control"] if sums["control"] else 0.0
        both = sums["treated"] and sums["control"]
        difference = sums["of_treated"] / sums["treated"] - sums["of_control"] / sums["control"] if both else 0.0
        points.append((first / n, (sums["of_treated"] - rescaled) / n, difference * first / n))
    qini = uplift = 0.0
    for (left, q, u), (right, next_q, next_u) in itertools.pairwise(points):
        qini += (right - left) * (q + next_q) / 2.0
        uplift += (right - left) * (u + next_u) / 2.0
    top = prefix(rows, parts_taken(scores, share * n))
    return {
        "qini": qini - points[-1][1] / 2.0,
        "auuc": uplift,
        "uplift": (
            top["of_treated"] / top["treated"] - top["of_control"] / top["control"]
            if top["treated"] and top["control"]
            else float("nan")
        ),
        "dr_gain": top["effect"] / n,
    }
