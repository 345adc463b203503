"""What decisions need beside a probability: the value of a customer, and the time to the next event.

The steps are `fit`, `evaluate`, `report` and `register`; `load_companion` predicts from what was registered.
"""

from pipelines.companions.predict import load_companion
from pipelines.companions.registered import register
from pipelines.companions.report import CompanionReport, report
from pipelines.companions.results import CompanionEvaluation
from pipelines.companions.steps import CompanionFit, evaluate, fit

__all__ = [
    "CompanionEvaluation",
    "CompanionFit",
    "CompanionReport",
    "evaluate",
    "fit",
    "load_companion",
    "register",
    "report",
]
