"""The true probabilities behind a test: of a file, or computed from the hidden states of the made-up retailer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.configuration import Problem
from feature_repo.windows import DAY
from pipelines.console import UserError, progress
from pipelines.settings.labels import ChurnLabel, microseconds

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.demo import DemoConfig
    from pipelines.settings import Settings
    from pipelines.settings.models import ModelConfig

DEMO = "demo"
# The only event whose chance the retailer's hidden state gives.
ORDER = "Order Completed"


def read_truth(settings: Settings, config: ModelConfig, where: str) -> pd.DataFrame:
    """Columns customer_id, as_of, probability of label 1: of a Parquet file, or for `demo` of the retailer's states.

    Raises:
        UserError: there is no such file, or the retailer's truth is not known of such a label.
    """
    import pandas as pd

    from pipelines.artefacts import load_dataset
    from pipelines.demo import load_demo_config

    if where != DEMO:
        if not Path(where).is_file():
            raise UserError(f"There is no file {where}. For the made-up retailer say: --truth demo")
        return pd.read_parquet(where)
    manifest = load_dataset(settings.workspace.artefacts(config.name)).manifest
    instants = [item.as_of for item in manifest.snapshots if item.part == "test"]
    demo = _made_with(settings, load_demo_config(settings.config_dir / "demo.yaml"))
    return demo_truth(demo, config, instants)


def demo_truth(demo: DemoConfig, config: ModelConfig, instants: list[int]) -> pd.DataFrame:
    """Everybody who had registered, at all `instants` (int64 microseconds UTC).

    Raises:
        UserError: the label is not of orders over whole days from an instant at 00:00 UTC.
    """
    import pandas as pd

    from pipelines.demo.churn_truth import chance_of_no_order, day_of_instant
    from pipelines.demo.course import course
    from pipelines.demo.dynamics import ABSENT
    from pipelines.demo.identities import customer_ids
    from pipelines.demo.traits import draw_traits

    _refuse_unknown(config)
    try:
        days = {day_of_instant(demo, instant): instant for instant in instants}
    except ValueError:
        raise UserError("The retailer's truth is known at 00:00 UTC, and the test is of other instants.") from None
    if not days or not 0 <= min(days) <= max(days) < demo.days:
        raise UserError("The test is not within the days of configs/demo.yaml: were other data ingested here?")
    horizon = microseconds(config.label.horizon) // DAY
    demo = demo.model_copy(update={"truth": demo.truth.model_copy(update={"horizon_days": horizon})})
    traits = draw_traits(demo)
    names = customer_ids(traits.count)
    frames = []
    with progress("true probabilities", total=max(days) + 1) as advance:
        for moment in course(demo, traits):
            if moment.day in days:
                none = chance_of_no_order(demo, traits, moment)
                chance = none if isinstance(config.label, ChurnLabel) else 1.0 - none
                as_of = pd.Timestamp(days[moment.day], unit="us", tz="UTC")
                frame = pd.DataFrame({"customer_id": names, "as_of": as_of, "probability": chance})
                frames.append(frame[moment.before.phase != ABSENT])
            advance(1)
            if moment.day >= max(days):
                break
    return pd.concat(frames, ignore_index=True)


def _made_with(settings: Settings, demo: DemoConfig) -> DemoConfig:
    """The configuration that the retailer of this workspace was made with, where it is kept beside the truth."""
    import json

    file = settings.workspace.sources / "truth" / "truth.json"
    if not file.exists():
        return demo
    return type(demo).model_validate(json.loads(file.read_text("utf-8"))["parameters"])


def _refuse_unknown(config: ModelConfig) -> None:
    label = config.label
    checks = {
        "snapshots.at": (config.snapshots.at, "calendar"),
        "label.outcome": (", ".join(label.outcome_events), ORDER),
        "label.gap": (microseconds(label.gap), 0),
        "label.horizon in part days": (microseconds(label.horizon) % DAY, 0),
        "label.match": (getattr(label, "match", None), None),
    }
    problems = [
        Problem(place, str(expected), str(got), "the truth of other labels is not known")
        for place, (got, expected) in checks.items()
        if got != expected
    ]
    if problems:
        raise UserError(f"The retailer's truth of the model {config.name!r} is not known.", problems)
