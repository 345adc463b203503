"""How good a model is out of time, beside simple models that it has to beat.

`evaluate` writes `evaluation.json` and `predictions.parquet`; `table_lines` is its table for a terminal.
"""

from pipelines.evaluate.results import Evaluation, table_lines
from pipelines.evaluate.step import evaluate

__all__ = ["Evaluation", "evaluate", "table_lines"]
