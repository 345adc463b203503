"""Companions from a dataset to the registry and back, every step for real, and what bad data end in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines import companions
from pipelines.artefacts import (
    EVALUATION,
    PREDICTIONS,
    REPORT,
    REPORT_FIGURES,
    SIMPLE_MODELS,
    TRAINING,
    Dataset,
    read_json,
)
from pipelines.cli.model_steps import steps_of
from pipelines.cli.models import train_model
from pipelines.companions import CompanionEvaluation
from pipelines.companions.survival import Survival
from pipelines.console import UserError
from pipelines.registry import Registration
from pipelines.settings import Settings, load_settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import connect
from tests.real_data import ONLINE_RETAIL, ingest, needs_online_retail
from tests.reference.companion_artefacts import FEATURES, KINDS, Kind, config, dataset, saved, settings

Made = tuple[Settings, CompanionEvaluation, Registration]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Made]:
    """Both companions, in one workspace, from dataset to registry."""
    checkout = tmp_path_factory.mktemp("companions")
    result: dict[Kind, Made] = {}
    for kind in KINDS:
        place, asked = saved(checkout, kind), config(kind)
        companions.fit(place, asked)
        evaluation = companions.evaluate(place, asked)
        companions.report(place, asked)
        result[kind] = place, evaluation, companions.register(place, asked)
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_it_beats_the_simplest_baseline_and_becomes_champion(made: dict[Kind, Made], kind: Kind) -> None:
    _, evaluation, registration = made[kind]
    gain = next(g for g in evaluation.gains if (g.against, g.metric) == (evaluation.simplest, evaluation.judged_by))
    assert gain.low is not None
    assert gain.low > 0
    assert abs(evaluation.coverage - evaluation.level) < 0.05
    assert registration.alias == "champion", registration.text()
    assert all(gate.passed for gate in registration.gates)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_customers_were_made_with_is_said_to_be_as_good(made: dict[Kind, Made], kind: Kind) -> None:
    """BG/NBD knows the law itself here, so LightGBM cannot be better, and the verdict has to say so."""
    assert "BG/NBD" in made[kind][1].verdict
    assert "gives no reason to prefer LightGBM to the simpler" in made[kind][1].verdict


def test_bg_nbd_and_gamma_gamma_cover_and_total_what_came(made: dict[Kind, Made]) -> None:
    models = {model.name: model.figures for model in made["customer_value"][1].models}
    total, coverage = models["bg_nbd_gamma_gamma"]["total"], models["bg_nbd_gamma_gamma"]["coverage"]
    assert total.low is not None
    assert total.high is not None
    assert total.low - 0.05 < 1 < total.high + 0.05
    assert coverage.estimate == pytest.approx(0.93, abs=0.05)


def test_the_registered_value_is_that_of_the_evaluation(made: dict[Kind, Made]) -> None:
    place, _, registration = made["customer_value"]
    asked = config("customer_value")
    predicted = pd.read_parquet(place.workspace.artefacts("customer_value") / PREDICTIONS)
    test = dataset("customer_value").part("test")
    for version in (None, registration.version):
        found = companions.load_companion(place, asked, version).predict(test)
        assert isinstance(found, pd.DataFrame)
        for name, column in (("value", "lightgbm"), ("lower", "lightgbm_lower"), ("upper", "lightgbm_upper")):
            assert (found[name].to_numpy() == predicted[column].to_numpy()).all()
        assert (found["lower"] <= found["upper"]).all()


def test_the_registered_curve_is_that_of_the_evaluation(made: dict[Kind, Made]) -> None:
    place = made["next_order"][0]
    predicted = pd.read_parquet(place.workspace.artefacts("next_order") / PREDICTIONS)
    curves = companions.load_companion(place, config("next_order")).predict(dataset("next_order").part("test"))
    assert isinstance(curves, Survival)
    for day in (7, 14, 30, 60):
        found = 1.0 - curves.at(float(day))
        assert found == pytest.approx(predicted[f"lightgbm_by_{day}_days"].to_numpy(), abs=1e-12)
    assert (np.diff(curves.values, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_registry_holds_manifest_inputs_params_metrics_and_native_boosters(
    made: dict[Kind, Made], kind: Kind
) -> None:
    place, evaluation, registration = made[kind]
    client = connect(place.workspace)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{kind}/{registration.version}"))
    manifest = mlflow.models.Model.load(str(folder)).metadata
    assert manifest is not None
    assert manifest["kind"] == kind
    assert manifest["features"] == list(FEATURES)
    assert manifest["spec_hash"] == place.features.hash
    assert manifest["model_hash"] == evaluation.model_hash
    assert {"dataset_hash", "config_hash", "label", "git_commit", "metrics", "gates"} <= set(manifest)
    assert all((folder / ("model.lgb" if file == "model.txt" else file)).exists() for file in manifest["files"])
    assert not list(folder.rglob("*.pkl"))
    run = client.get_run(registration.run_id)
    assert {item.dataset.name for item in run.inputs.dataset_inputs} == {f"{kind} train", f"{kind} test"}
    assert run.data.params["label.horizon"] == "60d"
    assert f"test.lightgbm.{evaluation.judged_by}.estimate" in run.data.metrics
    assert run.data.tags["alias"] == "champion"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_in_the_folder_is_whole(made: dict[Kind, Made], kind: Kind) -> None:
    place, evaluation, _ = made[kind]
    folder = place.workspace.artefacts(kind)
    page = (folder / REPORT).read_text(encoding="utf-8")
    assert "http://" not in page, "nothing is fetched"
    assert "https://" not in page, "nothing is fetched"
    assert page.count('<img src="data:image/png') == (1 if kind == "customer_value" else 2)
    assert all(model.title.replace("&", "&amp;") in page for model in evaluation.models)
    figures = read_json(folder / REPORT_FIGURES)
    assert figures["evaluation"] == read_json(folder / EVALUATION)
    assert all(items for items in figures["features"].values())
    assert "bg_nbd" in read_json(folder / SIMPLE_MODELS)


def test_the_same_run_again_registers_nothing_new(made: dict[Kind, Made]) -> None:
    place, _, registration = made["customer_value"]
    again = companions.register(place, config("customer_value"))
    assert (again.version, again.is_new) == (registration.version, False)


def test_another_version_of_the_features_is_refused(made: dict[Kind, Made]) -> None:
    place = made["next_order"][0]
    other = dataclasses.replace(place, features=dataclasses.replace(place.features, utc_offset="+00:00"))
    with pytest.raises(UserError, match="another version of the features"):
        companions.load_companion(other, config("next_order"))
    with pytest.raises(UserError, match="has no such version"):
        companions.load_companion(place, config("next_order"), "99")


def _changed(
    checkout: Path, kind: Kind, change: Callable[[pd.DataFrame], pd.DataFrame], customers: int = 400
) -> Settings:
    made = dataset(kind, customers)
    return saved(checkout, kind, Dataset(change(made.rows.copy()), made.manifest))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "customers", "told"),
    [
        pytest.param(lambda rows: rows.assign(label=500), 400, "all of them 500", id="all labels equal"),
        pytest.param(lambda rows: rows[rows["part"] == "test"], 400, "rows of train", id="one snapshot"),
        pytest.param(lambda rows: rows.drop(columns=FEATURES[2]), 400, FEATURES[2], id="no history"),
    ],
)  # fmt: skip
def test_bad_data_is_said(
    tmp_path: Path, kind: Kind, change: Callable[[pd.DataFrame], pd.DataFrame], customers: int, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        companions.fit(_changed(tmp_path, kind, change, customers), config(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_customers_are_too_few_and_it_is_said(tmp_path: Path, kind: Kind) -> None:
    place, asked = saved(tmp_path, kind, dataset(kind, 20)), config(kind)
    with pytest.raises(UserError, match=r"too few customers for an interval|rows of test: expected at least 20, got 9"):
        _fit_and_evaluate(place, asked)


@pytest.mark.parametrize("kind", KINDS)
def test_sixty_customers_make_no_champion(tmp_path: Path, kind: Kind) -> None:
    place, asked = saved(tmp_path, kind, dataset(kind, 60)), config(kind)
    _fit_and_evaluate(place, asked)
    companions.report(place, asked)
    registration = companions.register(place, asked)
    assert registration.alias == "challenger"
    assert "minimum_test_rows" in {gate.name for gate in registration.gates if not gate.passed}


def _fit_and_evaluate(place: Settings, asked: CompanionConfig) -> CompanionEvaluation:
    companions.fit(place, asked)
    return companions.evaluate(place, asked)


def test_customers_who_never_bought_leave_nothing_to_fit_bg_nbd_to(tmp_path: Path) -> None:
    place = _changed(tmp_path, "customer_value", lambda rows: rows.assign(**{FEATURES[2]: 0.0}))
    companions.fit(place, config("customer_value"))
    with pytest.raises(UserError, match="BG/NBD cannot be fitted"):
        companions.evaluate(place, config("customer_value"))


def test_values_that_all_are_equal_and_odd_features_are_no_obstacle(tmp_path: Path) -> None:
    """Every purchase worth the same, a feature that is always empty, and rows whose value is negative."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        labels = np.where(rows["label"] > 0, 700, np.where(rows.index % 10 == 0, -300, 0))
        return rows.assign(label=labels, noise=np.nan, **{FEATURES[3]: 700.0})

    place = _changed(tmp_path, "customer_value", change)
    companions.fit(place, config("customer_value"))
    evaluation = companions.evaluate(place, config("customer_value"))
    companions.report(place, config("customer_value"))
    assert evaluation.more["frequency_value_correlation"] is None
    assert "cannot be told" in evaluation.notes[-1]


