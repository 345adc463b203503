"""What a unit of the reward is worth under each arm, and what an arm costs: by the catalogue, else by configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipelines.catalogue import Catalogue
from pipelines.policy_value.logged import Array


@dataclass(frozen=True, slots=True)
class Prices:
    """Values and costs in major units of `currency`, which is None where no catalogue says one.

    `minor` minor units are one major unit. `otherwise` is what a unit of reward is worth under an action that the
    catalogue lacks; such an action costs nothing.
    """

    catalogue: Catalogue | None
    minor: int
    otherwise: float

    @property
    def currency(self) -> str | None:
        return None if self.catalogue is None else self.catalogue.currency

    @property
    def order(self) -> tuple[str, ...]:
        """Actions as the catalogue lists them."""
        return () if self.catalogue is None else tuple(action.id for action in self.catalogue.actions)

    def cost(self, actions: Sequence[str]) -> Array:
        """Of the control, which costs nothing, and each action: shape (m + 1,)."""
        if self.catalogue is None:
            return np.zeros(len(actions) + 1)
        known = {action.id: action.cost / self.minor for action in self.catalogue.actions}
        return np.array([0.0, *(known.get(name, 0.0) for name in actions)])

    def worth(self, rows: pd.DataFrame, actions: Sequence[str]) -> tuple[Array, list[str]]:
        """Of each row under each arm, shape (n, m + 1), and what is to be known of it.

        Under the control a unit is worth the mean over actions, which is each action's where they say the same. A value
        that is not known, as of a customer who never bought, counts as 0: the decision does not act on it either.
        """
        notes, columns, unknown = [], [], 0
        for name in actions:
            values, known = self._values(name, rows)
            columns.append(np.where(known, values, 0.0))
            unknown = max(unknown, int((~known).sum()))
        lacking = [name for name in actions if name not in self.order]
        if lacking:
            notes.append(
                f"{', '.join(lacking)}: without a price in configs/actions.yaml, so a unit of reward is worth {self.otherwise:g} "
                "and the action costs 0"
            )
        if unknown:
            notes.append(f"the value of an action is not known in {unknown:,} of {len(rows):,} rows, and counts as 0")
        made = np.stack(columns, axis=1)
        if not np.allclose(made, made[:, :1]):
            notes.append("a unit of reward is worth more under one action than another; without action, the mean")
        return np.hstack([made.mean(axis=1, keepdims=True), made]), notes

    def _values(self, name: str, rows: pd.DataFrame) -> tuple[Array, np.ndarray]:
        if self.catalogue is None or name not in self.order:
            return np.full(len(rows), self.otherwise), np.ones(len(rows), dtype=bool)
        value = self.catalogue.action(name).value
        scope = {column: rows[column].to_numpy(dtype=np.float64) for column in value.names if column in rows}
        values, known = value.column(scope, len(rows))
        return np.asarray(values, dtype=np.float64) / self.minor, np.asarray(known, dtype=bool)
