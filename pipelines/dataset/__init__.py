"""Rows to learn from: as-of instants, matured labels, point-in-time features, and their split."""

from pipelines.dataset.action_overview import ActionOverview, action_overview
from pipelines.dataset.build import DatasetSummary, build_dataset
from pipelines.dataset.overview import LabelOverview, label_overview

__all__ = [
    "ActionOverview",
    "DatasetSummary",
    "LabelOverview",
    "action_overview",
    "build_dataset",
    "label_overview",
]
