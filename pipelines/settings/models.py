"""What `configs/models/*.yaml` may say: label, snapshots, inputs, tuning, baselines, profit, slices, gates."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel
from pipelines.settings.labels import ActionLabel, AmountLabel, ClassLabel, Duration, Label, microseconds


class SnapshotConfig(ConfigModel):
    """When customers are looked at.

    `calendar`: as-of instants `every` apart, back from the last instant whose label is known. `opening`: right
    after each event that opens an opportunity (of a conversion label); the rows of each `every` are one snapshot.
    `most` snapshots are kept.
    """

    at: Literal["calendar", "opening"] = "calendar"
    every: Duration
    most: int = Field(ge=2, le=400)
    at_least_customers: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _are_apart(self) -> SnapshotConfig:
        if microseconds(self.every) == 0:
            raise ValueError("`every` longer than 0d")
        return self


class SplitConfig(ConfigModel):
    """The newest `test_snapshots` are the test; training labels end before the first of them."""

    test_snapshots: int = Field(default=1, ge=1)
    folds: int = Field(default=5, ge=2, le=20)


class BgNbdConfig(ConfigModel):
    """Features with a customer's history of buying: days since the last and first purchase, and their number."""

    recency: str
    frequency: str
    age: str


class InputsConfig(ConfigModel):
    """What the model reads of its feature service, and what is computed from it.

    `bg_nbd` adds the posteriors of BG/NBD, fitted on the newest training snapshot. Features in `without` are read
    for such inputs and for the simple models only.
    """

    bg_nbd: BgNbdConfig | None = None
    without: tuple[str, ...] = Field(default=(), description="names of features of the service; * stands for any text")


class TuneConfig(ConfigModel):
    trials: int = Field(ge=1)
    budget_seconds: float = Field(gt=0, description="wall-clock over all runs; random search gets the same again")
    rounds: int = Field(default=600, ge=10)
    early_stopping_rounds: int = Field(default=40, ge=1)
    seed: int = 7
    processes: int = Field(default=0, ge=0, description="side by side; 0: one a core")
    random_search: bool = Field(default=True, description="also search at random, to say what the tuning bought")
    most_rows: int = Field(default=200_000, ge=1000, description="rows of whole customers that are cross-validated")


class FitConfig(ConfigModel):
    """How the tuned model is fitted: scores averaged over `seeds`, and directions that the domain knows."""

    seeds: int = Field(default=1, ge=1, le=20)
    monotone: dict[str, Literal["raises", "lowers"]] = Field(default_factory=dict, description="input: what more does")


class LogisticConfig(ConfigModel):
    name: str = "Logistic regression"
    features: tuple[str, ...] = Field(min_length=1)


class BaselineConfig(ConfigModel):
    """Which features the simple models read. BG/NBD is for labels of buying."""

    logistic: LogisticConfig
    bg_nbd: BgNbdConfig | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """All of them, each once."""
        names = [*self.logistic.features, *(self.bg_nbd.model_dump().values() if self.bg_nbd else ())]
        return tuple(dict.fromkeys(names))


class EmpcConfig(ConfigModel):
    """Expected maximum profit of a retention campaign (Verbraken, Verbeke & Baesens 2013); defaults of CRAN's EMP.

    A contacted churner accepts with a chance that is Beta(alpha, beta); money in whole units.
    """

    kind: Literal["empc"]
    alpha: float = Field(default=6.0, gt=0)
    beta: float = Field(default=14.0, gt=0)
    customer_value: float = Field(default=200.0, gt=0)
    incentive: float = Field(default=10.0, ge=0)
    contact_cost: float = Field(default=1.0, ge=0)


class CostsConfig(ConfigModel):
    """Acting on a row costs `action_cost`, and brings `value` where its label is 1; money in whole units."""

    kind: Literal["costs"]
    action_cost: float = Field(gt=0)
    value: float = Field(gt=0)


