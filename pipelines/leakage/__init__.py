"""Does a dataset know more than could be known? Alarms, each with its figure and threshold.

`look_for_leakage` writes `leakage.json`.
"""

from pipelines.leakage.results import Alarm, Leakage
from pipelines.leakage.step import look_for_leakage
from pipelines.leakage.truncated import CutLog, MadeAgain

__all__ = ["Alarm", "CutLog", "Leakage", "MadeAgain", "look_for_leakage"]
