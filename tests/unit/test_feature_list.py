"""`twin features list`: what stands in it, and its filters."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.champions import registered_champions
from pipelines.cli import app
from pipelines.cli.feature_list import ListedFeature, Wanted, listed_features
from pipelines.console import UserError
from pipelines.settings import Settings, Workspace, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings(), workspace=Workspace("list", tmp_path))


def register_champion(settings: Settings, spec_hash: str) -> None:
    """What the registry has of a champion, in the tables of MLflow's database."""
    settings.workspace.mlruns.mkdir(parents=True)
    with sqlite3.connect(settings.workspace.mlruns / "mlflow.db") as database:
        database.execute("CREATE TABLE registered_model_aliases (name, alias, version)")
        database.execute("CREATE TABLE model_version_tags (name, version, key, value)")
        database.execute("INSERT INTO registered_model_aliases VALUES ('churn', 'champion', 4), ('churn', 'old', 3)")
        database.execute("INSERT INTO model_version_tags VALUES ('churn', 4, 'spec_hash', ?)", (spec_hash,))


def named(found: list[ListedFeature], name: str) -> ListedFeature:
    return next(feature for feature in found if feature.name == name)


def test_every_feature_has_its_words_owner_view_and_readers(settings: Settings) -> None:
    found = listed_features(settings)
    of_calls = [feature.name for view in settings.features.request_views for feature in view.features]
    assert [feature.name for feature in found] == [*settings.features.by_name, *of_calls]
    assert named(found, "call_hour").meaning == "hour of the day of this call"
    assert all(feature.meaning and feature.owner and feature.view for feature in found)
    orders = named(found, "order_completed_count_30d")
    assert (orders.meaning, orders.view, orders.owner) == ("number of orders in the last 30 days", "orders", "commerce")
    reading = ("conversion", "next_best_action", "coupon_redemption", "grocery_mailing")
    assert orders.services == ("visit", "profile", "churn", *reading)
    learned = ("churn", "conversion", "coupon_redemption", "customer_value", "next_order", "grocery_mailing")
    assert (orders.models, orders.champions) == ((*learned, "next_best_action"), ())
    for feature in found:
        reads = feature.name in settings.features.service_features("churn")
        assert ("churn" in feature.models) == reads
    assert any(feature.readers == "no model" for feature in found)


def test_champions_are_told_by_what_they_read(settings: Settings) -> None:
    register_champion(settings, settings.features.hash)
    found = listed_features(settings)
    assert named(found, "order_completed_count_30d").champions == ("churn version 4 (champion)",)
    manifest = settings.workspace.bentoml_home / "models" / "churn" / "4" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"features": ["page_viewed_count_7d"]}))
    assert [feature.name for feature in listed_features(settings) if feature.champions] == ["page_viewed_count_7d"]


def test_a_champion_of_another_spec_reads_nothing_that_is_known(settings: Settings) -> None:
    register_champion(settings, "0123456789abcdef")
    assert registered_champions(settings)[0].features == ()
    assert not any(feature.champions for feature in listed_features(settings))


@pytest.mark.parametrize(("options", "wanted"), [
    (["--view", "orders"], Wanted(view="orders")),
    (["--owner", "marketing"], Wanted(owner="marketing")),
    (["--model", "churn", "--search", "LATEST ORDER"], Wanted(model="churn", search="latest order")),
    (["--service", "churn", "--view", "rates"], Wanted(service="churn", view="rates")),
])  # fmt: skip
def test_filters_in_a_pipe_and_as_json(options: list[str], wanted: Wanted) -> None:
    every = listed_features(load_settings())
    expected = [feature for feature in every if wanted.takes(feature)]
    assert 0 < len(expected) < len(every)
    plain = CliRunner().invoke(app, ["features", "list", *options])
    lines = [line.split("\t") for line in plain.stdout.splitlines()]
    assert [(line[0], line[1], len(line)) for line in lines] == [(f.name, f.meaning, 5) for f in expected]
    told = json.loads(CliRunner().invoke(app, ["features", "list", *options, "--json"]).stdout)
    assert [item["name"] for item in told] == [feature.name for feature in expected]


def test_a_name_that_nothing_has_is_refused_with_all_mistakes() -> None:
    done = CliRunner().invoke(app, ["features", "list", "--view", "order", "--owner", "nobody"])
    assert isinstance(done.exception, UserError)
    assert [problem.field for problem in done.exception.problems] == ["--view", "--owner"]
    assert "orders" in done.exception.problems[0].expected
