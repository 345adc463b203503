"""The model on each kind of customers apart, and the kind on which it does worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.scoring.bootstrap import Customers, Interval, resample_sums
from pipelines.scoring.metrics import Array, auc, calibration_error, known, log_losses, noise_floor
from pipelines.slicing import Slice

FEWEST_ROWS = 100
_SIMULATIONS = 200


@dataclass(frozen=True, slots=True)
class Band:
    """One band of a slice on the test. Log-loss in nats, of the tuned model.

    `log_loss_over_base_rate` is what is lost against saying the band's own training rate to all of its rows: above
    0, the model knows less than that. `train_rate` is smoothed by one row of the whole training part, so that it is
    defined in every band. A band is `judged` with 100 rows and both classes, unless it is the whole test.
    """

    slice: str
    band: str
    rows: int
    customers: int
    positive_rate: float
    mean_probability: float
    train_rows: int
    train_rate: float
    log_loss: float
    log_loss_over_base_rate: Interval
    auc: float | None
    calibration_error: float
    calibration_noise_floor: float
    against_champion: Interval | None
    judged: bool


@dataclass(frozen=True, slots=True)
class WorstBand:
    """The judged band with the highest lower bound."""

    slice: str
    band: str
    rows: int
    log_loss_over_base_rate: Interval


@dataclass(frozen=True, slots=True)
class Rows:
    """Test rows of one model: labels and probabilities, those of the champion if there is one, customers (rows,)."""

    labels: Array
    probabilities: Array
    champion: Array | None
    customers: Customers

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of the rows, their customers numbered anew."""
        champion = None if self.champion is None else self.champion[chosen]
        customers = np.unique(self.customers[chosen], return_inverse=True)[1].astype(np.int64)
        return Rows(self.labels[chosen], self.probabilities[chosen], champion, customers)


@dataclass(frozen=True, slots=True)
class Cut:
    """One slice of the test and of the training part."""

    test: Slice
    train: Slice

    def where(self, chosen: NDArray[np.bool_]) -> Cut:
        """With some of the test rows only."""
        return Cut(Slice(self.test.name, self.test.bands, self.test.numbers[chosen]), self.train)


def judge_bands(cuts: Sequence[Cut], train_labels: Array, rows: Rows, resamples: int, seed: int) -> tuple[Band, ...]:
    """Every band that has a row, in order; all on the same resamples of customers."""
    places = [(cut, band) for cut in cuts for band in range(len(cut.test.bands)) if (cut.test.numbers == band).any()]
    if not places:
        return ()
    rates = [_train_rate(cut, cut.test.bands[band], train_labels) for cut, band in places]
    losses = log_losses(rows.labels, rows.probabilities)
    over_champion = losses - log_losses(rows.labels, rows.champion) if rows.champion is not None else losses * np.nan
    columns = []
    for (cut, band), (_, rate) in zip(places, rates, strict=True):
        member = (cut.test.numbers == band).astype(np.float64)
        over_base = losses - log_losses(rows.labels, np.full(len(losses), rate))
        columns += [member, member * over_base, member * np.nan_to_num(over_champion)]
    sums = resample_sums(np.stack(columns, axis=1), rows.customers, resamples, seed)
    return tuple(
        _band(cut, band, rows, losses, rate, sums.ratio(3 * at + 1, 3 * at),
              None if rows.champion is None else sums.ratio(3 * at + 2, 3 * at), seed)
        for at, ((cut, band), rate) in enumerate(zip(places, rates, strict=True))
    )  # fmt: skip


def worst_band(bands: Sequence[Band]) -> WorstBand | None:
    """By the lower bound of the loss over the base rate, among the judged."""
    band = worst_by(bands, lambda item: item.log_loss_over_base_rate)
    return None if band is None else WorstBand(band.slice, band.band, band.rows, band.log_loss_over_base_rate)


def worst_by(
    bands: Sequence[Band], figure: Callable[[Band], Interval | None], bound: Literal["low", "high"] = "low"
) -> Band | None:
    """The judged band whose figure is worst: by its lower bound where a loss is to be shown, by its upper one where
    it is to be shown that nothing is lost."""
    ends = [getattr(interval, bound) if interval is not None else None for interval in map(figure, bands)]
    found = [(end, band) for end, band in zip(ends, bands, strict=True) if band.judged and end is not None]
    return max(found, key=lambda item: item[0])[1] if found else None


def _train_rate(cut: Cut, band: str, labels: Array) -> tuple[int, float]:
    bands = cut.train.bands
    inside = labels[cut.train.numbers == bands.index(band)] if band in bands else labels[:0]
    return len(inside), float((inside.sum() + labels.mean()) / (len(inside) + 1))


def _band(
    cut: Cut, band: int, rows: Rows, losses: Array, rate: tuple[int, float], over_base: Interval,
    over_champion: Interval | None, seed: int,
) -> Band:  # fmt: skip
    inside = cut.test.numbers == band
    labels, probabilities = rows.labels[inside], rows.probabilities[inside]
    return Band(
        slice=cut.test.name, band=cut.test.bands[band], rows=len(labels),
        customers=len(np.unique(rows.customers[inside])), positive_rate=float(labels.mean()),
        mean_probability=float(probabilities.mean()), train_rows=rate[0], train_rate=rate[1],
        log_loss=float(losses[inside].mean()), log_loss_over_base_rate=over_base,
        auc=known(auc(labels, probabilities)), calibration_error=calibration_error(labels, probabilities),
        calibration_noise_floor=noise_floor(probabilities, simulations=_SIMULATIONS, seed=seed),
        against_champion=over_champion,
        judged=FEWEST_ROWS <= len(labels) < len(rows.labels) and len(np.unique(labels)) == 2,
    )  # fmt: skip