class SliceConfig(ConfigModel):
    """Rows are told apart by bands of a feature, by which of several features is largest, or by consent.

    `below` are the upper ends of bands, the last band being open; `quantiles` bands hold equally many training rows.
    """

    name: str
    feature: str | None = None
    below: tuple[float, ...] = ()
    quantiles: int | None = Field(default=None, ge=2, le=10)
    labels: tuple[str, ...] = ()
    largest_of: dict[str, str] = Field(default_factory=dict, description="words: feature")
    consent: str | None = Field(default=None, description="a purpose: who said yes, and who was only not asked")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> SliceConfig:
        kinds = [bool(self.below), self.quantiles is not None, bool(self.largest_of), self.consent is not None]
        if sum(kinds) != 1 or (self.feature is None) == (kinds[0] or kinds[1]):
            raise ValueError("a feature with below or quantiles, or largest_of, or consent")
        bands = len(self.below) + 1 if self.below else self.quantiles
        if self.labels and len(self.labels) != bands:
            raise ValueError(f"{bands} labels, one a band")
        if list(self.below) != sorted(set(self.below)):
            raise ValueError("ascending ends of bands")
        return self


class LeakageConfig(ConfigModel):
    """What raises an alarm. AUCs are out of time, and of the training part."""

    truncated_rows: int = Field(default=2000, ge=1, description="rows made again from a log cut at their instant")
    shuffled_tolerance: float = Field(default=0.02, gt=0, description="AUC off .5 with shuffled labels")
    random_split_gap: float = Field(default=0.05, gt=0, description="AUC of a random split above that out of time")
    single_feature_auc: float = Field(default=0.95, gt=0.5, le=1.0)


class GateConfig(ConfigModel):
    """What a model must show before it becomes champion."""

    beats_base_rate_by: float = Field(default=0.0, description="lower bound of the log-loss gain, nats")
    calibration_error_over_noise: float = Field(default=3.0, description="ECE over its noise floor, at most")
    minimum_auc: float = Field(default=0.55, ge=0.0, le=1.0)
    maximum_loss_against_champion: float = Field(default=0.005, description="log-loss, upper bound, nats")
    maximum_loss_against_champion_in_slices: float = Field(
        default=0.1, description="log-loss in the worst slice, upper bound, nats; few rows cannot show less"
    )
    maximum_calibration_lost_to_champion: float = Field(
        default=0.03, description="calibration error, upper bound of the difference"
    )
    maximum_profit_lost_to_champion: float | None = Field(
        default=None, description="profit a row, upper bound, in money; not asked where empty"
    )
    worst_slice_loss_over_base_rate: float = Field(
        default=0.02,
        description="log-loss of the worst slice above that of the slice's own base rate, lower bound, nats",
    )
    leakage: bool = Field(default=True, description="no leakage alarm")
    minimum_test_rows: int = Field(default=200, ge=1)


