"""Rows to learn from: as-of instants, matured labels, point-in-time features, and their split."""

from pipelines.dataset.build import DatasetSummary, build_dataset

__all__ = ["DatasetSummary", "build_dataset"]
