"""The plan as a Parquet file: a row a customer, written whole or not at all.

customer_id, decision_id (text); action (text, `no_action` where nothing is done), variant, channel (text or null);
send_at (instant, UTC), send_hour (the customer's hour of the day that suits them, null where none is known of); cost
(int64) and expected_value (float64), minor units; propensity (float64), basis, holdout, explored, stage; reason, a
code (`value`, `nothing_worth_it`, `nothing_open`, `explored`, `holdout`); alternatives, a list with every action of
the catalogue and no action: action, why it lost (codes of `decisions.situation.Lost`), expected_value, propensity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.console import UserError
from pipelines.decide_batch.choose import Choices
from pipelines.decide_batch.crowd import Crowd
from pipelines.decide_batch.obstacles import CODES
from pipelines.decide_batch.timing import NEVER, NO_HOUR
from pipelines.decisions.allocation import NOTHING
from pipelines.decisions.situation import Basis

_INSTANT = pa.timestamp("us", tz="UTC")
ALTERNATIVE = pa.struct(
    [("action", pa.string()), ("lost", pa.string()), ("expected_value", pa.float64()), ("propensity", pa.float64())]
)
SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("decision_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("variant", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("send_at", _INSTANT),
        pa.field("send_hour", pa.int8()),
        pa.field("expected_value", pa.float64(), nullable=False),
        pa.field("cost", pa.int64(), nullable=False),
        pa.field("propensity", pa.float64(), nullable=False),
        pa.field("basis", pa.string(), nullable=False),
        pa.field("holdout", pa.bool_(), nullable=False),
        pa.field("explored", pa.bool_(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("alternatives", pa.list_(ALTERNATIVE), nullable=False),
    ]
)
_ROWS = 50_000
# What becomes of an open action; obstacles come before.
_LOST = (*CODES, "chosen", "holdout", "not_drawn", "unknown_to_model", "not_worth_it", "less_value")
_CHOSEN, _HOLDOUT, _NOT_DRAWN, _UNKNOWN, _NOT_WORTH, _LESS = range(len(CODES), len(_LOST))


def plan_tables(catalogue: Catalogue, crowd: Crowd, choices: Choices, basis: Basis, run_id: str) -> Iterator[pa.Table]:
    """The rows of the plan, some at a time."""
    for begin in range(0, len(crowd.ids), _ROWS):
        yield _table(catalogue, crowd, choices, basis, run_id, slice(begin, begin + _ROWS))


@contextmanager
def written_whole(path: Path) -> Iterator[parquet.ParquetWriter]:
    """A writer whose file is at `path` once all was written, and not before; what stood there is replaced.

    Raises:
        UserError: an erasure took away what was written by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with parquet.ParquetWriter(partial, SCHEMA) as writer:
            yield writer
        if not partial.exists():
            raise UserError("An erasure ran while the plan was written, and removed it. Make it again.")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def decision_id(run_id: str, customer: str) -> str:
    """The id of a customer's decision in a run: the same for ever."""
    return f"{run_id}:{customer}"


