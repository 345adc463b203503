"""What came out of the e-mail trial, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.policy_value.logged import Estimate, Gain
from pipelines.scoring.bootstrap import Interval

if TYPE_CHECKING:
    from tests.studies.hillstrom import Figures

WORDS = {"s": "S", "t": "T", "x": "X", "dr": "DR", "propensity": "propensity only", "random": "random"}
SHOWN = ("qini", "uplift", "dr_gain")
# Of github.com/Peter-A-P/intervention-targeting-engine, all 64,000 rows: Qini, uplift@20 %, DR gain@20 %.
PUBLIC = {
    "s": (0.0041, 0.0828, 0.0168),
    "t": (0.0031, 0.0779, 0.0155),
    "x": (0.0031, 0.0788, 0.0158),
    "dr": (0.0028, 0.0738, 0.0148),
    "propensity": (0.0012, 0.0524, 0.0103),
    "random": (0.0, 0.0451, 0.0088),
}
PUBLIC_VALUES = {"nobody": 0.106, "women's to all": 0.152, "men's to all": 0.183}


def report(found: Figures) -> str:
    """All tables with what they say."""
    return "\n\n".join(
        [
            "### Hillstrom's e-mail trial",
            f"A random half of the trial: {found.rows:,} customers, a third of them for each arm; visits a customer.",
            "**Known means come back.** The value of one arm for all, estimated from the whole log:",
            _arms(found),
            _protocol(found),
            *(_rankings(found, setting) for setting in dict.fromkeys(setting for setting, _, _ in found.rankings)),
            "What tuning buys over the cautious setting:",
            _tuning(found),
            "**Three arms**, cross-fitted DR values, visits a customer; gains are over the best single arm:",
            _values(found),
            _recommendation(found),
        ]
    )


def _arms(found: Figures) -> str:
    rows = [
        [
            name,
            f"{mean:.4f}",
            *(_estimate(one) + (" ✓" if one.low <= mean <= one.high else " ✗") for one in by.values()),
        ]
        for name, (mean, by) in found.arms.items()
    ]
    return _table(("arm", "mean", "IPS", "SNIPS", "DR"), rows)


def _protocol(found: Figures) -> str:
    return (
        "**The women's e-mail against none** (who got the other e-mail is left out, never counted as control): "
        f"{found.two_arm_rows:,} rows, stratified splits, {found.test_rows:,} rows to test on (30 %). Means over "
        "splits with 95 % intervals over resamples of customers, drawn for all splits at once; ± is the standard "
        f"deviation over splits. Such a test finds a mean effect of {found.detectable:.4f} visits in 80 of 100 cases (a "
        "published figure for 30 % of all rows is .0124), and what separates learners is smaller. The public figures "
        "are of all 42,693 rows of the two arms, twice as many, with 60/20/20 splits, parameters chosen on the "
        "validation part by Qini, the objective `binary` and 400 trees, and equal scores in drawn order."
    )


def _rankings(found: Figures, setting: str) -> str:
    rows = []
    for name, words in WORDS.items():
        cells = [
            f"{_interval(found.rankings[setting, name, metric])} ± {found.spread[setting, name, metric]:.4f}"
            for metric in SHOWN
        ]
        public = " / ".join(f"{value:.4f}" for value in PUBLIC[name])
        rows.append([words, *cells, _interval(found.better[setting, name, "dr_gain"], signed=True), public])
    heads = ("scores", "Qini", "uplift@20 %", "DR gain@20 %", "DR gain minus random", "public: Qini / uplift / gain")
    return f"Setting: {setting}.\n\n{_table(heads, rows)}"


def _tuning(found: Figures) -> str:
    rows = [
        [
            WORDS[learner],
            *(_interval(found.tuning[learner, metric], signed=True) for metric in SHOWN),
            "; ".join(chosen),
        ]
        for learner, chosen in found.chosen.items()
    ]
    return _table(("learner", "Qini", "uplift@20 %", "DR gain@20 %", "chosen in each split"), rows)


def _values(found: Figures) -> str:
    rows = []
    for name, value in found.values.items():
        gain = found.gains.get(name)
        shares = " / ".join(f"{share:.0%}" for share in found.shares[name])
        public = f"{PUBLIC_VALUES[name]:.3f}" if name in PUBLIC_VALUES else "–"
        rows.append([name, shares, _estimate(value), _gain(gain) if gain else "–", public])
    return _table(("policy", "none / women's / men's", "DR value", f"minus {found.best_arm}", "public"), rows)


def _recommendation(found: Figures) -> str:
    if found.recommendation == found.best_arm:
        why = "no learned policy is shown to bring more: every lower bound of a gain over it is at or below 0"
    else:
        why = f"its gain over {found.best_arm} is above 0 in the whole interval"
    return f"**Recommendation: {found.recommendation}**, since {why}. An e-mail costs nothing here."


def _estimate(one: Estimate) -> str:
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


def _gain(one: Gain) -> str:
    return f"{_signed(one.value)} [{_signed(one.low)}, {_signed(one.high)}]"


def _interval(one: Interval, signed: bool = False) -> str:
    if one.estimate is None or one.low is None or one.high is None:
        return "–"
    told = [_signed(value) if signed else f"{value:.4f}" for value in (one.estimate, one.low, one.high)]
    return f"{told[0]} [{told[1]}, {told[2]}]"


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
