"""Features on Spark: the steps of their query, those that several others read computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession

from feature_repo.spark.dialect import spark_steps
from feature_repo.spec import FeatureSpec
from feature_repo.sql import features_query


@dataclass(slots=True)
class FeaturesFrame:
    """`frame` has `point` and the features, one row per point, in order.

    What Spark keeps meanwhile, once an action has computed it, is given back by `release`.
    """

    frame: DataFrame
    kept: list[DataFrame] = field(default_factory=list)

    def release(self) -> None:
        """Let go of the steps that are kept; the frame stays valid and would compute them again."""
        for step in self.kept:
            step.unpersist()


def features_frame(session: SparkSession, spec: FeatureSpec, names: Sequence[str]) -> FeaturesFrame:
    """The features `names` over the views `points` and `customer_events` of `session`.

    Spark puts the text of a step wherever it is read, so that a step with several readers, as the events
    matched to the points, would read the lake and join once for each of them.
    """
    steps, selected = spark_steps(features_query(spec, names))
    kept = []
    for step in steps:
        frame = session.sql(step.sql)
        if step.readers > 1:
            kept.append(frame.persist())
        frame.createOrReplaceTempView(step.name)
    return FeaturesFrame(session.sql(selected), kept)
