"""Fitting a calibrated booster: shared by the steps that train models, take them apart, and doubt them."""

from pipelines.fitting.fit import FitSummary, OutOfFold, fit_calibrated, monotone_constraints

__all__ = ["FitSummary", "OutOfFold", "fit_calibrated", "monotone_constraints"]
