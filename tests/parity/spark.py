"""A further way to a feature value: the same SQL in Spark's dialect."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from tests.parity.harness import POINT_SCHEMA, Delivery, Point, events_table
from tests.spark import spark_session


def by_spark(
    spec: FeatureSpec,
    names: Sequence[str],
    log: Sequence[Delivery],
    points: Sequence[Point],
) -> list[list[FeatureValue]]:
    """As `by_sql`, on Spark. A call costs seconds, so ask for many customers and points at once."""
    session = spark_session()
    from feature_repo.spark.features import features_frame
    from feature_repo.spark.session import private_session, share

    private = private_session(session)
    share(session.createDataFrame(events_table(log)), private, "customer_events")
    share(session.createDataFrame(_points(points)), private, "points")
    features = features_frame(private, spec, names)
    rows = features.frame.toArrow()
    features.release()
    columns = [rows.column(name).to_pylist() for name in names]
    return [list(row) for row in zip(*columns, strict=True)]


def _points(points: Sequence[Point]) -> pa.Table:
    columns = [list(range(len(points))), [p.customer for p in points], [p.as_of for p in points]]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, POINT_SCHEMA, strict=True)], POINT_SCHEMA)
