"""Rows to learn from: as-of instants, matured labels, point-in-time features, and their split."""

from pipelines.dataset.again import DatasetAgain
from pipelines.dataset.build import DatasetSummary, build_dataset

__all__ = ["DatasetAgain", "DatasetSummary", "build_dataset"]
