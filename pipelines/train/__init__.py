"""The calibrated models: tuned, and with LightGBM's default parameters to compare with."""

from pipelines.train.fit import TrainSummary, train

__all__ = ["TrainSummary", "train"]
