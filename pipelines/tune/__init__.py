"""Search for LightGBM's parameters, in several processes, resumable after a kill."""

from pipelines.tune.result import TuneSummary
from pipelines.tune.search import tune

__all__ = ["TuneSummary", "tune"]
