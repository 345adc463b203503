"""The feature spec: generated names, a hash of what decides values, all mistakes at once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from feature_repo.configuration import ConfigurationError, parse
from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec, load_spec
from feature_repo.words import words_of
from pipelines.settings.workspace import CHECKOUT

SMALL: dict[str, Any] = {
    "version": 1,
    "views": [
        {
            "name": "orders",
            "description": "What is bought.",
            "owner": "commerce",
            "event": "Order Completed",
            "windows": ["7d", "lifetime"],
            "features": [
                {"operation": "count"},
                {"operation": "sum", "of": "value", "channels": ["web"], "windows": ["30d"]},
                {"operation": "distinct", "of": "properties.products[].product_id", "windows": ["30d"]},
            ],
        }
    ],
    "services": {"churn": {"description": "", "views": ["orders"]}},
}


def compiled(raw: dict[str, Any]) -> FeatureSpec:
    return compile_spec(parse(raw, SpecFile, "features.yaml"))


def changed(**view: Any) -> dict[str, Any]:
    raw = deepcopy(SMALL)
    raw["views"][0].update(view)
    return raw


def test_names_are_generated_from_event_measure_operation_channel_window() -> None:
    assert list(compiled(SMALL).by_name) == [
        "order_completed_count_7d",
        "order_completed_count_lifetime",
        "order_completed_value_sum_web_30d",
        "order_completed_products_product_id_distinct_30d",
    ]


def test_hash_covers_what_decides_a_value_and_nothing_else() -> None:
    spec = compiled(SMALL)
    assert compiled(changed(description="Other words.", owner="other")).hash == spec.hash
    assert compiled(changed(windows=["8d", "lifetime"])).hash != spec.hash
    assert compiled({**SMALL, "distinct_cap": 7}).hash != spec.hash


def test_all_mistakes_are_reported_at_once() -> None:
    raw = changed(
        windows=["7d", "7w"],
        features=[
            {"operation": "count", "of": "value"},
            {"operation": "sum"},
            {"operation": "sum", "of": "price"},
            {"operation": "sum", "of": "channel"},
            {"operation": "max", "of": "properties.products[].price"},
            {"operation": "ratio", "numerator": "a"},
            {"operation": "count"},
        ],
    )
    raw["services"]["churn"]["views"] = ["orders", "nowhere"]
    with pytest.raises(ConfigurationError) as caught:
        compiled(raw)
    fields = [problem.field for problem in caught.value.problems]
    for j in range(6):
        assert any(field.startswith(f"views.0.features.{j}") for field in fields), f"feature {j} went unreported"
    assert "services.churn.views" in fields
    assert all(problem.expected and problem.got for problem in caught.value.problems)


def test_unknown_keys_and_operations_fail() -> None:
    with pytest.raises(ConfigurationError, match="unknown key"):
        compiled(changed(colour="red"))
    with pytest.raises(ConfigurationError, match="median"):
        compiled(changed(features=[{"operation": "median", "of": "value"}]))


def test_a_ratio_needs_whole_number_parts_of_its_window() -> None:
    rates = {
        "name": "rates",
        "description": "",
        "owner": "x",
        "features": [
            {"operation": "ratio", "numerator": "order_completed_count", "denominator": "none", "windows": ["7d"]}
        ],
    }
    raw = deepcopy(SMALL)
    raw["views"].append(rates)
    with pytest.raises(ConfigurationError, match="none_7d"):
        compiled(raw)


def test_two_features_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 times"):
        compiled(changed(features=[{"operation": "count"}, {"operation": "count"}]))


def test_the_shipped_spec_has_at_least_sixty_features_each_with_words() -> None:
    spec = load_spec(CHECKOUT / "configs" / "features.yaml")
    features = spec.service_features("churn")
    assert len(features) >= 60
    assert len({words_of(spec, name) for name in features}) == len(features)
