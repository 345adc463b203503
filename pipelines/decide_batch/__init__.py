"""Decisions for all customers at one instant under one budget: a plan, as a file, and its value."""

from pipelines.decide_batch.plan import BatchSummary, decide_all

__all__ = ["BatchSummary", "decide_all"]
