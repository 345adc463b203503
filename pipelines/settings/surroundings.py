"""What the rest of the configuration knows, as far as a catalogue of actions refers to it."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.configuration import ConfigModel
from feature_repo.spec import FeatureSpec
from pipelines.expressions import Kind
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.models import ActionModelConfig, ModelConfig
from pipelines.settings.tracking_plan import TrackingPlan


class Surroundings(ConfigModel):
    """Kinds of features by name, and what else has a name. `currencies` are numbers of decimals by code.

    `money_rewards` are those models of actions whose reward is money. `utc_offset` is that of the features' calendar,
    microseconds east of UTC.
    """

    features: dict[str, Kind]
    channels: tuple[str, ...]
    currencies: dict[str, int]
    purposes: tuple[str, ...]
    action_models: tuple[str, ...]
    models: tuple[str, ...]
    money_rewards: tuple[str, ...] = ()
    utc_offset: int = 0


def surroundings_of(
    spec: FeatureSpec,
    plan: TrackingPlan,
    consent: ConsentConfig,
    models: Mapping[str, ModelConfig],
    action_models: Mapping[str, ActionModelConfig],
) -> Surroundings:
    """Features of a call are left out: a decision for all customers has no call."""
    kinds: dict[str, Kind] = {
        name: "text" if feature.kind == "text" else "number" for name, feature in spec.by_name.items()
    }
    return Surroundings(
        features=kinds,
        channels=plan.channels,
        currencies=dict(plan.currencies),
        purposes=tuple(consent.purposes),
        action_models=tuple(action_models),
        models=tuple(models),
        money_rewards=tuple(name for name, model in action_models.items() if model.label.reward.of == "value"),
        utc_offset=spec.utc_offset,
    )
