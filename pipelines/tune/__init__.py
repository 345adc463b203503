"""Search for LightGBM's parameters, resumable after a kill."""

from pipelines.tune.search import TuneSummary, tune

__all__ = ["TuneSummary", "tune"]
