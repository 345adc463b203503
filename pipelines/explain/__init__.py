"""Why a model predicts what it does: one self-contained page for reviewers, and its figures as JSON."""

from pipelines.explain.step import ExplainSummary, explain

__all__ = ["ExplainSummary", "explain"]
