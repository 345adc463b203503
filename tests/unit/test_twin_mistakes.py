"""Mistakes in what is declared of twins: each is told with its file, and all of all files at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.events.moments import moment_of
from pipelines.settings import CHECKOUT, Settings, load_settings
from pipelines.twin.fold import TwinFold
from tests.unit.twin_parts import at, happened

Change = Callable[[Any], object]
FILES = ("journeys.yaml", "personas.yaml", "triggers.yaml", "experience.yaml", "views.yaml")


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))


def change(configs: Path, file: str, *changes: Change) -> None:
    content = yaml.safe_load((configs / file).read_text())
    for one in changes:
        one(content)
    (configs / file).write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def mistakes(configs: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as raised:
        load_settings("test", configs)
    return raised.value.problems


def put(*path: int | str, value: Any) -> Change:
    """Put `value` at the path."""

    def changed(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return changed


def drop(*path: int | str) -> Change:
    def changed(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return changed


# File, change, and of the mistake: field, part of what is expected, part of what was got.
MISTAKES: dict[str, tuple[str, Change, str, str, str]] = {
    "unknown key": ("journeys.yaml", put("histry", value={}), "histry", "no such key", "an unknown key"),
    "nothing kept": (
        "journeys.yaml", put("history", "newest_of_each_event", value=0),
        "history.newest_of_each_event", "greater than or equal to 1", "0",
    ),
    "unknown feature": (
        "journeys.yaml", put("stages", 1, "when", value="orders >= 1"), "stages.usage.when", "a known name", "'orders'",
    ),
    "a stage for nobody else": (
        "journeys.yaml", put("stages", 4, "when", value="product_viewed_count_7d > 0"),
        "stages.awareness.when", "always holds", "product_viewed_count_7d > 0",
    ),
    "a consent is no stage": (
        "journeys.yaml", put("stages", 2, "when", value="consent.marketing"),
        "stages.decision.when", "a rule over features", "consent.marketing",
    ),
    "a list is not kept": (
        "journeys.yaml", put("relationship", 2, "when", value="order_completed_products_product_id_distinct_30d > 2"),
        "relationship.forward.when", "single properties", "product_id_distinct",
    ),
    "unknown relationship": (
        "journeys.yaml", put("relationship", 1, "name", value="sideways"),
        "relationship", "one of: stopped, backward, forward, start", "'sideways'",
    ),
    "unknown evidence": (
        "journeys.yaml", put("stages", 0, "evidence", value=["order_completed_count_lifetim"]),
        "stages.retention.evidence", "a feature", "'order_completed_count_lifetim'",
    ),
    "unknown trait event": (
        "journeys.yaml", put("traits_from", 0, value="Customer Identifed"), "traits_from", "an event", "Identifed",
    ),
    "unknown contact": (
        "journeys.yaml", put("contacts", 0, "event", value="Mail"), "contacts.0.event", "an event", "'Mail'",
    ),
    "unknown property of a contact": (
        "journeys.yaml", put("contacts", 1, "action", value="campaign"),
        "contacts.1.action", "a property of LINE Message Delivered", "'campaign'",
    ),
    "a score that is no number": (
        "personas.yaml", put("personas", 0, "score", value="coupon_applied_count_90d > 0"),
        "personas.bargain_hunter.score", "a number", "a boolean",
    ),
    "a share above 1": ("personas.yaml", put("at_least", value=1.5), "at_least", "less than or equal to 1", "1.5"),
    "a persona twice": (
        "personas.yaml", put("personas", 1, "name", value="browser"), "personas", "each name once", "'browser'",
    ),
    "unknown model": (
        "triggers.yaml", put("triggers", 1, "predictions", value=["conversions"]),
        "triggers.cart_left.predictions", "a model of configs/models", "'conversions'",
    ),
    "unknown action": (
        "triggers.yaml", put("triggers", 0, "offer", value=["sms"]),
        "triggers.hesitating.offer", "an action of actions.yaml (email_coupon, line_coupon)", "'sms'",
    ),
    "unknown cancelling event": (
        "triggers.yaml", put("triggers", 2, "cancelled_by", value=["Subscribed"]),
        "triggers.trial_ending.cancelled_by", "an event", "'Subscribed'",
    ),
    "no time to wait": (
        "triggers.yaml", put("triggers", 3, "again_after", value="0d"),
        "triggers.3.again_after", "longer than 0d", "'0d'",
    ),
    "an offer without a decision": (
        "triggers.yaml", put("triggers", 5, "offer", value=["line_coupon"]),
        "triggers.detractor.decide", "`true`", "False",
    ),
    "signs that are no number": (
        "triggers.yaml", put("no_purchase", "reasons", 0, "signals", value=True),
        "no_purchase.reasons.price.signals", "a number", "a boolean",
    ),
    "a property of another event": (
        "experience.yaml", put("experienced", 0, "when", value="resolved"),
        "experienced.0.when", "a known name", "'resolved'",
    ),
    "too strong an emotion": (
        "experience.yaml", put("experienced", 1, "emotion", value=-2.0),
        "experienced.1.emotion", "greater than or equal to -1", "-2.0",
    ),
    "unknown outcome": (
        "experience.yaml", put("experienced", 2, "outcome", value="fine"),
        "experienced.2.outcome", "'negative', 'met' or 'exceeded'", "'fine'",
    ),
    "unknown experience": (
        "experience.yaml", put("experienced", 6, "event", value="Order Returned"),
        "experienced.6.event", "an event", "'Order Returned'",
    ),
    "no half-life": ("experience.yaml", drop("half_life"), "half_life", "a value", "nothing"),
    "unknown section": (
        "views.yaml", put("views", 0, "sections", 0, value="stages"), "views.0.sections.0", "'profile'", "'stages'",
    ),
    "a view twice": ("views.yaml", put("views", 1, "name", value="service"), "views", "each name once", "'service'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(configs: Path, name: str) -> None:
    file, changed, field, expected, got = MISTAKES[name]
    change(configs, file, changed)
    told = [problem for problem in mistakes(configs) if problem.file == file]
    assert [problem.field for problem in told] == [field]
    assert expected in told[0].expected
    assert got in told[0].got


def test_the_mistakes_of_all_files_come_at_once(configs: Path) -> None:
    for file, changed, *_ in MISTAKES.values():
        change(configs, file, changed)
    found = mistakes(configs)
    for name, (file, _, field, expected, got) in MISTAKES.items():
        hits = [p for p in found if (p.file, p.field) == (file, field) and expected in p.expected and got in p.got]
        assert len(hits) == 1, name
    assert len(found) == len(MISTAKES)


def test_each_file_may_be_missing(configs: Path) -> None:
    for file in FILES:
        (configs / file).unlink()
    twin = load_settings("test", configs).twin
    assert [rule.name for rule in (*twin.stages, *twin.relationship)] == ["known", "start"]
    assert (twin.personas, twin.triggers, twin.barriers, twin.views, twin.kept_of_each) == ((), (), (), {}, 50)
    assert twin.features == ()
    fold = TwinFold(twin, load_settings("test", configs).features)
    made = fold.twin_at("c", at(1), [moment_of(happened("Page Viewed", 0))], {}, 1)
    assert ([step.stage for step in made.stage.path], made.relationship.stage) == (["known"], "start")


def apart(configs: Path) -> Settings:
    return load_settings("test", configs, catalogue="apart")


def test_a_service_starts_beside_mistaken_files_and_keeps_as_much_history(configs: Path) -> None:
    change(configs, "journeys.yaml", put("history", "newest_of_each_event", value=7))
    change(configs, "personas.yaml", MISTAKES["a score that is no number"][1])
    loaded = apart(configs)
    assert loaded.catalogue is not None
    assert {problem.file for problem in loaded.twin_problems} == {"personas.yaml"}
    assert (loaded.twin.kept_of_each, loaded.twin.triggers) == (7, ())


def test_a_mistaken_rule_of_the_actions_is_none_to_build_a_stage_on(configs: Path) -> None:
    change(configs, "actions.yaml", put("rules", "ordered_lately", value="orders > 0"))
    change(configs, "journeys.yaml", put("stages", 1, "when", value="ordered_lately"))
    loaded = apart(configs)
    (problem,) = loaded.twin_problems
    assert (problem.file, problem.field) == ("journeys.yaml", "stages.usage.when")
    assert {problem.file for problem in loaded.catalogue_problems} == {"actions.yaml"}


def test_what_is_declared_of_twins_does_not_change_what_decides(configs: Path) -> None:
    before = apart(configs).catalogue
    change(configs, "journeys.yaml", put("relationship", value=[]), put("stages", 0, "description", value="Other."))
    after = apart(configs).catalogue
    assert before is not None
    assert after is not None
    assert after.hash == before.hash