class LearningConfig(ConfigModel):
    """What every file of `configs/models/` says, whatever is learned."""

    name: str
    description: str
    owner: str
    feature_service: str
    label: Label
    snapshots: SnapshotConfig
    split: SplitConfig = SplitConfig()
    inputs: InputsConfig = InputsConfig()
    tune: TuneConfig

    @property
    def hash(self) -> str:
        """SHA-256 (16 hex digits) over every setting of the model."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]


class ModelConfig(LearningConfig):
    """A model of a probability: churn or conversion."""

    label: ClassLabel
    fit: FitConfig = FitConfig()
    baselines: BaselineConfig
    profit: Annotated[EmpcConfig | CostsConfig, Field(discriminator="kind")] | None = None
    slices: tuple[SliceConfig, ...] = ()
    leakage: LeakageConfig = LeakageConfig()
    gates: GateConfig = GateConfig()
    actionable: tuple[str, ...] = Field(default=(), description="features that somebody can change; * as above")

    @property
    def other_features(self) -> tuple[str, ...]:
        """Features that something beside the model reads."""
        cuts = [name for cut in self.slices for name in (cut.feature, *cut.largest_of.values()) if name]
        return tuple(dict.fromkeys([*self.baselines.features, *cuts]))

    @model_validator(mode="after")
    def _openings_are_of_opportunities(self) -> ModelConfig:
        if self.snapshots.at == "opening" and self.label.kind != "conversion":
            raise ValueError("snapshots.at: opening needs label.kind: conversion, whose opportunities are opened")
        return self


class CompanionGates(ConfigModel):
    """What a companion must show before it becomes champion."""

    beats_simplest: bool = Field(default=True, description="better than the simplest baseline, lower bound above 0")
    coverage_off_by: float = Field(default=0.05, description="share in the interval off its level, at most")
    minimum_test_rows: int = Field(default=200, ge=1)
    maximum_loss_against_champion: float = Field(
        default=0.02, ge=0.0, description="share of the champion's score that is lost to it, upper bound"
    )


class CompanionSplit(SplitConfig):
    """One fold is held out for the interval of a value; the others are cross-validated, so there are two at least."""

    folds: int = Field(default=5, ge=3, le=20)


class CompanionConfig(LearningConfig):
    """What decisions need beside a probability: the value of a customer, or the time to the next event."""

    label: AmountLabel
    split: CompanionSplit = CompanionSplit()
    bg_nbd: BgNbdConfig
    monetary: str = Field(description="feature with the mean value of a purchase")
    interval: float = Field(default=0.9, gt=0.5, lt=1.0, description="level of the interval")
    gates: CompanionGates = CompanionGates()

    @property
    def other_features(self) -> tuple[str, ...]:
        """Features that something beside the model reads."""
        return (*self.bg_nbd.model_dump().values(), self.monetary)

    @model_validator(mode="after")
    def _is_of_the_calendar(self) -> CompanionConfig:
        if self.snapshots.at != "calendar":
            raise ValueError("snapshots.at: calendar")
        return self


Learner = Literal["s", "t", "x", "dr"]


class ActionGates(ConfigModel):
    """What a policy must show before it becomes champion."""

    randomised: bool = Field(default=True, description="the log was drawn with known chances; else people decide")
    minimum_test_rows: int = Field(default=200, ge=1)
    minimum_effective_sample_share: float = Field(
        default=0.05, ge=0, le=1, description="effective sample size of the policy over the test rows, at least"
    )
    worst_loss_against_no_action: float = Field(
        default=0.0, description="value a decision lost against acting on nobody, lower bound of the gain, in money"
    )
    maximum_loss_against_champion: float = Field(default=0.5, description="value a decision, upper bound, in money")


class ActionModelConfig(LearningConfig):
    """The model of what each action changes; worth and cost of actions stand in `actions.yaml`."""

    label: ActionLabel
    learners: tuple[Learner, ...] = Field(default=("s", "t", "x", "dr"), min_length=1)
    worth: float = Field(default=1.0, gt=0, description="money a unit of reward, of actions that the catalogue lacks")
    gates: ActionGates = ActionGates()
    slices: tuple[SliceConfig, ...] = ()
    actionable: tuple[str, ...] = ()

    @property
    def other_features(self) -> tuple[str, ...]:
        """What slices read; what the catalogue reads is added where the dataset is made."""
        cuts = [name for cut in self.slices for name in (cut.feature, *cut.largest_of.values()) if name]
        return tuple(dict.fromkeys(cuts))

    @model_validator(mode="after")
    def _is_of_assignments(self) -> ActionModelConfig:
        if self.snapshots.at != "opening":
            raise ValueError("snapshots.at: opening, since rows are looked at when an action is assigned")
        if self.inputs.bg_nbd is not None:
            raise ValueError("inputs without bg_nbd")
        if any(cut.consent is not None for cut in self.slices):
            raise ValueError("slices by features: actions are learned of those who said yes")
        return self