def _table(
    catalogue: Catalogue, crowd: Crowd, choices: Choices, basis: Basis, run_id: str, part: slice
) -> pa.Table:  # fmt: skip
    ids = list(crowd.ids[part])
    choice, holdout, explored = choices.choice[part], crowd.holdout[part], choices.explored[part]
    acts = choice != NOTHING
    lost = _lost(crowd, choices, part)
    columns: dict[str, Any] = {
        "customer_id": ids,
        "decision_id": [decision_id(run_id, customer) for customer in ids],
        "action": _picked([*(action.id for action in catalogue.actions), NO_ACTION], choice),
        "variant": _variants(catalogue, crowd.variant[part], choice),
        "channel": _picked([*(action.channel for action in catalogue.actions), None], choice),
        "send_at": _chosen(crowd.send_at[part], choice, NEVER),
        "send_hour": _chosen(crowd.hour[part], choice, NO_HOUR),
        "expected_value": np.where(acts, np.nan_to_num(_of_choice(crowd.expected_value[part], choice, 0.0)), 0.0),
        "cost": np.array([*(action.cost for action in catalogue.actions), 0], dtype=np.int64)[choice],
        "propensity": choices.propensity[part],
        "basis": [basis] * len(ids),
        "holdout": holdout,
        "explored": explored,
        "stage": crowd.stage[part].tolist(),
        "reason": _reasons(crowd.is_open[part], acts, holdout, explored),
        "alternatives": _alternatives(catalogue, crowd.expected_value[part], lost, choices, crowd, part),
    }
    return pa.Table.from_arrays([_array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _picked(names: Sequence[str | None], choice: NDArray[np.int64]) -> pa.Array:
    """Of n customers the name by the number of their choice; -1, no action, is the last."""
    return pa.array(names, pa.string()).take(pa.array(choice % len(names)))


def _of_choice(values: NDArray[Any], choice: NDArray[np.int64], otherwise: Any) -> NDArray[Any]:
    if not values.shape[1]:
        return np.full(len(values), otherwise, dtype=values.dtype)
    own = values[np.arange(len(values)), np.maximum(choice, 0)]
    return np.where(choice == NOTHING, otherwise, own).astype(values.dtype)


def _chosen(values: NDArray[Any], choice: NDArray[np.int64], empty: int) -> pa.Array:
    own = _of_choice(values, choice, empty)
    made = pa.array(own, mask=own == empty)
    return made.cast(_INSTANT) if values.dtype == np.int64 else made


def _variants(catalogue: Catalogue, variant: NDArray[np.int8], choice: NDArray[np.int64]) -> pa.Array:
    width = max((len(action.variants) for action in catalogue.actions), default=1)
    names: list[str | None] = []
    for action in catalogue.actions:
        names += [*(item.id for item in action.variants), *[None] * (width - len(action.variants))]
    own = _of_choice(variant, choice, 0).astype(np.int64)
    place = np.where(choice == NOTHING, len(names), choice * width + own)
    return pa.array([*names, None], pa.string()).take(pa.array(place))


def _reasons(is_open: NDArray[np.bool_], acts: NDArray[np.bool_], holdout: NDArray[np.bool_],
             explored: NDArray[np.bool_]) -> pa.Array:  # fmt: skip
    codes = ("value", "nothing_worth_it", "nothing_open", "explored", "holdout")
    place = np.where(acts, 0, np.where(is_open.any(axis=1), 1, 2))
    place = np.where(holdout, 4, np.where(explored, 3, place))
    return pa.array(codes, pa.string()).take(pa.array(place))


def _lost(crowd: Crowd, choices: Choices, part: slice) -> NDArray[np.int8]:
    """Why each action and, last, no action lost, numbers of _LOST, shape (n, k + 1); as `decisions.reasons` has it."""
    values, is_open, choice = crowd.expected_value[part], crowd.is_open[part], choices.choice[part]
    scores = np.hstack([values - choices.shadow_price * crowd.costs, np.zeros((len(values), 1))])
    made = np.full(scores.shape, _LESS, dtype=np.int8)
    made[:, :-1][scores[:, :-1] <= 0.0] = _NOT_WORTH
    made[np.isnan(scores)] = _UNKNOWN
    made[choices.explored[part]] = _NOT_DRAWN
    made[crowd.holdout[part]] = _HOLDOUT
    made[:, :-1] = np.where(is_open, made[:, :-1], crowd.obstacle[part])
    made[np.arange(len(made)), choice] = _CHOSEN  # -1, no action, is the last
    return made


def _alternatives(
    catalogue: Catalogue, values: NDArray[np.float64], lost: NDArray[np.int8], choices: Choices, crowd: Crowd,
    part: slice,
) -> pa.Array:  # fmt: skip
    rows, width = lost.shape
    nothing = width - 1
    best = np.where(choices.best[part] == NOTHING, nothing, choices.best[part])
    chance = np.where(
        np.arange(width) == best[:, None], choices.chance_of_best[part, None], choices.chance_of_others[part, None]
    )
    holdout = crowd.holdout[part, None]
    is_open = np.hstack([crowd.is_open[part], np.ones((rows, 1), dtype=bool)])
    chance = np.where(holdout, np.arange(width) == nothing, np.where(is_open, chance, 0.0)).astype(np.float64)
    flat = np.hstack([values, np.zeros((rows, 1))]).ravel()
    names = pa.array([*(action.id for action in catalogue.actions), NO_ACTION], pa.string())
    parts = [
        names.take(pa.array(np.tile(np.arange(width), rows))),
        pa.array(_LOST, pa.string()).take(pa.array(lost.ravel())),
        pa.array(flat, mask=np.isnan(flat)),
        pa.array(chance.ravel()),
    ]
    items = pa.StructArray.from_arrays(parts, fields=list(ALTERNATIVE))
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), items)
