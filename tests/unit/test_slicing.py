"""Kinds of customers: bands, quantiles of the training part, the largest of several, consent."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.settings.models import SliceConfig
from pipelines.slicing import band_words, slice_rows


def _rows(**columns: list[float]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"customer_id": [f"c{at}" for at in range(count)], **columns})


def _said(
    config: SliceConfig, rows: pd.DataFrame, train: pd.DataFrame | None = None, **consent: dict[str, str]
) -> list:
    found = slice_rows(config, rows, rows if train is None else train, consent)
    return [found.bands[number] for number in found.numbers]


def test_bands_end_below_their_upper_end_and_empty_values_are_a_band_of_their_own() -> None:
    config = SliceConfig(name="orders", feature="n", below=(2, 5))
    assert _said(config, _rows(n=[1, 2, 4.9, 5, np.nan])) == ["below 2", "2 to 5", "2 to 5", "5 and more", "empty"]
    named = SliceConfig(name="orders", feature="n", below=(2,), labels=("new", "old"))
    assert _said(named, _rows(n=[1, 2])) == ["new", "old"]


def test_quantiles_are_those_of_the_training_part() -> None:
    config = SliceConfig(name="value", feature="v", quantiles=2, labels=("low", "high"))
    train = _rows(v=list(range(100)))
    assert _said(config, _rows(v=[49, 50, 1000, 2000]), train) == ["low", "high", "high", "high"]


def test_quantiles_of_equal_values_are_fewer_bands() -> None:
    config = SliceConfig(name="value", feature="v", quantiles=4, labels=("a", "b", "c", "d"))
    assert _said(config, _rows(v=[3, 3, 3, 3])) == ["all"] * 4
    # Three quarters are 0: the one end above it is kept.
    assert set(_said(config, _rows(v=[0, 0, 0, 0, 0, 0, 8, 8, 8]))) == {"below 8", "8 and more"}


def test_the_largest_of_several_features_names_the_band() -> None:
    config = SliceConfig(name="channel", largest_of={"web": "w", "app": "a"})
    rows = _rows(w=[3, 1, 0, np.nan, 2], a=[1, 4, 0, np.nan, 2])
    assert _said(config, rows) == ["web", "app", "none", "none", "web"]


def test_consent_groups_are_those_handed_in() -> None:
    config = SliceConfig(name="consent", consent="training")
    rows = _rows(n=[1, 2, 3])
    groups = {"c0": "granted it themselves", "c1": "only by the basis of their sources"}
    assert _said(config, rows, training=groups) == [*groups.values(), "not known"]
    assert _said(config, rows) == ["not known"] * 3


def test_words_of_bands() -> None:
    assert band_words(np.array([0.5, 1234.0, 50_000.0])) == (
        "below 0.5", "0.5 to 1,234", "1,234 to 50,000", "50,000 and more")  # fmt: skip
    assert band_words(np.array([])) == ("all",)
