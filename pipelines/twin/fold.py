"""The twin of a customer, as a pure function of their events, the features at an instant, and what is declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.events.moments import Moment
from pipelines.twin.rules import TwinRules
from pipelines.twin.state import Twin


def twin_at(
    customer_id: str,
    as_of: int,
    moments: Sequence[Moment],
    features: Mapping[str, FeatureValue],
    rules: TwinRules,
    spec: FeatureSpec,
    position: int,
) -> Twin:
    """The twin at `as_of` (int64 microseconds UTC).

    `moments` are those visible then (see `moments.visible`), ascending; `features` at least `rules.features` at `as_of`.
    """
    raise NotImplementedError
