"""Which columns the model has, and the parameters of those that are computed."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pandas as pd

from feature_repo.model_inputs import ModelInputs
from pipelines.buying_rhythm import fit_rhythm
from pipelines.settings.models import LearningConfig


def model_inputs(config: LearningConfig, rows: pd.DataFrame, names: tuple[str, ...]) -> ModelInputs:
    """The columns of the model over features `names`; BG/NBD is fitted to histories, and sees no label.

    Raises:
        UserError: BG/NBD is asked for, and no row of the newest training snapshot has a purchase.
    """
    left = tuple(name for name in names if not any(fnmatchcase(name, text) for text in config.inputs.without))
    asked = config.inputs.bg_nbd
    return ModelInputs(names, left, None if asked is None else fit_rhythm(config.label, asked, rows))
