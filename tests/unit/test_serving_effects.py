"""What actions change, as the service computes it: training's bits, exact reasons, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pytest
from bentoml._internal.models import ModelStore

from feature_repo.effect_model import Combination, EffectModel
from feature_repo.model_inputs import ModelInputs
from feature_repo.spec import FeatureSpec
from feature_repo.spec_content import FILE, text_of
from pipelines.settings import Workspace, load_settings
from pipelines.uplift.rows import FittedEffects
from serving.api.errors import ApiError
from serving.api.pages import model_info
from serving.bootstrap import wire
from serving.connection import Connection
from serving.effect_champion import EffectPredictor
from serving.features import FeatureReader, MemoryReader
from tests.unit.effect_parts import ACTIONS, fitted_effects, write_effects
from tests.unit.serving_parts import DATA_END, Shop, make_shop

NAME = "next_best_action"


@pytest.fixture
def shop(tmp_path: Path) -> ActionShop:
    loaded = load_settings()
    made = make_shop(tmp_path)
    workspace = Workspace("test", checkout=tmp_path)
    settings = replace(loaded, workspace=workspace, models=made.settings.models, companions={})
    return ActionShop(settings, made.values)


class ActionShop(Shop):
    """A shop with a model of actions beside churn."""

    @property
    def inputs(self) -> ModelInputs:
        """All features of the service but the first are columns."""
        names = self.settings.features.service_features(NAME)
        return ModelInputs(names, names[1:])

    def open_reader(self, spec: FeatureSpec, features: tuple[str, ...]) -> FeatureReader:
        built = spec.hash if self.spec_hash is None else self.spec_hash
        return MemoryReader({"1": [1.0] * len(features)}, len(features), built, DATA_END)

    def publish_effects(
        self, version: str = "1", fitted: FittedEffects | None = None, **manifest: Any
    ) -> FittedEffects:
        fitted = fitted or fitted_effects(self.inputs)
        content = {
            "model": NAME, "version": version, "kind": "effects", "features": list(self.inputs.features),
            "inputs": self.inputs.to_json(), "spec_hash": self.settings.features.hash, "feature_service": NAME,
            "randomised": True, **manifest,
        }  # fmt: skip
        home = self.settings.workspace.bentoml_home
        (home / "models").mkdir(parents=True, exist_ok=True)
        with bentoml.models.create(f"{NAME}:{version}", _model_store=ModelStore(home / "models")) as model:
            write_effects(Path(model.path), fitted)
            Path(model.path_of("manifest.json")).write_text(json.dumps(content), encoding="utf-8")
            Path(model.path_of(FILE)).write_text(text_of(self.settings.spec_file), encoding="utf-8")
        return fitted

    def predictor(self) -> EffectPredictor:
        return wire(self.settings, self.open_reader).effects[NAME]

    def refusal(self) -> ApiError:
        wiring = wire(self.settings, self.open_reader)
        assert NAME not in wiring.effects
        return wiring.refusals[NAME]

    def rows(self, count: int = 200) -> np.ndarray:
        """Features as a reader gives them."""
        generator = np.random.default_rng(5)
        values = generator.exponential(3.0, (count, len(self.inputs.features))).round(2)
        values[generator.random(values.shape) < 0.2] = np.nan
        return values


def test_served_effects_are_those_of_training_to_the_last_bit(shop: ActionShop) -> None:
    fitted = shop.publish_effects()
    champion = shop.predictor().champion
    columns = champion.columns(shop.rows())
    np.testing.assert_array_equal(columns, shop.rows()[:, 1:])
    np.testing.assert_array_equal(champion.effects(columns), fitted.effect(columns))
    np.testing.assert_array_equal(champion.responses(columns), fitted.response(columns))
    for row in range(20):  # one customer and many take the same path
        np.testing.assert_array_equal(champion.effects(columns[row : row + 1])[0], fitted.effect(columns)[row])


def test_contributions_add_up_to_the_effect_and_are_those_of_training(shop: ActionShop) -> None:
    fitted = shop.publish_effects()
    champion = shop.predictor().champion
    columns = champion.columns(shop.rows())
    effects = champion.effects(columns)
    assert champion.actions == ACTIONS
    assert np.ptp(effects, axis=0).min() > 0.1
    for at, action in enumerate(champion.actions):
        told = champion.contributions(action, columns)
        assert told.shape == (len(columns), columns.shape[1] + 1)
        np.testing.assert_allclose(told.sum(axis=1), effects[:, at], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(told, fitted.contributions(action, columns))
    with pytest.raises(ValueError, match="not in tuple"):
        champion.contributions("unheard_of", columns)


def test_a_constant_has_no_booster_and_is_served(shop: ActionShop) -> None:
    nothing = Combination(0.0)
    effects = (Combination(0.25), Combination(-0.5))
    model = EffectModel("constant", "no_action", ACTIONS, shop.inputs, effects, (Combination(1.0), nothing), nothing)
    shop.publish_effects(fitted=FittedEffects(model, {}))
    champion = shop.predictor().champion
    columns = champion.columns(shop.rows(3))
    np.testing.assert_array_equal(champion.effects(columns), [[0.25, -0.5]] * 3)
    np.testing.assert_array_equal(champion.responses(columns), [[0.0, 1.0, 0.0]] * 3)
    np.testing.assert_array_equal(champion.contributions("line_coupon", columns)[:, -1], [-0.5] * 3)


def test_a_new_champion_is_served_without_a_restart(shop: ActionShop) -> None:
    shop.publish()
    shop.publish_effects("1")
    connected = Connection(shop.settings, shop.open_reader)
    first, churn = connected.wiring().effects[NAME], connected.wiring().predictors["churn"]
    assert first.champion.version == "1"
    second = shop.publish_effects("2", fitted_effects(shop.inputs, seed=11), randomised=False)
    connected.look()
    after = connected.wiring().effects[NAME].champion
    assert after.version == "2"
    assert not after.randomised
    columns = after.columns(shop.rows(5))
    np.testing.assert_array_equal(after.effects(columns), second.effect(columns))
    assert connected.wiring().predictors["churn"] is churn
    # Who began with the former goes on with it.
    assert (first.champion.effects(columns) != after.effects(columns)).any()


def test_of_other_definitions_than_the_states_it_is_refused_and_the_former_is_served(shop: ActionShop) -> None:
    shop.spec_hash = "0" * 16
    shop.publish_effects()
    assert shop.refusal().code == "model_mismatch"
    shop.spec_hash = None
    connected = Connection(shop.settings, shop.open_reader)
    shop.publish_effects("2", spec_hash="1" * 16)
    connected.look()
    wiring = connected.wiring()
    assert wiring.effects[NAME].champion.version == "1"
    assert wiring.held_back[NAME].code == "model_mismatch"
    assert not wiring.is_complete


@pytest.mark.parametrize("names", [("features",), ("features", "inputs")])
def test_other_features_than_the_service_has_are_refused(shop: ActionShop, names: tuple[str, ...]) -> None:
    fewer = shop.inputs.features[:-1]
    said = {"features": list(fewer), "inputs": ModelInputs(fewer, fewer[1:]).to_json()}
    shop.publish_effects(**{name: said[name] for name in names})
    assert shop.refusal().code == "model_mismatch"


@pytest.mark.parametrize(("backwards", "got"), [("model", "effects.json"), ("boosters", "other columns")])
def test_other_columns_than_the_manifest_says_are_refused(shop: ActionShop, backwards: str, got: str) -> None:
    other = fitted_effects(ModelInputs(shop.inputs.features, shop.inputs.direct[::-1]))
    if backwards == "boosters":
        other = FittedEffects(replace(other.model, inputs=shop.inputs), other.boosters)
    shop.publish_effects(fitted=other)
    error = shop.refusal()
    assert error.code == "model_mismatch"
    assert got in error.details[0].got


@pytest.mark.parametrize("file", ["effects.json", "booster_0.txt", "booster_2.txt", "manifest.json"])
@pytest.mark.parametrize("content", ["{}", "no model at all", None])
def test_files_that_cannot_be_read_are_refused(shop: ActionShop, file: str, content: str | None) -> None:
    shop.publish_effects()
    path = shop.settings.workspace.bentoml_home / "models" / NAME / "1" / file
    path.unlink() if content is None else path.write_text(content)
    assert shop.refusal().code == "model_unreadable"


def test_it_stands_among_the_models_but_predicts_no_probability(shop: ActionShop) -> None:
    shop.publish()
    wiring = wire(shop.settings, shop.open_reader)
    info = model_info(wiring, NAME)
    assert not info.served
    assert info.error is not None
    assert info.error.code == "model_missing"
    assert wiring.problem is None  # the others are served as long as nobody trained this one
    shop.publish_effects()
    wiring = wire(shop.settings, shop.open_reader)
    info = model_info(wiring, NAME)
    assert info.served
    assert info.model_version == "1"
    assert info.manifest["kind"] == "effects"
    with pytest.raises(ApiError) as refused:
        wiring.predictor(NAME)
    assert refused.value.status == 400
    assert "decide" in refused.value.details[0].hint
    with pytest.raises(ApiError) as refused:
        wiring.predictor("unheard_of")
    assert refused.value.status == 404


def test_effects_and_responses_are_told_together_and_each_booster_is_asked_once(shop: ActionShop) -> None:
    shop.publish_effects()
    champion = wire(shop.settings, shop.open_reader).effects[NAME].champion
    counting = {name: Counting(scorer) for name, scorer in champion.scorers.items()}
    asked = replace(champion, scorers=counting)
    columns = np.random.default_rng(3).random((1, len(champion.inputs.names)))
    effects, responses = asked.told(columns)
    assert np.array_equal(effects, champion.effects(columns))
    assert np.array_equal(responses, champion.responses(columns))
    for scorer in counting.values():
        assert scorer.asked
        assert len(scorer.asked) == len(set(scorer.asked))


class Counting:
    """A booster that notes what it is asked."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self.asked: list[bytes] = []

    def raw_scores(self, matrix: Any) -> Any:
        self.asked.append(matrix.tobytes())
        return self._scorer.raw_scores(matrix)
