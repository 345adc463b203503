"""How to read the figures: what a reviewer has to know before they are believed."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.evaluate.slices import FEWEST_ROWS, Band
from pipelines.settings.models import EmpcConfig, ModelConfig


def notes_of(config: ModelConfig, bands: Sequence[Band], champion: Sequence[str]) -> tuple[str, ...]:
    """A sentence or two each; those on the champion last but for the slices."""
    bought = config.label.kind == "churn" and config.baselines.bg_nbd is not None
    money = (PROFIT_NOTE,) if config.profit is not None else ()
    best = (EMPC_NOTE,) if isinstance(config.profit, EmpcConfig) else ()
    return (*NOTES, *((BG_NBD_NOTE,) if bought else ()), *money, *best, *champion, *_slice_notes(bands))


NOTES = (
    "All values are on the test part, which is later than every training label.",
    "Intervals are 95 % percentile intervals over resamples of whole customers; differences use the same resamples.",
    "Calibration is Platt's line on training rows only: out-of-fold predictions of the newest training snapshot "
    "for the logistic regression and LightGBM. No rows are re-weighted for imbalance; thresholds move instead.",
    "The calibration error is over ten bins of equal mass; its noise floor is what exact probabilities would show.",
)
BG_NBD_NOTE = (
    "BG/NBD is fitted to purchase histories at the newest training snapshot and learns from no label; calibrated, "
    "from that snapshot's labels. It is fitted given that a customer was active, as all rows of the dataset are; it "
    "takes the first purchase in the data for the first ever."
)
PROFIT_NOTE = (
    "The profit threshold follows from the money and the probabilities alone; it was never chosen on test labels."
)
EMPC_NOTE = (
    "The expected maximum profit (EMPC) finds its best threshold on the test labels, for each rate of acceptance: it "
    "judges the ranking, and is a little above what can be earned."
)


def _slice_notes(bands: Sequence[Band]) -> list[str]:
    if not bands:
        return []
    judged = sum(band.judged for band in bands)
    return [
        f"{len(bands)} kinds of customers were looked at, {judged} of them judged ({FEWEST_ROWS} rows and both "
        "classes). Of 20 such intervals one lies beside the truth by chance: the worst of many looks worse than it is."
    ]
