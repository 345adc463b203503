"""A compiled catalogue, its hash, its versions, and what a person sees of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from feature_repo.configuration import ConfigurationError
from pipelines.catalogue import Budget, Cap, QuietHours
from pipelines.catalogue.versions import CatalogueVersions
from pipelines.cli import app
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from pipelines.settings.catalogue import load_catalogue
from tests.unit.catalogue_parts import ACTIONS, JOURNEYS, around, changed, load, write

DAY = 86_400_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings(), workspace=Workspace("catalogue", tmp_path))


# --- compiled --------------------------------------------------------------------------------


def test_money_is_in_minor_units_and_days_are_of_the_zone(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    coupon = catalogue.action("coupon")
    assert (coupon.cost, coupon.boost, coupon.priority) == (1250, -225, 1.5)
    assert catalogue.budget == Budget(2_000_000, DAY)
    # 2026-06-01 and 2026-07-01, 00:00 in Bangkok, seven hours before UTC.
    assert (coupon.starts, coupon.ends) == (1_780_246_800_000_000, 1_782_838_800_000_000)


def test_a_value_without_a_name_is_in_major_units(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    spent = {"order_completed_value_mean_lifetime": 1000}
    worth = {action.id: action.value.value(spent) for action in catalogue.actions}
    assert worth == {"coupon": 300.0, "chat": 10_000.0, "receipt": 100.0, "call": 30_000.0}


def test_quiet_hours_are_the_actions_own_or_its_channels_or_the_catalogues(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    found = {action.id: action.quiet_hours for action in catalogue.actions}
    assert found == {
        "coupon": QuietHours(21 * 60, 9 * 60),
        "chat": QuietHours(23 * 60, 7 * 60 + 30),
        "receipt": None,
        "call": None,
    }


def test_a_time_without_quotation_marks_is_what_it_looks_like(tmp_path: Path) -> None:
    actions, _ = write(tmp_path)
    actions.write_text(actions.read_text().replace("from: '21:00'", "from: 21:00"))
    assert load(tmp_path, yaml.safe_load(actions.read_text())).action("coupon").quiet_hours == QuietHours(1260, 540)


def test_caps_of_all_of_a_channel_and_of_an_action(tmp_path: Path) -> None:
    assert load(tmp_path).caps == (Cap(3, 7 * DAY), Cap(1, DAY, None, "email"), Cap(1, 30 * DAY, "coupon"))


def test_rules_and_traits_are_written_out(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    eligible = catalogue.action("coupon").eligible
    assert eligible is not None
    assert eligible.text == "buys and stage == 'usage'"
    assert eligible.names == ("order_completed_count_90d", "customer_identified_language_latest_lifetime", "stage")
    scope = {"order_completed_count_90d": 2, "customer_identified_language_latest_lifetime": "th", "stage": "usage"}
    assert eligible.value(scope) is True
    assert eligible.value({**scope, "stage": "awareness"}) is False
    assert list(catalogue.stages) == ["usage", "awareness"]
    assert catalogue.stages["awareness"].value({}) is True


def test_all_features_that_are_read_are_known(tmp_path: Path) -> None:
    catalogue = load(tmp_path)
    hours = [f"email_opened_count_hour_{hour}_90d" for hour in range(24)]
    assert catalogue.send_time is not None
    assert catalogue.send_time.counts == {"email": tuple(hours)}
    assert set(catalogue.features) == {
        *hours,
        "customer_identified_language_latest_lifetime",
        "customer_identified_timezone_latest_lifetime",
        "order_completed_count_90d",
        "order_completed_value_mean_lifetime",
        "order_refunded_count_lifetime",
    }


# --- its hash --------------------------------------------------------------------------------


def test_the_hash_is_the_same_in_every_version_of_the_program(tmp_path: Path) -> None:
    assert load(tmp_path).hash == "68630daefd089a07"


def test_the_hash_does_not_know_order_of_keys_words_or_the_time(tmp_path: Path) -> None:
    expected = load(tmp_path).hash
    text = yaml.safe_dump(ACTIONS, sort_keys=True, default_flow_style=True)
    reordered = yaml.safe_load("# a comment\n" + text)
    assert load(tmp_path, reordered).hash == expected
    assert (
        load(tmp_path, changed(lambda c: c["actions"][0].__setitem__("description", "Other words."))).hash == expected
    )
    assert load(tmp_path, changed(lambda c: c.__setitem__("shadow_price", 0.0))).hash == expected
    assert load(tmp_path, now=None).hash == expected


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda c: c["actions"][0].__setitem__("cost", 12.51),
    lambda c: c["actions"][0].__setitem__("priority", 2),
    lambda c: c["actions"][0]["valid"].__setitem__("until", "2026-07-01"),
    lambda c: c["actions"][0]["variants"][0].__setitem__("because", "other words"),
    lambda c: c["actions"][0]["variants"][0]["text"].__setitem__("en", "So sorry"),
    lambda c: c["actions"].reverse(),
    lambda c: c["rules"].__setitem__("orders_lately", "order_completed_count_90d > 1"),
    lambda c: c["holdout"].__setitem__("salt", "2027"),
    lambda c: c["exploration"].__setitem__("share", 0.2),
    lambda c: c["quiet_hours"].__setitem__("to", "08:00"),
    lambda c: c["caps"].pop(),
    lambda c: c.__setitem__("shadow_price", 0.5),
    lambda c: c.__setitem__("currency", "EUR"),
]


def test_the_hash_knows_all_that_decides(tmp_path: Path) -> None:
    other_journeys = {**JOURNEYS, "stages": JOURNEYS["stages"][::-1]}
    hashes = [load(tmp_path).hash, load(tmp_path, journeys=other_journeys).hash]
    hashes += [load(tmp_path, changed(change)).hash for change in CHANGES]
    assert len(set(hashes)) == len(CHANGES) + 2


# --- its versions ----------------------------------------------------------------------------


def test_an_old_version_decides_as_it_did(tmp_path: Path, settings: Settings) -> None:
    old = load(tmp_path)
    new = load(tmp_path, changed(CHANGES[0]))
    versions = CatalogueVersions(settings)
    for catalogue in (old, new, old):
        versions.remember(catalogue)
    again = CatalogueVersions(settings)
    assert again.find(old.hash) == old
    assert again.find(new.hash) == new
    assert again.newest() == old
    assert again.find("0" * 16) is None
    assert again.find("../newest") is None


def test_a_version_does_not_depend_on_todays_configuration(tmp_path: Path, settings: Settings) -> None:
    old = load(tmp_path)
    CatalogueVersions(settings).remember(old)
    emptied = replace(settings, tracking_plan=settings.tracking_plan.model_copy(update={"channels": ("web",)}))
    assert CatalogueVersions(emptied).find(old.hash) == old
    assert CatalogueVersions(emptied).newest() is None  # a channel of it is gone


def test_no_version_and_a_damaged_one(tmp_path: Path, settings: Settings) -> None:
    versions = CatalogueVersions(settings)
    assert versions.newest() is None
    old = load(tmp_path)
    versions.remember(old)
    file = settings.workspace.catalogues / f"{old.hash}.json"
    whole = file.read_text()
    for damaged in ("", "[]", "{", whole.replace("12.5", "13.5"), whole.replace('"cost": 12.5', '"const": 12.5')):
        file.write_text(damaged)
        with pytest.raises(ConfigurationError, match=old.hash):
            versions.find(old.hash)


# --- what a person sees ----------------------------------------------------------------------


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))
    monkeypatch.setenv("TWIN_CONFIG_DIR", str(folder))
    always = changed(lambda content: content["actions"][0].pop("valid"))
    write(folder, always)
    return folder


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and what was printed; a mistake of the configuration is raised, as `main` tells it."""
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(answer.exception, ConfigurationError):
        raise answer.exception
    return answer.exit_code, answer.stdout


