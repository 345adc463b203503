"""How good a model is out of time, beside simple models that it has to beat, and what it is worth.

`evaluate` writes `evaluation.json` and `predictions.parquet`; `table_lines` is its table for a terminal.
"""

from pipelines.evaluate.results import Evaluation
from pipelines.evaluate.step import evaluate
from pipelines.evaluate.table import table_lines

__all__ = ["Evaluation", "evaluate", "table_lines"]
