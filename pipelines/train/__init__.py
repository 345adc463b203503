"""The calibrated models: tuned, and with LightGBM's default parameters to compare with."""

from pipelines.train.fit import FitSummary, TrainSummary, train

__all__ = ["FitSummary", "TrainSummary", "train"]
