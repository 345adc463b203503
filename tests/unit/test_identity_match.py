"""Matching on the made-up retailer's registers, whose truth is known; and the commands, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ingest
from pipelines.console import UserError
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.identity.match import Matching, match_customers, match_profiles
from pipelines.identity.names import ALIKE, read_name, similarity
from pipelines.identity.profiles import Profile, read_profiles
from pipelines.identity.quality import Quality, measure, read_truth, share
from pipelines.identity.review import ReviewQueue
from pipelines.identity.rules import NAMES_ALONE
from pipelines.identity.scoring import LEAST_CERTAIN
from pipelines.settings import Settings, Workspace, load_settings
from tests.e2e.cli import throwaway_workspace, twin
from tests.reference.matching_demo import REGISTERS, registers
from tests.unit.test_identity_review import Remembered

CONFIG = DemoConfig(customers=1000, months=2, seed=11)


@dataclass(frozen=True)
class Shop:
    settings: Settings
    truth: Path
    profiles: list[Profile]
    matching: Matching

    @property
    def quality(self) -> Quality:
        return measure(self.matching, self.profiles, read_truth(self.truth))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    settings, truth = registers(tmp_path_factory.mktemp("shop"), CONFIG)
    profiles = read_profiles(settings)
    return Shop(settings, truth, profiles, match_profiles(profiles, settings.identity.matching))


@pytest.mark.slow
def test_links_are_true_and_most_true_pairs_are_linked(shop: Shop) -> None:
    quality = shop.quality
    print(quality.text())
    matching = quality.methods[0]
    assert quality.true_pairs == 225
    assert quality.linked_wrongly == ()
    assert matching.precision.low > 0.97
    assert matching.recall.value is not None
    assert matching.recall.value > 0.75
    assert quality.review.part > 0


@pytest.mark.slow
def test_matching_beats_what_is_done_without_it(shop: Shop) -> None:
    matching, _, exact, sound = shop.quality.methods
    assert matching.recall.low > exact.recall.high
    assert matching.precision.low > sound.precision.high


@pytest.mark.slow
def test_the_same_customers_in_another_order_give_the_same(shop: Shop) -> None:
    again = match_profiles(list(reversed(shop.profiles)), shop.settings.identity.matching)
    found = {(o.pair.left, o.pair.right): (o.verdict, o.why) for o in again.outcomes}
    assert found == {(o.pair.left, o.pair.right): (o.verdict, o.why) for o in shop.matching.outcomes}
    same = match_profiles(shop.profiles, shop.settings.identity.matching)
    assert same == shop.matching, "to the last bit"


@pytest.mark.slow
def test_twins_and_families_are_not_linked_and_names_alone_wait(shop: Shop) -> None:
    table = pq.read_table(shop.truth).to_pylist()
    others = {
        (row["related_to"], row["member_id"]) for row in table if row["relation"] in ("twin", "family", "namesake")
    }
    linked = {(o.pair.left, o.pair.right) for o in shop.matching.outcomes if o.verdict == "link"}
    reviewed = {(o.pair.left, o.pair.right) for o in shop.matching.outcomes if o.verdict == "review"}
    assert len(others) > 30
    assert not others & linked
    assert others & reviewed
    assert any(o.why == NAMES_ALONE for o in shop.matching.outcomes)


@pytest.mark.slow
def test_a_second_run_links_nothing_again_and_a_link_that_was_undone_stays_so(shop: Shop) -> None:
    store = Remembered()
    first = match_customers(shop.settings, store)
    again = match_customers(shop.settings, store)
    assert first.linked == len(store.told) > 100
    assert (again.linked, again.waiting, again.known) == (0, first.waiting, first.linked)
    customers = {decision.right[1]: decision.left[1] for decision in store.told}
    joined = match_customers(shop.settings, store, customer_of=lambda user: customers.get(user, user))
    assert (joined.linked, joined.known, joined.joined) == (0, 0, first.linked)
    assert len(ReviewQueue(shop.settings.workspace.identity).decided()) == first.linked


def test_of_a_handful_of_customers_nothing_is_learned_and_nothing_linked(tmp_path: Path) -> None:
    settings = replace(load_settings("demo"), workspace=Workspace("demo", checkout=tmp_path))
    name = read_name("สมชาย ใจดี")
    assert name is not None
    alike = [Profile(f"u{i}", (name,), (), ("+66812345678",)) for i in range(3)]
    for profiles in ([], alike[:1], alike):
        matching = match_profiles(profiles, settings.identity.matching)
        assert matching.outcomes == ()
        assert matching.certain < LEAST_CERTAIN
    summary = match_customers(settings)
    assert "too few" in summary.text()
    assert (summary.customers, summary.linked) == (0, 0)


LACKING: dict[str, tuple[dict[str, Any], int]] = {
    "e-mail and place": ({"emails": (), "province": None, "postcode": None}, 50),
    "phone": ({"phones": ()}, 50),
    "names": ({"names": ()}, 0),
    "birth date": ({"birth_date": None}, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("lacking", "least"), LACKING.values(), ids=LACKING)
def test_registers_that_lack_a_field_are_matched_by_what_they_have(
    shop: Shop, lacking: dict[str, Any], least: int
) -> None:
    """Levels that nobody reaches do not stop the training, and make no wrong links."""
    poor = [replace(profile, **lacking) for profile in shop.profiles]
    matching = match_profiles(poor, shop.settings.identity.matching)
    quality = measure(matching, poor, read_truth(shop.truth))
    assert quality.linked_wrongly == ()
    assert quality.methods[0].precision.part >= least


def test_wilsons_interval_is_that_of_the_books() -> None:
    assert share(0, 0).value is None
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)
    assert [round(value, 4) for value in (share(81, 263).low, share(81, 263).high)] == [0.2553, 0.3662]
    assert (share(10, 10).value, share(10, 10).high) == (1.0, pytest.approx(1.0))
    assert round(share(10, 10).low, 4) == 0.7225


def test_truth_that_is_none_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for path in (tmp_path / "nothing.parquet", tmp_path / "other.parquet"):
        with pytest.raises(UserError, match="member_id and customer_id"):
            read_truth(path)


def test_the_two_measures_of_likeness_are_one() -> None:
    """SQL compares skeletons with DuckDB's Jaro-Winkler, words are told with rapidfuzz's."""
    import duckdb
    from rapidfuzz.distance import JaroWinkler

    words = ["smc", "smcy", "prsrt", "prst", "a", "wnkswt", "wnkst", "tnkt"]
    with duckdb.connect() as connection:
        for left in words:
            for right in words:
                query = "SELECT jaro_winkler_similarity(?, ?)"
                found = connection.execute(query, [left, right]).fetchall()[0][0]
                assert found == pytest.approx(JaroWinkler.similarity(left, right))


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with throwaway_workspace("identity") as workspace:
        settings = replace(load_settings(workspace.name), workspace=workspace)
        generate(CONFIG, workspace.sources)
        for source, file in source_files(workspace.sources):
            if source in REGISTERS:
                ingest.commit(ingest.stage(settings, source, file))
        yield workspace


@pytest.mark.slow
def test_the_commands_match_list_decide_and_measure(workspace: Workspace) -> None:
    none = twin(workspace, "identity", "review")
    assert none.stdout.strip() == "no pair waits"

    matched = json.loads(twin(workspace, "identity", "match", "--json").stdout)
    assert matched["linked"] > 100
    listed = json.loads(twin(workspace, "identity", "review", "--limit", "2", "--json").stdout)
    assert listed["waiting"] == matched["waiting"]
    first, second = listed["pairs"]
    assert first["probability"] >= second["probability"]

    masked = twin(workspace, "identity", "review", first["pair"]).stdout
    shown = twin(workspace, "identity", "review", first["pair"], "--show").stdout
    name = json.loads(twin(workspace, "identity", "review", first["pair"], "--show", "--json").stdout)
    for text in name["pairs"][0]["left"]["names"]:
        assert text in shown
        assert text not in masked
    assert first["pair"] in masked
    assert "•" in masked

    accepted = twin(workspace, "identity", "review", first["pair"], "--accept", "--by", "malee", "--note", "asked")
    assert "one customer, says malee" in accepted.stdout
    rejected = twin(workspace, "identity", "review", second["pair"], "--reject", "--json")
    assert json.loads(rejected.stdout)["verdict"] == "apart"
    again = twin(workspace, "identity", "review", first["pair"], "--reject")
    assert again.returncode == 1
    assert "decided: link, by malee" in again.stderr
    left = json.loads(twin(workspace, "identity", "review", "--json").stdout)
    assert left["waiting"] == matched["waiting"] - 2

    truth = str(workspace.sources / "truth" / "matches.parquet")
    measured = twin(workspace, "identity", "match", "--truth", truth)
    assert "225 true pairs among" in measured.stdout
    assert "names that sound the same" in measured.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--accept"], "PAIR: expected the pair to decide"), (["--note", "x"], "--accept or --reject")],
)
def test_half_a_decision_is_told(arguments: list[str], told: str) -> None:
    with throwaway_workspace("half") as workspace:
        ran = twin(workspace, "identity", "review", *arguments)
    assert ran.returncode == 2
    assert told in ran.stderr


def test_the_threshold_of_likeness_tells_the_products_example() -> None:
    thai, english, other = read_name("สมชาย ใจดี"), read_name("Somchai Jaidee"), read_name("Somsak Jaidee")
    assert thai is not None
    assert english is not None
    assert other is not None
    assert similarity(thai, english) >= ALIKE
    assert similarity(other, english) < 1.0
