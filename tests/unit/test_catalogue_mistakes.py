"""Mistakes in actions.yaml and journeys.yaml: each is told, and all of all kinds at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_repo.configuration import ConfigurationError
from pipelines.settings import CHECKOUT, load_settings
from tests.unit.catalogue_parts import ACTIONS, changed, load, mistakes, write

Change = Callable[[dict[str, Any]], object]

COUPON = "actions.coupon"


def top(key: str, value: Any) -> Change:
    return lambda content: content.__setitem__(key, value)


def rule(name: str, text: str) -> Change:
    return lambda content: content["rules"].__setitem__(name, text)


def of_action(action: int, key: str, value: Any) -> Change:
    return lambda content: content["actions"][action].__setitem__(key, value)


# Each stands in a place of its own, so that all of them can be made in one file.
MISTAKES: dict[str, tuple[Change, str, str, str]] = {
    "unknown key": (top("colour", "red"), "colour", "no such key", "an unknown key"),
    "unknown key in an action": (of_action(0, "colour", 1), "actions.0.colour", "no such key", "an unknown key"),
    "missing cost": (lambda c: c["actions"][0].pop("cost"), "actions.0.cost", "a value", "nothing"),
    "forgotten channel": (lambda c: c["actions"][3].pop("channel"), "actions.3.channel", "a value", "nothing"),
    "negative cost": (of_action(1, "cost", -1), "actions.1.cost", "greater than or equal to 0", "-1"),
    "share above one": (top("holdout", {"share": 1.5, "salt": "x"}), "holdout.share", "less than or equal to 1", "1.5"),
    "share that is no number": (
        top("exploration", {"share": float("nan")}), "exploration.share", "less than or equal to 1", "nan"),
    "window of nothing": (
        lambda c: c["caps"][0].__setitem__("within", "0d"), "caps.0.within", "a duration longer than 0d", "'0d'"),
    "window that is none": (
        of_action(0, "caps", [{"contacts": 1, "within": "soon"}]), "actions.0.caps.0.within", "window", "'soon'"),
    "no such time of day": (
        top("quiet_hours", {"from": "25:00", "to": "09:00"}), "quiet_hours.from", "a time of day", "'25:00'"),
    "unknown model": (top("model", "nba"), "model", "a model of actions", "'nba'"),
    "model of something else": (top("fallback_model", "next_order"), "fallback_model", "a probability", "'next_order'"),
    "unknown currency": (top("currency", "THX"), "currency", "a currency of events.yaml", "'THX'"),
    "unknown time zone": (top("time_zone", "Asia/Bangkock"), "time_zone", "a time zone", "'Asia/Bangkock'"),
    "trait of nothing": (
        lambda c: c["traits"].__setitem__("city", "city_top"), "traits.city", "a feature", "'city_top'"),
    "unknown feature": (rule("x", "orders_90d > 0"), "rules.x", "a known name", "'orders_90d', at character 1"),
    "circle": (
        lambda c: c["rules"].update(a="b", b="not c", c="a or speaks"), "rules.a", "need themselves",
        "a -> b -> c -> a"),
    "rule that is itself": (rule("same", "same"), "rules.same", "need themselves", "same -> same"),
    "text compared with a number": (
        rule("y", "traits.language > 3"), "rules.y", "the same kind", "a text with a number"),
    "number as a rule": (rule("z", "order_completed_count_90d"), "rules.z", "a boolean", "a number"),
    "wrong syntax": (rule("w", "speaks and"), "rules.w", "an expression", "invalid syntax"),
    "hostile": (rule("v", "__import__('os')"), "rules.v", "a function of", "__import__('os')"),
    "rule with the name of a feature": (
        rule("order_completed_count_7d", "speaks"), "rules.order_completed_count_7d", "nothing else has",
        "'order_completed_count_7d'"),
    "unknown stage": (
        of_action(2, "eligible", "stage == 'usages'"), "actions.receipt.eligible", "usage, awareness", "'usages'"),
    "value that is a condition": (of_action(2, "value", "speaks"), "actions.receipt.value", "a number", "a boolean"),
    "unknown channel": (of_action(1, "channel", "fax"), "actions.chat.channel", "a channel of events.yaml", "'fax'"),
    "unknown purpose": (of_action(1, "consent", "marketig"), "actions.chat.consent", "a purpose", "'marketig'"),
    "unknown channel of a cap": (
        lambda c: c["caps"][1].__setitem__("channel", "telex"), "caps.channel", "a channel of events.yaml", "'telex'"),
    "expired": (
        of_action(0, "valid", {"until": "2026-06-14"}), "actions.coupon.valid.until", "2026-06-15 on", "has expired"),
    "ends before it begins": (
        of_action(2, "valid", {"from": "2026-08-02", "until": "2026-08-01"}), "actions.receipt.valid", "no earlier",
        "2026-08-01, before 2026-08-02"),
    "id that is taken": (of_action(3, "id", "no_action"), "actions", "another id", "'no_action'"),
    "ids twice": (
        lambda c: c["actions"].extend([{**ACTIONS["actions"][2], "id": "two"}, {**ACTIONS["actions"][2], "id": "two"}]),
        "actions", "each id once", "'two'"),
    "variant that hides others": (
        of_action(2, "variants", [{"id": "one"}, {"id": "two"}]), "actions.receipt.variants.one", "`when`", "nothing"),
    "no variant for everybody": (
        of_action(1, "variants", [{"id": "one", "when": "speaks"}]), "actions.chat.variants.one", "for everybody",
        "speaks"),
    "another language": (
        lambda c: c["actions"][0]["variants"][1].__setitem__("template", {"th": "coupon-th"}),
        f"{COUPON}.variants.plain", "the same languages", "none in en"),
    "no features of hours": (
        lambda c: c["send_time"]["channels"].__setitem__("sms", "sms_{hour}"), "send_time.channels.sms", "24 features",
        "24 are not there"),
}  # fmt: skip
# In one file these hide each other's place or change what it is called.
ALONE: dict[str, tuple[Change, str, str, str]] = {
    "part of a minor unit": (of_action(0, "cost", 1.234), f"{COUPON}.cost", "at most 2 decimals", "1.234"),
    "no actions": (top("actions", []), "actions", "at least 1 item", "[]"),
    "id with a space": (of_action(0, "id", "a coupon"), "actions.0.id", "pattern", "'a coupon'"),
    "rule with a space": (rule("a b", "speaks"), "rules.a b.[key]", "pattern", "'a b'"),
    "trait that is not there": (top("time_zone_trait", "zone"), "time_zone_trait", "a trait of this file", "'zone'"),
    "number for a time zone": (
        lambda c: c["traits"].__setitem__("timezone", "order_completed_count_90d"), "time_zone_trait", "text",
        "'timezone'"),
    "another version": (top("version", 2), "version", "1", "2"),
    "money without bounds": (of_action(0, "cost", float("inf")), "actions.0.cost", "", "inf"),
    "quiet hours of nobody": (
        of_action(3, "quiet_hours", {"from": "21:00", "to": "09:00"}), "actions.call.quiet_hours", "a channel",
        "'channel: none'"),
    "a text and a template": (
        lambda c: c["actions"][0]["variants"][0].__setitem__("template", {"en": "x"}), f"{COUPON}.variants.calm",
        "a text or a template", "both in en"),
    "rule called consent": (rule("consent", "speaks"), "rules.consent", "nothing else has", "'consent'"),
    "same variant twice": (
        lambda c: c["actions"][0]["variants"][0].__setitem__("id", "plain"), f"{COUPON}.variants", "each id once",
        "'plain'"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*MISTAKES, *ALONE])
def test_each_mistake_is_told_and_nothing_else(tmp_path: Path, name: str) -> None:
    change, field, expected, got = {**MISTAKES, **ALONE}[name]
    (problem,) = mistakes(tmp_path, changed(change))
    assert (problem.field, problem.file) == (field, "actions.yaml")
    assert expected in problem.expected
    assert got in problem.got


def test_all_mistakes_of_one_file_come_at_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, changed(*(change for change, *_ in MISTAKES.values())))
    for name, (_, field, expected, got) in MISTAKES.items():
        hits = [p for p in found if p.field == field and expected in p.expected and got in p.got]
        assert len(hits) == 1, name
    assert len(found) == len(MISTAKES)


def test_mistakes_of_both_files_come_at_once(tmp_path: Path) -> None:
    journeys = {
        "version": 1,
        "stages": [
            {"name": "usage", "when": "order_count > 0"},
            {"name": "usage", "when": "stage == 'usage'"},
            {"name": "later", "wen": "speaks"},
        ],
    }
    found = mistakes(tmp_path, changed(MISTAKES["missing cost"][0], rule("x", "stage == 'usage'")), journeys)
    assert {(problem.file, problem.field) for problem in found} == {
        ("actions.yaml", "actions.0.cost"),
        ("journeys.yaml", "stages"),
        ("journeys.yaml", "stages.usage.when"),
        ("journeys.yaml", "stages.2.when"),
        ("journeys.yaml", "stages.2.wen"),
    }


def test_a_stage_cannot_be_asked_for_by_the_rules_it_is_made_of(tmp_path: Path) -> None:
    (problem,) = mistakes(tmp_path, changed(rule("orders_lately", "stage == 'usage'")))
    assert (problem.file, problem.field) == ("journeys.yaml", "stages.usage.when")


def test_without_journeys_nobody_has_a_stage(tmp_path: Path) -> None:
    (problem,) = mistakes(tmp_path, changed(), None)
    assert (problem.field, problem.got) == (f"{COUPON}.eligible", "'stage', at character 10")


@pytest.mark.parametrize("content", [None, [], "word", 3, {}, {"actions": None}, {"actions": [None]}, {"rules": []}])
def test_other_content_is_told(tmp_path: Path, content: Any) -> None:
    if content is None:
        (tmp_path / "actions.yaml").touch()
    assert mistakes(tmp_path, content)


def test_an_action_may_be_kept_though_it_has_expired(tmp_path: Path) -> None:
    ended = of_action(0, "valid", {"until": "2026-06-14"})
    assert mistakes(tmp_path, changed(ended))
    kept = load(tmp_path, changed(ended, of_action(0, "expired", "keep")))
    assert kept.action("coupon").ends is not None


def test_the_last_day_is_included(tmp_path: Path) -> None:
    today = of_action(0, "valid", {"until": "2026-06-15"})
    assert load(tmp_path, changed(today)).action("coupon").ends == 1_781_542_800_000_000  # midnight in Bangkok


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))


def test_settings_are_refused_or_told_apart(configs: Path) -> None:
    always = of_action(0, "valid", {})
    write(configs, changed(always, MISTAKES["missing cost"][0], MISTAKES["unknown feature"][0]))
    with pytest.raises(ConfigurationError, match="2 mistakes") as raised:
        load_settings("test", configs)
    apart = load_settings("test", configs, catalogue="apart")
    assert apart.catalogue is None
    assert apart.catalogue_problems == raised.value.problems


def test_there_need_be_no_catalogue(configs: Path) -> None:
    (configs / "actions.yaml").unlink()
    settings = load_settings("test", configs)
    assert (settings.catalogue, settings.catalogue_problems) == (None, ())


def test_the_catalogue_of_the_checkout_is_good() -> None:
    catalogue = load_settings("test").catalogue
    assert catalogue is not None
    assert [action.id for action in catalogue.actions] == ["email_coupon", "line_coupon"]
