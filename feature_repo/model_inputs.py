"""From features, as the store reads them, to the columns of a model.

Most features are handed on as they are. Some columns are computed from several features with parameters that
belong to the model, such as the posteriors of BG/NBD. Training and the service both come here, so a column has
the same bits in both; what was computed how is part of the model's manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from feature_repo.bg_nbd import Array, BgNbd, alive_probability, history, no_purchase_soon

ALIVE, NO_ORDER = "bg_nbd_alive_probability", "bg_nbd_no_order_probability"


@dataclass(frozen=True, slots=True)
class BuyingRhythm:
    """BG/NBD over three features: days since the last and first purchase, and their number. Times in days."""

    model: BgNbd
    recency: str
    frequency: str
    age: str
    horizon: float

    def columns(self, recency: Array, frequency: Array, age: Array) -> tuple[Array, Array]:
        """Chance of being alive, and of no purchase within the horizon; NaN without a purchase. Shape (rows,) each."""
        x, t_x, whole, known = history(recency, frequency, age)
        alive = alive_probability(self.model, x, t_x, whole)
        none = no_purchase_soon(self.model, x, t_x, whole, self.horizon)
        return np.where(known, alive, np.nan), np.where(known, none, np.nan)


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """`features` are read from the store, in this order; `direct` are those of them that are columns of the model."""

    features: tuple[str, ...]
    direct: tuple[str, ...]
    rhythm: BuyingRhythm | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The model's columns, in order."""
        return (*self.direct, *((ALIVE, NO_ORDER) if self.rhythm else ()))

    def matrix(self, features: Array) -> Array:
        """Shape (rows, columns) from shape (rows, features); float64, contiguous, NaN where empty."""
        place = {name: at for at, name in enumerate(self.features)}
        if self.rhythm is None and self.direct == self.features:
            return np.ascontiguousarray(features)
        made = np.empty((len(features), len(self.names)))
        made[:, : len(self.direct)] = features[:, [place[name] for name in self.direct]]
        if self.rhythm is not None:
            history = (self.rhythm.recency, self.rhythm.frequency, self.rhythm.age)
            # Copies, which are contiguous, so that one row and a million take the same path through NumPy.
            columns = [np.array(features[:, place[name]], dtype=np.float64) for name in history]
            made[:, -2], made[:, -1] = self.rhythm.columns(*columns)
        return made

    def words(self) -> dict[str, str]:
        """What the computed columns mean."""
        if self.rhythm is None:
            return {}
        return {
            ALIVE: "chance that the customer still buys here, from the rhythm of their orders (BG/NBD)",
            NO_ORDER: f"chance of no order in {self.rhythm.horizon:g} days, from the rhythm of their orders (BG/NBD)",
        }

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inputs_from_json(raw: Mapping[str, Any]) -> ModelInputs:
    """What `to_json` gave, also through a JSON file.

    Raises:
        KeyError, TypeError: it is something else.
    """
    rhythm = raw.get("rhythm")
    if rhythm is not None:
        rhythm = BuyingRhythm(**{**rhythm, "model": BgNbd(**rhythm["model"])})
    return ModelInputs(tuple(raw["features"]), tuple(raw["direct"]), rhythm)
