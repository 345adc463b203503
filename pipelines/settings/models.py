"""What `configs/models/*.yaml` may say: label, snapshots, tuning, baselines, gates."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from feature_repo.configuration import ConfigModel
from feature_repo.windows import parse_window


def _duration(text: str) -> str:
    if text != "0d":
        parse_window(text)
    if text == "lifetime":
        raise ValueError("a duration such as 30d or 12h")
    return text


Duration = Annotated[str, AfterValidator(_duration)]


def microseconds(duration: str) -> int:
    """Length of a duration such as `30d` in microseconds."""
    return 0 if duration == "0d" else (parse_window(duration).length or 0)


class LabelConfig(ConfigModel):
    """Churn: a qualifying event in [t - activity, t), none in [t + gap, t + gap + horizon)."""

    kind: Literal["churn"]
    qualifying_events: tuple[str, ...] = Field(min_length=1)
    activity_window: Duration
    horizon: Duration
    gap: Duration = "0d"
    arrival_delay: Duration = Field(default="0d", description="how late an event may arrive; labels wait for it")


class SnapshotConfig(ConfigModel):
    """As-of instants, `every` apart, back from the last instant whose label is known; `most` are kept."""

    every: Duration
    most: int = Field(ge=2, le=400)
    at_least_customers: int = Field(default=50, ge=1)


class SplitConfig(ConfigModel):
    """The newest `test_snapshots` are the test; training labels end before the first of them."""

    test_snapshots: int = Field(default=1, ge=1)
    folds: int = Field(default=5, ge=2, le=20)


class TuneConfig(ConfigModel):
    trials: int = Field(ge=1)
    budget_seconds: float = Field(gt=0)
    rounds: int = Field(default=600, ge=10)
    early_stopping_rounds: int = Field(default=40, ge=1)
    seed: int = 7


class BaselineConfig(ConfigModel):
    """Which features the simple models read."""

    recency: str
    frequency: str
    monetary: str
    age: str


class GateConfig(ConfigModel):
    """What a model must show before it becomes champion."""

    beats_base_rate_by: float = Field(default=0.0, description="lower bound of the log-loss gain, nats")
    calibration_error_over_noise: float = Field(default=3.0, description="ECE over its noise floor, at most")
    minimum_auc: float = Field(default=0.55, ge=0.0, le=1.0)
    maximum_loss_against_champion: float = Field(default=0.005, description="log-loss, upper bound, nats")
    minimum_test_rows: int = Field(default=200, ge=1)


class ModelConfig(ConfigModel):
    """All of one `configs/models/<name>.yaml`."""

    name: str
    description: str
    owner: str
    feature_service: str
    label: LabelConfig
    snapshots: SnapshotConfig
    split: SplitConfig = SplitConfig()
    tune: TuneConfig
    baselines: BaselineConfig
    gates: GateConfig = GateConfig()

    @property
    def hash(self) -> str:
        """SHA-256 (16 hex digits) over every setting of the model."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _spans_are_positive(self) -> ModelConfig:
        spans = {
            "label.horizon": self.label.horizon,
            "label.activity_window": self.label.activity_window,
            "snapshots.every": self.snapshots.every,
        }
        empty = [name for name, duration in spans.items() if microseconds(duration) == 0]
        if empty:
            raise ValueError(f"a duration longer than 0d for {' and '.join(empty)}")
        return self