def test_of_many_rows_some_whole_customers_are_learned_from(tmp_path: Path) -> None:
    """A period counts as a row: where 1,000 may be learned from, 111 rows of the dataset are, of 9 weeks each."""
    place, asked = saved(tmp_path, "next_order", dataset("next_order", 900)), config("next_order")
    few = asked.model_copy(update={"tune": asked.tune.model_copy(update={"most_rows": 1000})})
    assert 80 <= companions.fit(place, few).rows <= 111
    assert companions.fit(place, asked).rows > 300
    assert companions.evaluate(place, asked).test_rows > 100


def test_a_model_of_another_dataset_is_not_evaluated(tmp_path: Path) -> None:
    place = saved(tmp_path, "next_order", dataset("next_order", 400))
    companions.fit(place, config("next_order"))
    folder = place.workspace.artefacts("next_order")
    training = read_json(folder / TRAINING)
    (folder / TRAINING).write_text(json.dumps({**training, "dataset_hash": "older"}), encoding="utf-8")
    with pytest.raises(UserError, match="trained on another dataset"):
        companions.evaluate(place, config("next_order"))


def test_commands_know_companions() -> None:
    from pipelines.cli import app

    found = load_settings()
    assert list(steps_of(found.learned("customer_value"))) == ["dataset", "fit", "evaluate", "explain", "register"]
    assert "tune" in steps_of(found.learned("churn"))
    result = CliRunner().invoke(app, ["--workspace", "nobody-made-it", "report", "customer_value"])
    assert isinstance(result.exception, UserError)
    assert "train customer_value" in result.exception.message


def test_settings_hold_both(tmp_path: Path) -> None:
    assert set(KINDS) <= set(settings(tmp_path).companions)


@needs_online_retail
@pytest.mark.slow
def test_both_are_trained_on_a_real_shop_from_its_events(tmp_path: Path) -> None:
    """All steps on Online Retail: both beat the simplest baseline out of time and keep the level of their interval."""
    place = settings(tmp_path)
    ingest(place, "online_retail", ONLINE_RETAIL)
    for kind in KINDS:
        asked = place.companion(kind)
        quick = asked.tune.model_copy(update={"trials": 1, "rounds": 150})
        results = train_model(place, asked.model_copy(update={"tune": quick}), quiet=True)
        registration = results["register"]
        assert isinstance(registration, Registration)
        assert registration.alias == "champion", registration.text()
