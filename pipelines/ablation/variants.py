"""Which ingredients a model has: variants of it that lack one each, or have one that is off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from feature_repo.model_inputs import BuyingRhythm, ModelInputs
from feature_repo.spec import FeatureSpec
from pipelines.settings.models import FitConfig, ModelConfig

SEVERAL_SEEDS = 5
MOST_VIEWS = 8


@dataclass(frozen=True, slots=True)
class Variant:
    """A model that differs from the whole in one `ingredient`; `adds`: it has one that the whole lacks."""

    name: str
    meaning: str
    ingredient: str
    inputs: ModelInputs
    how: FitConfig
    adds: bool = False
    calibrated: bool = True
    newest_only: bool = False


def variants(
    config: ModelConfig, spec: FeatureSpec, inputs: ModelInputs, gains: Mapping[str, float], rhythm: BuyingRhythm | None
) -> tuple[list[Variant], list[str]]:
    """All variants, and notes on those that make no sense here.

    Args:
        config: the model's configuration.
        spec: which view a feature is of.
        inputs: the columns of the whole model.
        gains: what each column gained in the trees of the whole model.
        rhythm: BG/NBD to add where `inputs` have none; None where it cannot be.
    """
    made = [
        *_bg_nbd(config, inputs, rhythm), *_rfm(config, inputs), *_fit(config, inputs),
        Variant(
            "newest_snapshot_only", "trained on the newest train snapshot only; out of fold is of that snapshot",
            "the history of earlier snapshots", inputs, config.fit, newest_only=True,
        ),
    ]  # fmt: skip
    of_views, notes = _views(config, spec, inputs, gains)
    return [each for each in [*made, *of_views] if each.inputs.names], notes


def without(inputs: ModelInputs, left_out: set[str]) -> ModelInputs:
    """The same without some of the direct columns; computed ones stay."""
    return replace(inputs, direct=tuple(name for name in inputs.direct if name not in left_out))


def _bg_nbd(config: ModelConfig, inputs: ModelInputs, rhythm: BuyingRhythm | None) -> Iterator[Variant]:
    words = "the posteriors of BG/NBD"
    if inputs.rhythm is not None:
        yield Variant("without_bg_nbd", f"without {words}", words, replace(inputs, rhythm=None), config.fit)
    elif rhythm is not None:
        history = (rhythm.recency, rhythm.frequency, rhythm.age)
        features = tuple(dict.fromkeys([*inputs.features, *history]))
        added = ModelInputs(features, inputs.direct, rhythm)
        yield Variant("with_bg_nbd", f"with {words}, which are off", words, added, config.fit, adds=True)


def _rfm(config: ModelConfig, inputs: ModelInputs) -> Iterator[Variant]:
    """Those of the logistic regression: recency, frequency, monetary value, or what it reads instead."""
    read = set(config.baselines.logistic.features) & set(inputs.direct)
    if read:
        words = f"the {len(read)} columns of the {config.baselines.logistic.name}"
        yield Variant("without_rfm", f"without {words}", words, without(inputs, read), config.fit)


def _fit(config: ModelConfig, inputs: ModelInputs) -> Iterator[Variant]:
    how = config.fit
    if how.monotone:
        words = f"the directions of {len(how.monotone)} columns"
        free = how.model_copy(update={"monotone": {}})
        yield Variant("without_monotone", f"without {words}", words, inputs, free)
    if how.seeds > 1:
        one = how.model_copy(update={"seeds": 1})
        yield Variant("one_seed", f"one seed, not {how.seeds}", f"the mean over {how.seeds} seeds", inputs, one)
    else:
        several = how.model_copy(update={"seeds": SEVERAL_SEEDS})
        words = f"a mean over {SEVERAL_SEEDS} seeds"
        yield Variant("several_seeds", f"with {words}, not one", words, inputs, several, adds=True)
    yield Variant("without_calibration", "raw scores, not calibrated", "calibration", inputs, how, calibrated=False)


def _views(
    config: ModelConfig, spec: FeatureSpec, inputs: ModelInputs, gains: Mapping[str, float]
) -> tuple[list[Variant], list[str]]:
    """A variant a feature view, those with the largest gain first."""
    columns: dict[str, set[str]] = {}
    for name in inputs.direct:
        view = view_of(spec, name)
        if view is not None:
            columns.setdefault(view, set()).add(name)
    gain = {view: sum(gains.get(name, 0.0) for name in names) for view, names in columns.items()}
    ranked = sorted((view for view in columns if gain[view] > 0.0), key=lambda view: (-gain[view], view))
    unused = sorted(view for view in columns if gain[view] <= 0.0)
    made = [
        Variant(
            f"without_{view}", f"without the {len(columns[view])} columns of the view {view}", f"the view {view}",
            without(inputs, columns[view]), config.fit,
        )
        for view in ranked[:MOST_VIEWS]
    ]  # fmt: skip
    notes = []
    if ranked[MOST_VIEWS:]:
        notes.append(
            f"Only the {MOST_VIEWS} views with the largest gain are taken away; not {', '.join(ranked[MOST_VIEWS:])}."
        )
    if unused:
        notes.append(f"The trees do not read these views at all: {', '.join(unused)}.")
    return made, notes


def view_of(spec: FeatureSpec, name: str) -> str | None:
    """The view of a feature, of a customer or of a call; None where the spec does not have it any more."""
    found = spec.request_feature(name) or spec.by_name.get(name)
    return found.view if found is not None else None