@pytest.mark.usefixtures("configs")
def test_actions_are_listed_in_words() -> None:
    code, text = run("actions", "list")
    assert code == 0
    for line in (
        "coupon: A coupon.",
        "channel      email",
        "cost         12.50 THB each",
        "0.3 * order_completed_value_mean_lifetime, in minor units",
        "of each unit of reward that the model predicts: 300.00 THB",
        "eligible     whoever meets: buys and stage == 'usage'",
        "consent      needs marketing",
        "caps         at most 1 contact in 30 days",
        "quiet hours  from 21:00 to 09:00",
        "quiet hours  from 23:00 to 07:30",
        "quiet hours  none",
        "levers       expected value times 1.5, -2.25 THB added to the expected value",
        "variant      calm where order_refunded_count_lifetime > 0 (en, th)",
        "variant      plain for everybody else (en, th)",
        "none: nobody is contacted",
        "at most 1 contact by email in 1 day",
        "5.0% of customers are held out",
        "at most 20,000.00 THB in each day",
        "speaks               traits.language in ['th', 'en']",
        "usage                orders_lately",
    ):
        assert line in text


@pytest.mark.usefixtures("configs")
def test_actions_are_listed_as_json() -> None:
    code, text = run("actions", "list", "--json")
    told = json.loads(text)
    assert code == 0
    assert [action["id"] for action in told["actions"]] == ["coupon", "chat", "receipt", "call"]
    assert told["hash"] == load_settings().catalogue.hash  # type: ignore[union-attr]


def test_a_file_is_checked_before_it_is_put_in_place(configs: Path, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    good, _ = write(tmp_path / "next")
    march = good.rename(tmp_path / "march.yaml")
    content = yaml.safe_load(march.read_text())
    del content["actions"][0]["valid"]
    march.write_text(yaml.safe_dump(content))
    (configs / "actions.yaml").write_text("spelling: 1\n")  # the one in place is bad, and is not asked
    assert run("actions", "check", march)[0] == 0
    assert json.loads(run("actions", "check", march, "--json")[1])["good"] is True

    del content["actions"][0]["cost"]
    content["rules"]["x"] = "no_such_feature > 0"
    march.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError) as raised:
        run("actions", "check", march)
    assert {problem.file for problem in raised.value.problems} == {"march.yaml"}
    code, text = run("actions", "check", march, "--json")
    told = json.loads(text)
    assert code == 2
    assert [problem["field"] for problem in told["problems"]] == ["actions.0.cost", "rules.x"]


def test_no_actions_at_all(configs: Path) -> None:
    (configs / "actions.yaml").unlink()
    assert run("actions", "list")[0] == 1
    with pytest.raises(ConfigurationError, match="nothing there"):
        run("actions", "check")


def test_of_a_reward_that_is_money_a_value_is_a_share(tmp_path: Path) -> None:
    """The reward is in minor units already: a baht of it is a hundred of them."""
    near = around()
    money = near.model_copy(update={"money_rewards": tuple(near.action_models)})
    files = write(tmp_path, changed(lambda c: c["actions"][3].update(value=0.25)))
    assert load_catalogue(*files, near, None).action("call").value.value({}) == 25.0
    assert load_catalogue(*files, money, None).action("call").value.value({}) == 0.25


def test_which_rewards_are_money_is_read_of_the_models(settings: Settings) -> None:
    assert settings.surroundings.money_rewards == ("grocery_mailing",)
