"""One prediction a customer and day, so that who is asked about often does not count for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from feature_repo.served import FeatureList, ServedVector
from feature_repo.windows import DAY
from pipelines.console import UserError
from pipelines.served_log import log_files, served_in
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class Logged:
    """A prediction as it is compared with others; `shadow` are probabilities by challenger and version."""

    customer_id: str
    as_of: int
    served_at: int
    version: str
    probability: float
    shadow: dict[tuple[str, str], float]


def logged_of(settings: Settings, model: str) -> list[Logged]:
    """All logged predictions of a model, in the order of the files.

    Raises:
        UserError: none is in the log.
    """
    found = [_logged(*pair) for pair in served_in(log_files(settings.workspace.served)) if _is_of(model, pair[1])]
    if not found:
        hint = "serve some first; `twin predictions list` says what is there"
        raise UserError(f"no prediction of {model} is in the log", [Problem("served", "predictions", "none", hint)])
    return [one for one in found if one is not None]


def model_of(settings: Settings, model: str) -> ModelConfig:
    """Raises UserError where no model of that name predicts a probability."""
    if model not in settings.models:
        known = ", ".join(sorted(settings.models))
        raise UserError("there is no such model", [Problem("MODEL", f"one of: {known}", model)])
    return settings.models[model]


def firsts(predictions: Iterable[Logged]) -> list[Logged]:
    """Of each customer the first of each UTC day, by as-of instant, then by when it was served."""
    found: dict[tuple[str, int], Logged] = {}
    for one in predictions:
        key = (one.customer_id, one.as_of // DAY)
        held = found.get(key)
        if held is None or (one.as_of, one.served_at) < (held.as_of, held.served_at):
            found[key] = one
    return list(found.values())


def customer_numbers(predictions: Iterable[Logged]) -> NDArray[np.int64]:
    """The customer of each as a number from 0 without gaps, as resamples want it."""
    names = [one.customer_id for one in predictions]
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def _is_of(model: str, reads: FeatureList | None) -> bool:
    return reads is not None and reads.model == model


def _logged(vector: ServedVector, reads: FeatureList | None) -> Logged | None:
    if reads is None:
        return None
    shadow = {(one.model, one.version): one.probability for one in vector.shadow}
    who = (vector.customer_id, vector.as_of, vector.served_at)
    return Logged(*who, reads.version, vector.probability, shadow)
