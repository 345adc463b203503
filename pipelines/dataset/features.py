"""Feature values at the dataset's rows, through Feast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.configuration import Problem
from feature_repo.request_features import AS_OF
from pipelines.console import UserError

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore


def historical_features(
    store: FeatureStore, asked: FeatureService | list[str], points: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Point-in-time values of `names` at each row of `points` (customer_id, as_of in microseconds UTC).

    `asked` is what Feast is asked for: a feature service, or a list of `view:feature`.

    Returns:
        float64 columns `names`, NaN where a feature is empty, one row per row of `points`, in its order.

    Raises:
        UserError: a feature is not a number.
        RuntimeError: the store did not answer with exactly one row per point.
    """
    instants = pd.to_datetime(points["as_of"], unit="us", utc=True).astype("datetime64[us, UTC]")
    # On-demand views read the instant from a column of its own.
    columns = {"customer_id": points["customer_id"], "event_timestamp": instants, AS_OF: points["as_of"]}
    entities = pd.DataFrame(columns)
    table = store.get_historical_features(entities, asked).to_arrow()
    _refuse_text(table, names)
    order = _row_order(table, points)
    values = {name: _as_float(table.column(name))[order] for name in names}
    return pd.DataFrame(values, index=points.index)


def _row_order(table: pa.Table, points: pd.DataFrame) -> np.ndarray:
    """For each point the row of `table` that answers it: the store promises no order."""
    stamps = table.column("event_timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    answered = pd.DataFrame(
        {
            "customer_id": table.column("customer_id").to_pandas(),
            "as_of": stamps.to_numpy(),
            "row": np.arange(len(table)),
        }
    )
    joined = points[["customer_id", "as_of"]].merge(answered, on=["customer_id", "as_of"], how="left")
    if len(table) != len(points) or len(joined) != len(points) or joined["row"].isna().any():
        raise RuntimeError(
            f"the feature store answered {len(table)} rows for {len(points)} points, or others than asked"
        )
    return joined["row"].to_numpy(dtype=np.int64)


def _as_float(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _refuse_text(table: pa.Table, names: Sequence[str]) -> None:
    text = [name for name in names if not _is_number(table.schema.field(name).type)]
    if text:
        problems = [Problem(name, "a number", str(table.schema.field(name).type)) for name in text]
        raise UserError("A model reads only features that are numbers.", problems)


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)
    )
