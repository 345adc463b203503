"""A model that adds up: log-odds = intercept + sum over terms of coefficient * (transform(column) - mean).

What each column adds is exact, so its reasons need no approximation; with means of the training rows they say how
a customer differs from the average one. The service and the evaluation both compute it here, with NumPy alone and
column by column, so that one row and a million have the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Transform = Literal["signed_log", "is_empty", "log_odds"]

# A probability of 0 or 1 counts as this far from it: log-odds of 27.6 at most.
_SURE = 1e-12


@dataclass(frozen=True, slots=True)
class Term:
    """One transformed column: `signed_log` is sign(v) * log(1 + |v|), `log_odds` is that of a probability.

    `is_empty` is 1 where the column is empty, else 0; for the others `fill` stands where it is empty, in the unit
    of what is transformed. `mean` is that of the training rows, `coefficient` is in log-odds.
    """

    column: str
    transform: Transform
    coefficient: float
    mean: float
    fill: float = 0.0

    def contribution(self, values: Array) -> Array:
        """Log-odds, shape (rows,), of a contiguous column."""
        return self.coefficient * (transformed(self.transform, values, self.fill) - self.mean)


def transformed(transform: Transform, values: Array, fill: float) -> Array:
    """A column, shape (rows,), as a term reads it."""
    known = np.isfinite(values)
    if transform == "is_empty":
        return (~known).astype(np.float64)
    there = np.where(known, values, 0.0)
    if transform == "signed_log":
        made = np.sign(there) * np.log1p(np.abs(there))
    else:
        sure = np.clip(there, _SURE, 1.0 - _SURE)
        made = np.log(sure) - np.log1p(-sure)
    return np.where(known, made, fill)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """`columns` are those of the matrix it reads, in order; it answers as a booster does. Threads may share it."""

    columns: tuple[str, ...]
    intercept: float
    terms: tuple[Term, ...]

    def feature_name(self) -> list[str]:
        """The names of its columns, in order."""
        return list(self.columns)

    def contributions(self, matrix: Array) -> Array:
        """What each column adds in log-odds, the intercept last: shape (rows, columns + 1) of (rows, columns).

        Raises:
            ValueError: the matrix has another shape.
        """
        if matrix.ndim != 2 or matrix.shape[1] != len(self.columns):
            raise ValueError(f"a matrix of shape {matrix.shape} for {len(self.columns)} columns")
        made = np.zeros((len(matrix), len(self.columns) + 1))
        made[:, -1] = self.intercept
        for term in self.terms:
            at = self.columns.index(term.column)
            # A copy is contiguous whatever the matrix is, also of one row.
            made[:, at] += term.contribution(np.array(matrix[:, at], dtype=np.float64))
        return made

    def raw_scores(self, matrix: Array) -> Array:
        """Log-odds, shape (rows,). Raises as `contributions`."""
        parts = self.contributions(matrix)
        scores = np.array(parts[:, -1])
        for at in range(len(self.columns)):
            scores += parts[:, at]
        return scores

    def predict(self, matrix: Array) -> Array:
        """The probability, shape (rows,). Raises as `contributions`."""
        return np.exp(-np.logaddexp(0.0, -self.raw_scores(matrix)))

    def on_line(self, intercept: float, slope: float) -> LinearModel:
        """The model whose log-odds are `intercept + slope * log-odds` of this one."""
        terms = tuple(replace(term, coefficient=slope * term.coefficient) for term in self.terms)
        return LinearModel(self.columns, intercept + slope * self.intercept, terms)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def linear_from_json(raw: Mapping[str, Any]) -> LinearModel:
    """What `to_json` gave, also through a JSON file.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    terms = tuple(Term(**term) for term in raw["terms"])
    model = LinearModel(tuple(raw["columns"]), float(raw["intercept"]), terms)
    for term in terms:
        if term.column not in model.columns or term.transform not in get_args(Transform):
            raise ValueError(f"no column {term.column!r}, or no transform {term.transform!r}")
        if not np.isfinite([term.coefficient, term.mean, term.fill, model.intercept]).all():
            raise ValueError(f"a number of the column {term.column!r} that is not finite")
    return model
