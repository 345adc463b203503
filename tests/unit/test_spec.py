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
from tests.parity.harness import every_operation_spec

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
                {"operation": "sum", "of": "value", "where": {"channel": "web"}, "windows": ["30d"]},
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


def names(*entries: dict[str, Any]) -> list[str]:
    spec = compiled(changed(features=[{"operation": "count", "windows": ["7d", "30d"]}, *entries]))
    return [name for name in spec.by_name if name not in ("order_completed_count_7d", "order_completed_count_30d")]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"where": {"properties.coupon": "SONG KRAN"}}, "order_completed_count_coupon_song_kran_7d"),
        ({"where": {"channel": ["web", "app"]}}, "order_completed_count_app_or_web_7d"),
        ({"where": {"properties.coupon": {"exists": False}}}, "order_completed_count_without_coupon_7d"),
        ({"where": {"hour": {"at_least": 18, "below": 24}}}, "order_completed_count_hour_at_least_18_below_24_7d"),
        ({"where": {"properties.coupon": {"not": ["a", "b"]}}}, "order_completed_count_coupon_not_a_or_b_7d"),
        ({"where": {"channel": "web", "properties.gift": True}}, "order_completed_count_web_gift_true_7d"),
    ],
)
def test_a_narrowed_feature_says_so_in_its_name(entry: dict[str, Any], expected: str) -> None:
    assert names({"operation": "count", "windows": ["7d"], **entry}) == [expected]


def test_by_makes_a_feature_for_each_value() -> None:
    entry = {"operation": "sum", "of": "value", "by": {"properties.category": ["tea", ["milk", "cream"]]}}
    assert names({**entry, "windows": ["7d"]}) == [
        "order_completed_value_sum_category_tea_7d",
        "order_completed_value_sum_category_cream_or_milk_7d",
    ]


def test_a_trend_of_totals_compares_rates_and_of_means_the_means() -> None:
    raw = changed(
        features=[
            {"operation": "count", "windows": ["7d", "30d"]},
            {"operation": "mean", "of": "value", "windows": ["7d", "lifetime"]},
            {"operation": "trend", "feature": "order_completed_count", "windows": ["7d"], "against": "30d"},
            {"operation": "trend", "feature": "order_completed_value_mean", "windows": ["7d"], "against": "lifetime"},
        ]
    )
    spec = compiled(raw)
    assert spec.by_name["order_completed_count_trend_7d_30d"].scale == (30, 7)
    assert spec.by_name["order_completed_value_mean_trend_7d_lifetime"].scale == (1, 1)
    words = words_of(spec, "order_completed_count_trend_7d_30d")
    assert "a day in the last 7 days, divided by the same in the last 30 days" in words


@pytest.mark.parametrize(
    ("entry", "place", "got"),
    [
        ({"operation": "top"}, ".of", "nothing"),
        ({"operation": "latest", "of": "hour"}, ".of", "hour"),
        ({"operation": "variance", "of": "channel"}, ".of", "channel"),
        ({"operation": "streak", "windows": ["1h"]}, ".windows", "1h"),
        ({"operation": "count", "where": {"price": 3}}, ".price", "price"),
        ({"operation": "count", "where": {"properties.products[].price": 3}}, ".products[].price", "products"),
        ({"operation": "count", "where": {"properties.total": {"above": 10**13}}}, ".total", "10000000000000"),
        ({"operation": "count", "where": {"properties.total": {}}}, ".total", "nothing"),
        ({"operation": "count", "where": {"channel": []}}, ".channel", "an empty list"),
        ({"operation": "count", "by": {"channel": ["web"], "hour": [1]}}, ".by", "2 of them"),
        ({"operation": "count", "by": {"channel": []}}, ".by.channel", "an empty one"),
        ({"operation": "count", "by": {"channel": ["web"]}, "where": {"channel": "web"}}, ".by", "channel"),
        ({"operation": "count", "against": "30d"}, ".against", "30d"),
        ({"operation": "count", "numerator": "a"}, ".numerator", "a"),
        ({"operation": "trend", "feature": "order_completed_count"}, ".against", "nothing"),
        ({"operation": "trend", "feature": "order_completed_count", "against": "5d"}, ".against", "5d"),
        ({"operation": "trend", "feature": "nowhere", "windows": ["7d"], "against": "30d"}, "trend", "nowhere_7d"),
        ({"operation": "ratio", "numerator": "a", "denominator": "b", "of": "value"}, "features.0", "of, by or where"),
    ],
)
def test_a_mistake_in_an_entry_is_told_with_its_place(entry: dict[str, Any], place: str, got: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compiled(changed(features=[entry]))
    assert any(place in p.field and got in p.got and p.expected for p in caught.value.problems), caught.value


def test_a_trend_needs_windows_with_a_beginning() -> None:
    rate = {"operation": "trend", "feature": "order_completed_count", "windows": ["7d"], "against": "lifetime"}
    with pytest.raises(ConfigurationError, match="windows with a beginning"):
        compiled(changed(features=[{"operation": "count"}, rate]))


def test_values_of_different_types_are_different_conditions() -> None:
    def stream_of(value: Any) -> object:
        spec = compiled(changed(features=[{"operation": "count", "where": {"properties.x": value}}]))
        return next(iter(spec.by_name.values())).stream

    assert len({stream_of(value) for value in (1, True, "1")}) == 3


def test_caps_and_calendar_are_part_of_what_decides_a_value() -> None:
    spec = compiled(SMALL)
    for change in ({"recent_cap": 9}, {"days_cap": 9}, {"utc_offset": "+07:00"}):
        assert compiled({**SMALL, **change}).hash != spec.hash
    with pytest.raises(ConfigurationError, match="utc_offset"):
        compiled({**SMALL, "utc_offset": "Asia/Bangkok"})


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
    assert len({words_of(spec, name) for name in spec.by_name}) == len(spec.by_name)


def test_every_operation_has_words_of_its_own() -> None:
    spec = every_operation_spec()
    words = {name: words_of(spec, name) for name in spec.by_name}
    assert len(set(words.values())) == len(words)
    assert words["order_completed_count_weekday_6_or_7_30d"] == (
        "number of Order Completed events (Saturday or Sunday) in the last 30 days"
    )
