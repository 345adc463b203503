"""Whether a stored model is what its manifest says."""

from __future__ import annotations

from serving.champion import Champion, StoredChampion
from serving.predictor import mismatch


def loaded(stored: StoredChampion) -> Champion:
    """The model. Raises ApiError (503) where it cannot be read, or has other columns than its manifest."""
    champion = stored.load()
    if tuple(champion.scorer.feature_name()) != champion.inputs.names:
        raise mismatch(stored, stored.file.name, "the columns of manifest.json", "others, or another order")
    return champion


def check_inputs(champion: StoredChampion) -> None:
    """Raises ApiError (503) where the columns are made of other features than the manifest says are read."""
    inputs, said = champion.inputs, tuple(champion.manifest["features"])
    rhythm = inputs.rhythm
    used = (*inputs.direct, *((rhythm.recency, rhythm.frequency, rhythm.age) if rhythm else ()))
    strange = [name for name in used if name not in said]
    if inputs.features != said or strange:
        got = ", ".join(strange[:5]) or "others, or another order"
        raise mismatch(champion, "inputs", "made of the features of manifest.json", got)
