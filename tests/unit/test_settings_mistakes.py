"""Mistakes in the YAML files, as people make them: all are told at once, in words, with field and remedy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from feature_repo.configuration import ConfigurationError, Problem, parse, read_yaml
from pipelines.settings import CHECKOUT, Workspace, load_settings
from pipelines.settings.mapping import FormatConfig
from pipelines.settings.tracking_plan import TrackingPlan

RANGE = {"type": "integer", "minimum": 9}
SOURCE = "sources/online_retail.yaml"
FILES = ["events.yaml", "features.yaml", "expectations.yaml", SOURCE, "models/churn.yaml", "profiles/local.yaml"]


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))


def mistakes(configs: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as raised:
        load_settings("test", configs)
    return raised.value.problems


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", ["", "- 1\n", "word", "a: [1,\nb: }", "a:\n\tb: 1\n", "spelling: 1\n"])
def test_a_file_of_other_content_is_told(configs: Path, file: str, content: str) -> None:
    (configs / file).write_text(content)
    found = mistakes(configs)
    assert all(Path(problem.file).name == Path(file).name for problem in found)
    assert not any(word in str(problem) for problem in found for word in ("instance of", "Config", "TrackingPlan"))


@pytest.mark.parametrize("file", FILES)
def test_a_folder_or_other_bytes_are_told(configs: Path, file: str) -> None:
    path = configs / file
    text = path.read_bytes()
    path.write_bytes(b"# caf\xe9\n" + text)
    assert "UTF-8" in str(mistakes(configs)[0])
    path.unlink()
    path.mkdir()
    assert "a readable file" in str(mistakes(configs)[0])


@pytest.mark.parametrize("file", FILES)
def test_a_key_that_stands_twice_is_told_with_its_line(configs: Path, file: str) -> None:
    path = configs / file
    text = path.read_text()
    key = next(iter(yaml.safe_load(text)))
    path.write_text(f"{text}\n{key}: again\n")
    (problem,) = mistakes(configs)
    assert (problem.field, problem.got) == (str(key), f"it again in line {text.count(chr(10)) + 2}")


def test_keys_that_stand_twice_are_found_at_any_depth(tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text("a: {b: 1, b: 2}\nc:\n  - d: 1\n    d: 1\n  - d: 2\n")
    with pytest.raises(ConfigurationError) as raised:
        read_yaml(file)
    assert [problem.field for problem in raised.value.problems] == ["b", "d"]


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    file = tmp_path / "merge.yaml"
    file.write_text("base: &base {a: 1, b: 2}\nother: {<<: *base, a: 3}\n")
    assert read_yaml(file)["other"] == {"a": 3, "b": 2}


@pytest.mark.parametrize(("file", "copy"), [(SOURCE, "sources/zz.yaml"), ("models/churn.yaml", "models/aa.yaml")])
def test_a_copy_that_kept_its_name_hides_nothing(configs: Path, file: str, copy: str) -> None:
    shutil.copy(configs / file, configs / copy)
    (problem,) = mistakes(configs)
    assert problem.expected == f"{Path(copy).stem!r}, the name of the file"


def test_mistakes_of_several_files_come_at_once(configs: Path) -> None:
    for file in FILES:
        (configs / file).write_text("spelling: 1\n")
    assert {problem.file for problem in mistakes(configs)} == {Path(file).name for file in FILES}


def test_an_expectation_about_an_unknown_source_is_told(configs: Path) -> None:
    path = configs / "expectations.yaml"
    path.write_text(path.read_text().replace("where: {event: [Order Completed]}", "where: {source: [shp]}", 1))
    (problem,) = mistakes(configs)
    assert (problem.field, problem.got) == ("order_has_value.where.source", "'shp'")


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r", "\0", "é", "a", "1"])
def test_a_delimiter_must_be_able_to_part_fields(delimiter: str) -> None:
    with pytest.raises(ConfigurationError, match="an ASCII character"):
        parse({"type": "csv", "delimiter": delimiter}, FormatConfig)


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t", " ", "\x01"])
def test_usual_delimiters(delimiter: str) -> None:
    assert parse({"type": "csv", "delimiter": delimiter}, FormatConfig).delimiter == delimiter


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"currencies": {"GBP": -2}}, "currencies.GBP"),
        ({"currencies": {"GBP": 400}}, "currencies.GBP"),
        ({"currencies": {"GBP": True}}, "currencies.GBP"),
        ({"channels": []}, "channels"),
        ({"events": {}}, "events"),
        (
            {
                "events": {
                    "A": {"description": "a", "properties": {"x": {"type": "integer", "minimum": 9, "maximum": 0}}}
                }
            },
            "minimum no greater than maximum",
        ),
    ],
)
def test_a_tracking_plan_that_cannot_be_meant(change: dict[str, object], told: str) -> None:
    plan = {"channels": ["web"], "currencies": {"GBP": 2}, "events": {"A": {"description": "a"}}}
    assert parse(plan, TrackingPlan).currencies == {"GBP": 2}
    with pytest.raises(ConfigurationError, match=told):
        parse({**plan, **change}, TrackingPlan)


@pytest.mark.parametrize("name", ["Shop", "../shop", "shop\n", "s" * 50, " ", "a/b", "1a"])
def test_a_workspace_name_is_checked(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="at most 40 letters"):
        load_settings(name)
    with pytest.raises(ValueError, match="at most 40 letters"):
        Workspace(name, checkout=tmp_path)


LEADS = "models/lead_score.yaml"


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        (LEADS, {"label": {"match": "has_company"}}, "label.match: expected a property of Lead Created"),
        (LEADS, {"label": {"goal_events": ["Deal Lost"]}}, "label.goal_events: expected events of events.yaml"),
        (
            LEADS,
            {"label": {"exclude": {"events": ["Lead Created"]}}},
            "label.exclude: expected events that not everybody",
        ),
        (LEADS, {"label": {"exclude": {"events": ["Lead Created"], "within": "31d"}}}, "shorter than 30d"),
        (LEADS, {"inputs": {"without": ["*"]}}, "inputs.without: expected at least one input left"),
        (
            LEADS,
            {
                "inputs": {"without": ["*_weekday_*"]},
                "fit": {"monotone": {"lead_created_weekday_top_lifetime": "raises"}},
            },
            "fit.monotone: expected an input of the model",
        ),
        (
            LEADS,
            {"slices": [{"name": "habit", "feature": "order_completed_channel_top_365d", "quantiles": 2}]},
            "slices.habit: expected a feature that is a number",
        ),
        (LEADS, {"slices": [{"name": "asked", "consent": "spying"}]}, "slices.asked.consent: expected a purpose"),
        (LEADS, {"snapshots": {"at": "opening", "every": "0d", "most": 3}}, "`every` longer than 0d"),
        (
            "models/churn.yaml",
            {"snapshots": {"at": "opening", "every": "9d", "most": 3}},
            "needs label.kind: conversion",
        ),
    ],
)
def test_a_mistake_in_a_model_is_told_before_anything_is_made(
    configs: Path, file: str, change: dict[str, dict[str, object]], told: str
) -> None:
    raw = yaml.safe_load((configs / file).read_text())
    for section, said in change.items():
        raw[section] = {**raw.get(section, {}), **said} if isinstance(said, dict) else said
    (configs / file).write_text(yaml.safe_dump(raw))
    assert told in " ".join(str(problem) for problem in mistakes(configs))


@pytest.mark.parametrize("name", ["customer_value", "next_order"])
def test_a_companion_needs_three_folds(configs: Path, name: str) -> None:
    """Of two, one would be held out for the interval, and nothing be left to cross-validate the other with."""
    path = configs / "models" / f"{name}.yaml"
    text = path.read_text()
    path.write_text(text.replace("folds: 5", "folds: 3"))
    load_settings("test", configs)
    path.write_text(text.replace("folds: 5", "folds: 2"))
    (problem,) = mistakes(configs)
    assert (problem.file, problem.field) == (path.name, "split.folds")
    assert (problem.expected, problem.got) == ("greater than or equal to 3", "2")


def test_a_match_of_two_types_is_told(configs: Path) -> None:
    plan = yaml.safe_load((configs / "events.yaml").read_text())
    plan["events"]["Deal Won"]["properties"]["lead_id"] = {"type": "integer"}
    (configs / "events.yaml").write_text(yaml.safe_dump(plan))
    assert any("one type in all events" in problem.expected for problem in mistakes(configs))


def test_a_value_that_is_added_and_taken_away_is_told(configs: Path) -> None:
    raw = yaml.safe_load((configs / "models" / "churn.yaml").read_text())
    keys = ("owner", "description", "feature_service", "snapshots", "tune")
    label = {**raw["label"], "kind": "value", "add": ["Order Completed"], "subtract": ["Order Completed"]}
    history = raw["baselines"]["bg_nbd"]
    monetary = "order_completed_value_mean_lifetime"
    made = {"name": "worth", **{key: raw[key] for key in keys}, "label": label, "bg_nbd": history, "monetary": monetary}
    (configs / "models" / "worth.yaml").write_text(yaml.safe_dump(made))
    (problem,) = mistakes(configs)
    assert (problem.field, problem.got) == ("label.subtract", "'Order Completed'")


def test_no_model_of_an_opportunity_reads_what_only_its_goal_says() -> None:
    settings = load_settings("test")
    for name in ("lead_score", "loan_activation", "trial_conversion"):
        label = settings.model(name).label
        streams = [settings.features.by_name[f].stream for f in settings.features.service_features(name)]
        assert not {stream.event for stream in streams if stream} & {*label.outcome_events}
