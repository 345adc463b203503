"""The desk over real files: caps, budget, consent, idempotence, the outbox, erasure, and what the record holds."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from feature_repo.event_table import register_customer_events
from feature_repo.model_inputs import ModelInputs
from pipelines.access import Keys
from pipelines.catalogue import NO_ACTION
from pipelines.dataset.consent import barred_from_training
from pipelines.decisions.ledger import SOURCE, LedgerUnavailable, Question
from pipelines.decisions.ledger_open import open_ledger
from pipelines.events.exclusion import ErasureRuns, nothing_taken
from pipelines.events.journal import JournalUnavailable, NewEvent
from pipelines.events.opening import event_store
from pipelines.identity.consenting import permissions_of
from pipelines.identity.current import current_membership
from pipelines.privacy.erase import erase
from pipelines.privacy.report import access_report
from pipelines.settings import Settings, Workspace
from serving.api.errors import ApiError
from serving.bootstrap import Wiring
from serving.consent_gate import ConsentGate
from serving.decisions.desk import Asked, Decided, DecisionDesk, granted
from serving.decisions.messages import spoken_in
from tests.e2e.test_personal_data_at_rest import files_of, leaks
from tests.unit.desk_parts import (
    DAY,
    EFFECTS,
    FALLBACK,
    NOON,
    Office,
    changed,
    decision_settings,
    furnish,
    order,
    publish_effects,
    says,
    write_catalogue,
)
from tests.unit.effect_parts import fitted_effects, in_units_of


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = decision_settings(tmp_path_factory.mktemp("furnished"))
    furnish(settings)
    return settings


@pytest.fixture
def settings(furnished: Settings, tmp_path: Path) -> Settings:
    """A copy to decide in."""
    shutil.copytree(furnished.workspace.checkout, tmp_path / "copy")
    made = decision_settings(tmp_path / "copy")
    return replace(made, workspace=Workspace("test", checkout=tmp_path / "copy"))


@pytest.fixture
def office(settings: Settings) -> Iterator[Office]:
    made = Office(settings)
    yield made
    made.close()


def other_catalogue(settings: Settings, **parts: object) -> Settings:
    """The settings after somebody has edited the catalogue."""
    write_catalogue(settings.config_dir, changed(**parts))
    return decision_settings(settings.config_dir.parent, settings.workspace)


def test_a_decision_is_an_event_of_its_customer_with_all_that_it_was_made_from(office: Office) -> None:
    decided = office.decide("c1", "d1")
    (stored,) = office.decisions()
    event, decision = stored.event, decided.recorded.decision
    assert (event.source, event.event_id, event.user_id, event.event_time) == (SOURCE, "d1", "c1", decision.as_of)
    assert event.value == decision.cost == event.properties["cost"]
    assert event.properties["action_id"] == decision.action
    assert set(event.properties["eligible"]) <= {NO_ACTION, "email_coupon", "line_coupon"}
    (logged,) = office.logged()
    assert logged == decided.recorded
    assert logged.catalogue == office.watch.offered.catalogue.hash  # type: ignore[union-attr]
    assert (logged.origin.model, logged.origin.model_version, decision.basis) == (EFFECTS, "1", "effect")
    champion = office.connection.wiring().effects[EFFECTS].champion
    reader = office.connection.wiring().effects[EFFECTS].reader
    # The instant just before the decision: its own event was not there.
    columns = champion.columns(reader.read(["c1"], decision.as_of).matrix)
    effects = dict(zip(champion.actions, champion.effects(columns)[0].tolist(), strict=True))
    assert {name: p.effect for name, p in logged.situation.predicted.items() if name != NO_ACTION} == effects
    assert (
        office.ingestion.files().states.storage.get_many(office.settings.features.hash, ["c1"])["c1"].position
        == stored.position
    )


def test_what_moves_the_effect_adds_up_and_is_told_where_asked_for(office: Office) -> None:
    told = office.decide("c2", reasons=True).explained
    assert told is not None
    sizes = [abs(reason.contribution) for reason in told.reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert all(np.isfinite(sizes))
    assert all(" the effect by " in reason.sentence for reason in told.reasons)
    assert told.reasons[0].sentence.endswith("order completed")
    assert office.decide("c2").explained is None


def test_what_moves_an_effect_of_much_money_is_told_too(settings: Settings) -> None:
    names = settings.features.service_features(EFFECTS)
    publish_effects(settings, "2", in_units_of(1e9, fitted_effects(ModelInputs(names, names[1:]))))
    office = Office(settings)
    try:
        told = [office.decide(f"c{number}", reasons=True).explained for number in range(6)]
    finally:
        office.close()
    assert max(abs(one.reasons[0].contribution) for one in told if one is not None) > 1e8


def test_the_message_is_in_the_customers_language(settings: Settings) -> None:
    only = changed(exploration={"share": 0.0, "cold_start_share": 0.0}, caps=[])
    only["actions"] = only["actions"][:1]
    write_catalogue(settings.config_dir, only)
    office = Office(decision_settings(settings.config_dir.parent, settings.workspace))
    try:
        said = {office.decide(f"c{n}").recorded.origin.message for n in range(6)} - {None}
    finally:
        office.close()
    assert {(message.language, message.text) for message in said if message} <= {("en", "Hello"), ("th", "สวัสดี")}
    assert said


@pytest.mark.parametrize(
    ("known", "language", "spoken"),
    [
        (["en", "th"], "th-TH", "th"), (["en", "th"], "TH", "th"), (["en", "th"], "de", "en"),
        (["en", "th"], None, "en"),
        (["fr", "th"], "de", "fr"), ([], "en", None),
    ],
)  # fmt: skip
def test_languages_fall_back(known: list[str], language: str | None, spoken: str | None) -> None:
    assert spoken_in(dict.fromkeys(known, ""), language) == spoken


def test_the_same_id_is_decided_once(office: Office) -> None:
    first, again = office.decide("c1", "d1"), office.decide("c1", "d1")
    assert (first.is_known, again.is_known) == (False, True)
    assert again.recorded == first.recorded
    with pytest.raises(ApiError) as caught:
        office.decide("c2", "d1")
    assert (caught.value.status, caught.value.code) == (409, "decision_id_taken")
    assert len(office.decisions()) == 1


def test_an_id_of_a_forgotten_decision_is_refused(office: Office) -> None:
    office.decide("c1", "d1")
    ledger, _ = office.desk._opened()
    ledger.settle()
    ledger.prune(NOON * 2, NOON * 2)
    with pytest.raises(ApiError) as caught:
        office.decide("c1", "d1")
    assert caught.value.code == "decision_id_taken"
    assert len(office.decisions()) == 1


def test_of_two_calls_with_one_id_at_once_both_are_answered_alike(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.decide("c0")  # opens what is patched
    ledger, journal = office.desk._opened()[0], office.files.journal
    first: list[Decided] = []

    def interrupted(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*asked: Any) -> Any:
            seen = look(*asked)
            if not first:
                monkeypatch.undo()
                with ThreadPoolExecutor(1) as pool:
                    first.append(pool.submit(office.decide, "c1", "mine").result())
            return seen

        return looked

    monkeypatch.setattr(ledger, "find", interrupted(ledger.find))
    monkeypatch.setattr(journal, "contains", interrupted(journal.contains))
    second = office.decide("c1", "mine")
    assert second.is_known
    assert not first[0].is_known
    assert second.recorded == first[0].recorded


def test_threads_never_exceed_caps_and_the_budget(settings: Settings) -> None:
    tight = other_catalogue(settings, budget={"amount": 14, "per": "1d"}, exploration={"share": 1.0})
    office = Office(tight)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: office.decide(f"c{n % 6}"), range(120)))
        logged = office.logged()
    finally:
        office.close()
    contacts = Counter(one.decision.customer_id for one in logged if one.decision.action != NO_ACTION)
    assert len(logged) == 120
    assert max(contacts.values()) <= 3
    assert sum(one.decision.cost for one in logged) == 1_400
    assert {item.lost for one in logged for item in one.decision.alternatives} >= {"cap", "budget"}


def test_who_takes_marketing_back_gets_no_more_of_it(office: Office) -> None:
    def consents(who: str) -> tuple[str, ...]:
        return office.decide(who).recorded.situation.consents

    assert consents("c3") == ("marketing",)
    office.keep(says("c3", "marketing", False, NOON))
    for _ in range(5):
        decided = office.decide("c3").recorded
        assert (decided.situation.consents, decided.decision.action) == ((), NO_ACTION)
        assert {item.lost for item in decided.decision.alternatives[1:]} == {"consent"}
    # A basis of a source is not the customer's word.
    office.keep(order(1, "silent", NOON))
    assert consents("silent") == ()


def test_who_denied_profiling_is_not_decided_for(office: Office) -> None:
    office.keep(says("c3", "profiling", False, NOON))
    with pytest.raises(ApiError) as caught:
        office.decide("c3")
    assert (caught.value.status, caught.value.code) == (403, "consent_denied")
    with pytest.raises(ApiError) as caught:
        office.decide("nobody")
    assert (caught.value.status, caught.value.code) == (404, "unknown_customer")
    with pytest.raises(ApiError) as caught:
        office.decide("c1", context={"strange": 1})
    assert (caught.value.status, caught.value.code) == (400, "invalid_context")
    assert office.decisions() == []


def test_decisions_say_nothing_of_permissions(office: Office) -> None:
    identity = office.files.identity
    before = permissions_of(office.settings, identity, "c1", {"web"})
    office.decide("c1")
    assert permissions_of(office.settings, identity, "c1", {"web", SOURCE}) == before


def test_decisions_may_train_where_all_else_of_the_customer_may(office: Office) -> None:
    keys = Keys(office.settings.workspace.access)
    keys.create("shop", ["ingest"], "web", "THB", purposes=["profiling"], legal_basis="contract")
    # What counts for features is looked up once a second.
    time.sleep(1.1)
    office.keep(order(1, "untrained", NOON, source="shop"))
    for who in ("c1", "untrained"):
        office.decide(who)
    with event_store(office.settings) as store, duckdb.connect() as connection:
        now, members = store.snapshot(), current_membership(office.settings)
        register_customer_events(connection, now.lake_path, now.version, now.tail, members)
        seen = "SELECT customer_id FROM customer_events WHERE event = 'Decision Made' ORDER BY ALL"
        assert connection.execute(seen).fetchall() == [("c1",), ("untrained",)]
        assert barred_from_training(connection, office.settings) == ["untrained"]


def test_contacts_of_two_who_became_one_count_together(settings: Settings) -> None:
    office = Office(other_catalogue(settings, exploration={"share": 0.0}, caps=[{"contacts": 1, "within": "7d"}]))
    try:
        acted = [
            who for who in ("c0", "c1", "c2", "c3", "c4") if office.decide(who).recorded.decision.action != NO_ACTION
        ]
        assert len(acted) >= 2
        first, second = acted[:2]
        alias = NewEvent(
            "web", "a1", "Customer Aliased", NOON, NOON, "web", user_id=first, properties={"previous_id": second}
        )
        office.keep(alias)
        merged = office.decide(second).recorded
    finally:
        office.close()
    assert len(merged.situation.contacts) == 2
    assert merged.decision.action == NO_ACTION


def test_without_effects_the_probability_ranks_and_is_marked(tmp_path: Path) -> None:
    settings = decision_settings(tmp_path)
    furnish(settings, customers=2, effects=False)
    office = Office(settings)
    try:
        offered = office.watch.offered.catalogue
        assert offered is not None
        decided = office.decide("c1", reasons=True)
        champion = office.connection.wiring().predictors[FALLBACK]
        as_of = decided.recorded.decision.as_of
        expected = champion.champion.probabilities(
            champion.champion.columns(champion.reader.read(["c1"], as_of).matrix)
        )
        alone = DecisionDesk(settings, lambda: offered, lambda: Wiring({}, {}, {}), ConsentGate(settings))
        bare = alone.decide(Asked("c1"), office.files).recorded.decision
        alone.close()
    finally:
        office.close()
    assert (decided.recorded.decision.basis, decided.recorded.origin.model) == ("propensity", FALLBACK)
    told = decided.recorded.situation.predicted
    assert {name: (p.effect, p.response) for name, p in told.items()} == dict.fromkeys(
        ["email_coupon", "line_coupon"], (None, float(expected[0]))
    )
    assert decided.explained is not None
    assert "probability" in decided.explained.reasons[0].sentence
    assert bare.basis == "none"


def test_what_died_between_ledger_and_journal_is_appended_once_by_whoever_is_next(
    office: Office, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(events: object) -> None:
        raise JournalUnavailable("no room")

    store = office.ingestion._opened()
    with monkeypatch.context() as patch:
        patch.setattr(store, "keep", refuse)
        for number in range(3):
            # What was decided comes first: nothing else is decided as long as that is in no journal.
            with pytest.raises(JournalUnavailable):
                office.decide("c1", f"lost{number}")
    assert office.decisions() == []
    office.decide("c2", "next")
    assert [stored.event.event_id for stored in office.decisions()] == ["lost0", "next"]
    # And where the process itself is gone: the next one appends it as it starts.
    ledger = open_ledger(settings)
    kept = ledger.find("lost0")
    assert kept is not None
    event = replace(kept.event, event_id="orphan")
    ledger.decide(Question("orphan", ("c1",), "b", 0), lambda before: replace(kept, event=event))
    ledger.close()
    for _ in range(2):
        other = Office(settings)
        other.desk.recover(other.ingestion.files)
        assert [stored.event.event_id for stored in other.decisions()].count("orphan") == 1
        other.close()


def test_while_an_erasure_runs_nothing_is_decided(office: Office, settings: Settings) -> None:
    office.decide("c1")
    with nothing_taken(settings.workspace.erasure_lock), pytest.raises(ErasureRuns):
        office.decide("c1")
    assert len(office.decisions()) == 1


def test_access_tells_and_erasure_removes_what_was_decided(settings: Settings) -> None:
    office = Office(settings)
    victim = "victim-4711"
    office.keep(order(1, victim, NOON - 3 * DAY), says(victim, "marketing", True, NOON - 2 * DAY))
    for number in range(4):
        office.decide(victim, f"v{number}")
        office.decide("c1", f"o{number}")
    office.close()
    report = access_report(settings, victim, actor="tests")
    assert [item["decision_id"] for item in report.decisions] == ["v0", "v1", "v2", "v3"]
    assert sum(event["event"] == "Decision Made" for event in report.events) == 4
    assert leaks({victim}, files_of(settings.workspace.root)).keys()
    assert any(
        path.name.startswith("decisions.db") for path in map(Path, leaks({victim}, files_of(settings.workspace.root)))
    )
    done = erase(settings, victim, reason="case 1", actor="tests")
    assert done.found == []
    assert leaks({victim}, files_of(settings.workspace.root)) == {}
    after = Office(settings)
    assert [stored.event.event_id for stored in after.decisions()] == ["o0", "o1", "o2", "o3"]
    with pytest.raises(ApiError):
        after.decide(victim, "v0")
    after.close()


def test_an_erasure_reaches_plans_also_those_that_somebody_died_over(settings: Settings) -> None:
    office = Office(settings)
    victim = "victim-4711"
    office.keep(order(1, victim, NOON - 3 * DAY))
    office.close()
    plans = settings.workspace.root / "plans"
    plans.mkdir()
    rows = pa.table({"customer_id": ["c1", victim], "decision_id": ["p:c1", f"p:{victim}"]})
    parquet.write_table(rows, plans / "p.parquet")
    torn = plans / ".q.parquet.partial"
    torn.write_bytes((plans / "p.parquet").read_bytes()[:-8])
    assert erase(settings, victim, reason="case 1", actor="tests").found == []
    assert not torn.exists()
    assert parquet.read_table(plans / "p.parquet").to_pylist() == [{"customer_id": "c1", "decision_id": "p:c1"}]
    assert leaks({victim}, files_of(settings.workspace.root)) == {}


def test_pruning_runs_now_and_then(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    ledger, _ = office.desk._opened()
    monkeypatch.setattr(ledger, "prune", lambda *limits: asked.append(limits))
    office.decide("c1")
    assert asked == []
    office.desk._pruned_at = float("-inf")
    as_of = office.decide("c1").recorded.decision.as_of
    assert asked == [(as_of - 90 * DAY, as_of - DAY)]


def test_consents_are_read_at_once_as_they_are_one_by_one(office: Office) -> None:
    office.keep(
        says("c1", "marketing", True, NOON - 50 * DAY),
        says("c1", "profiling", True, NOON - 50 * DAY),
        # At one instant the denial holds, whichever comes first.
        says("c1", "profiling", False, NOON - 40 * DAY),
        replace(says("c1", "profiling", True, NOON - 40 * DAY), event_id="both"),
        says("c2", "marketing", False, NOON - 10 * DAY),
        # Two who became one: the later word of either.
        NewEvent("web", "a2", "Customer Aliased", NOON, NOON, "web", user_id="c3", properties={"previous_id": "c4"}),
        says("c4", "marketing", False, NOON - 5 * DAY),
    )
    identity, purposes = office.files.identity, office.settings.consent.purposes
    for who in ("c0", "c1", "c2", "c3", "nobody"):
        said = {purpose: identity.permission(who, purpose) for purpose in purposes}
        expected = tuple(sorted(purpose for purpose, told in said.items() if told is not None and told.granted))
        assert granted(identity, who, purposes) == expected
    assert granted(identity, "c0", purposes) == ("marketing",)
    assert granted(identity, "c3", purposes) == ()


def test_a_decision_is_told_also_where_pruning_fails(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*before: int) -> None:
        raise LedgerUnavailable("locked")

    office.decide("c1")
    monkeypatch.setattr(office.desk._opened()[0], "prune", unavailable)
    monkeypatch.setattr(office.desk, "_pruned_at", time.monotonic() - 4_000.0)
    told = office.decide("c1")
    assert told.recorded == office.logged()[-1]
