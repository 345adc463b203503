"""What each ingredient of a model buys: the model made again without it.

`take_apart` writes `ablation.json`.
"""

from pipelines.ablation.results import Ablation, Row, sentence
from pipelines.ablation.step import take_apart

__all__ = ["Ablation", "Row", "sentence", "take_apart"]
