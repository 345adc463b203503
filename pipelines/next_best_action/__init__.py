"""What each action changes, learned from logged decisions: which policy is best is judged by what it is worth.

The steps are `fit`, `evaluate` and `register`; what is registered is served as a model of kind `effects`.
"""

from pipelines.next_best_action.registered import register
from pipelines.next_best_action.results import ActionEvaluation
from pipelines.next_best_action.steps import EffectFit, evaluate, fit

__all__ = ["ActionEvaluation", "EffectFit", "evaluate", "fit", "register"]
