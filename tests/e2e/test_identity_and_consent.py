"""Identity and consent as applications and people have them: one real service, real calls, real commands."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.access import AuditLog, Keys
from pipelines.cli.features import build_state
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.feature_store import apply_features
from pipelines.identity.review import ReviewQueue
from pipelines.identity.rules import GREY, Outcome
from pipelines.privacy import ENVIRONMENT_KEY, new_key
from pipelines.settings import CHECKOUT, Settings, Workspace
from serving.champion import load_champion
from tests.e2e.cli import throwaway_workspace, twin
from tests.e2e.test_service import Server
from tests.states import open_reader
from tests.unit.serving_parts import make_shop
from tests.unit.test_identity_rules import AGREED, pair

pytestmark = pytest.mark.slow
VIEWED, ADDED = "product_viewed_count_7d", "product_added_count_7d"
ORDERS = "order_completed_count_lifetime"
SCOPES = {"reader": ("read",), "reviewer": ("review",), "admin": ("read", "admin", "review"), "asker": ("predict",)}
SOURCES = ("web", "pos", "crm", "mailer", "line", "callcentre")


@dataclass
class Place:
    """A workspace with a champion, keys of every scope, and the service that runs over it."""

    settings: Settings
    server: Server
    keys: dict[str, str]
    sent: int = field(default=0)

    @property
    def workspace(self) -> Workspace:
        return self.settings.workspace

    def post(self, path: str, body: Any, key: str | None = None, status: int | None = 200) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        answer = httpx.post(f"{self.server.url()}{path}", json=body, headers=headers, timeout=60, trust_env=False)
        assert status is None or answer.status_code == status, answer.text
        return {**answer.json(), "status": answer.status_code}

    def call(self, kind: str, source: str = "web", **content: Any) -> None:
        """A call of Segment's protocol, acknowledged."""
        self.sent += 1
        self.post(f"/v1/{kind}", {"messageId": f"m{self.sent}", **content}, source)

    def order(self, source: str = "web", **who: Any) -> None:
        properties = {"order_id": f"o{self.sent}", "total": 100.0 + self.sent}
        self.call("track", source, event="Order Completed", properties=properties, **who)

    def viewed(self, **who: Any) -> None:
        self.call("track", event="Product Viewed", properties={"product_id": f"p{self.sent}"}, **who)

    def predict(self, customer: str, status: int = 200, **more: Any) -> dict[str, Any]:
        return self.post("/v1/predict", {"customer_id": customer, **more}, status=status)

    def resolve(self, kind: str, value: str, key: str = "reader", status: int = 200) -> dict[str, Any]:
        return self.post("/v1/identity/resolve", {"kind": kind, "value": value}, key, status)

    def customer(self, user_id: str) -> str:
        return str(self.resolve("user_id", user_id)["customer_id"])

    def decide(self, act: str, left: str, right: str) -> dict[str, Any]:
        ends = {side: {"kind": "user_id", "value": value} for side, value in (("left", left), ("right", right))}
        return self.post(f"/v1/identity/{act}", {**ends, "note": "asked"}, "reviewer")

    def feature(self, customer: str, name: str) -> float:
        return self.features(customer, (name,))[0]

    def features(self, customer: str, names: tuple[str, ...], settings: Settings | None = None) -> list[float]:
        reader = open_reader(self.settings.features, (settings or self.settings).workspace.state, names)
        rows = reader.read([customer], open_reader(self.settings.features, self.workspace.state, ()).data_end() or 0)
        return [float(value) for value in rows.matrix[0]] if rows.found[0] else []

    def state(self, customer: str, settings: Settings | None = None) -> bytes | None:
        file = (settings or self.settings).workspace.state
        found = SQLiteStateStorage(file).get_many(self.settings.features.hash, [customer]).get(customer)
        return found.data if found and found.data else None


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    patch = pytest.MonkeyPatch()
    patch.setenv(ENVIRONMENT_KEY, new_key())
    try:
        with throwaway_workspace("people") as workspace:
            shop = make_shop(CHECKOUT)
            shop.settings = replace(shop.settings, workspace=workspace)
            shop.publish(version="5")
            store = Keys(workspace.access)
            keys = {name: store.create(name, scopes)[1] for name, scopes in SCOPES.items()}
            for name in SOURCES:
                stated: dict[str, Any] = {"purposes": ("profiling",), "legal_basis": "contract"}
                keys[name] = store.create(name, ("ingest",), "web", "THB", **stated)[1]
            server = Server(workspace.name, "--port", "0")
            made = Place(shop.settings, server, keys)
            try:
                made.order(userId="first")
                yield made
            finally:
                server.kill()
    finally:
        patch.undo()


@pytest.fixture
def untouched(place: Place) -> Iterator[Settings]:
    """Call it with `without_decisions` to fill it: another workspace for the same events."""
    with throwaway_workspace("people-untouched") as workspace:
        yield replace(place.settings, workspace=workspace)


def without_decisions(place: Place, other: Settings) -> None:
    """Build `other` from the same events and keys, of which nobody ever decided anything."""
    other.workspace.root.mkdir(parents=True)
    for file in ("journal", "access"):
        with (
            closing(sqlite3.connect(getattr(place.workspace, file))) as source,
            closing(sqlite3.connect(getattr(other.workspace, file))) as target,
        ):
            source.backup(target)
    build_state(other)


# Identity ---------------------------------------------------------------------------------------


def test_events_of_one_person_from_everywhere_are_one_twin(place: Place) -> None:
    traits = {"email": "Malee@Shop.example.org", "lineId": "U-malee", "phone": "081-555-0001"}
    place.call("identify", "crm", userId="u-malee", traits=traits)
    place.order("web", userId="u-malee")
    place.order("mailer", anonymousId="mail-1", context={"traits": {"email": " malee@shop.example.org"}})
    place.order("line", anonymousId="line-1", context={"traits": {"lineId": "U-malee"}})
    place.order("pos", userId="pos-881", context={"traits": {"phone": "+66 81 555 0001"}})
    place.order("callcentre", anonymousId="call-1", context={"traits": {"phone": "0815550001"}})
    shown = place.resolve("phone", "081 555 0001")
    customer = shown["customer_id"]
    assert {place.resolve("line_id", "U-malee")["customer_id"], place.customer("u-malee")} == {customer}
    assert {"u-malee", "pos-881"} <= {item["value"] for item in shown["identifiers"] if item["kind"] == "user_id"}
    assert place.feature(customer, ORDERS) == 5.0
    answer = place.predict("u-malee")
    assert answer.get("resolved_customer_id", "u-malee") == customer
    others = {"u-malee", "pos-881"} - {customer}
    assert place.predict(others.pop())["resolved_customer_id"] == customer
    assert "resolved_customer_id" not in place.predict(customer)


def test_personal_values_are_masked_for_all_but_administrators(place: Place) -> None:
    place.call("identify", "crm", userId="u-mask", traits={"email": "masked@shop.example.org", "phone": "0815550002"})
    hidden = json.dumps(place.resolve("user_id", "u-mask"), ensure_ascii=False)
    assert "masked@" not in hidden
    assert "5550002" not in hidden
    shown = json.dumps(place.resolve("user_id", "u-mask", "admin"))
    assert "masked@shop.example.org" in shown
    assert "0815550002" in shown


def test_thai_and_english_names_need_the_phone(place: Place) -> None:
    place.call("identify", "crm", userId="crm-1", traits={"name": "สมชาย ใจดี", "phone": "0815550003"})
    place.call("identify", "pos", userId="pos-1", traits={"name": "Somchai Jaidee", "phone": "+66815550003"})
    place.call("identify", "crm", userId="crm-2", traits={"name": "สมชาย ใจดี"})
    place.call("identify", "pos", userId="pos-2", traits={"name": "Somchai Jaidee"})
    shown = place.resolve("user_id", "crm-1")
    assert place.customer("pos-1") == shown["customer_id"]
    assert {link["evidence"]["source"] for link in shown["links"]} == {"crm", "pos"}
    assert all(link["evidence"]["event_id"] and link["at"] and link["method"] == "event" for link in shown["links"])
    assert len({place.customer(user) for user in ("crm-1", "crm-2", "pos-2")}) == 3


def test_two_people_on_one_tablet_are_two_twins(place: Place) -> None:
    for person in ("tab-a", "tab-b"):
        place.order(userId=person, anonymousId="the-tablet")
    place.viewed(userId="tab-a", anonymousId="the-tablet")
    assert (place.customer("tab-a"), place.customer("tab-b")) == ("tab-a", "tab-b")
    assert [place.feature(person, ORDERS) for person in ("tab-a", "tab-b")] == [1.0, 1.0]
    assert [place.feature(person, VIEWED) for person in ("tab-a", "tab-b")] == [1.0, 0.0]
    place.resolve("anonymous_id", "the-tablet", status=404)


@pytest.mark.parametrize("traits", [{"phone": "0000000000"}, {"email": "test@shop.example"}, {"crm_id": "null"}])
def test_blocked_values_link_nobody(place: Place, traits: dict[str, str]) -> None:
    name = next(iter(traits))
    for person in ("x", "y"):
        place.call("identify", userId=f"blocked-{name}-{person}", traits=traits)
    assert place.customer(f"blocked-{name}-x") != place.customer(f"blocked-{name}-y")
    assert place.resolve(name, traits[name], status=400)["error"]["details"]


def test_anonymous_history_joins_at_login_and_new_events_count_at_once(place: Place) -> None:
    place.viewed(anonymousId="browser-7")
    place.viewed(anonymousId="browser-7")
    place.predict("u-login", 404)
    place.call("identify", userId="u-login", anonymousId="browser-7")
    place.predict("u-login")
    assert place.feature("u-login", VIEWED) == 2.0
    place.call("track", userId="u-login", event="Product Added", properties={"product_id": "p", "price": 9.5})
    place.predict("u-login")
    assert place.feature("u-login", ADDED) == 1.0


def test_an_unmerge_leaves_both_twins_as_if_they_had_never_been_one(place: Place, untouched: Settings) -> None:
    for person in ("left", "right", "left"):
        place.order(userId=person)
    merged = place.decide("merge", "left", "right")
    assert merged["one_customer"]
    assert merged["changed"] == ["left", "right"]
    answer = place.predict("right")
    assert answer["resolved_customer_id"] == "left"
    assert place.feature("left", ORDERS) == 3.0
    place.viewed(userId="right")
    place.order(userId="right")
    assert place.predict("left", reasons=True)["probability"] == place.predict("right")["probability"]
    apart = place.decide("unmerge", "left", "right")
    assert not apart["one_customer"]
    assert (apart["left"], apart["right"]) == ({"customer_id": "left"}, {"customer_id": "right"})
    without_decisions(place, untouched)
    champion = load_champion(place.workspace.bentoml_home, "churn")
    reader = open_reader(place.settings.features, untouched.workspace.state, champion.features)
    for person in ("left", "right"):
        assert place.state(person) is not None
        assert place.state(person) == place.state(person, untouched)
        answer = place.predict(person)
        assert "resolved_customer_id" not in answer
        as_of = int(datetime.fromisoformat(answer["as_of"]).timestamp() * 1e6)
        expected = champion.probabilities(reader.read([person], as_of).matrix)[0]
        assert answer["probability"] == pytest.approx(expected, rel=1e-12)
    # Nothing that comes later brings them together again by the old decision.
    place.order(userId="right")
    assert place.customer("right") == "right"


def test_a_pair_of_the_review_queue_is_decided_over_http(place: Place) -> None:
    place.order(userId="rev-a")
    place.order(userId="rev-b")
    ReviewQueue(place.workspace.identity).note([Outcome(pair(0.7, "rev-a", "rev-b", **AGREED), "review", GREY)], 1)
    (waiting,) = place.post("/v1/identity/review", {}, "reviewer")["pairs"]
    assert waiting["probability"] == 0.7
    decided = place.post("/v1/identity/review", {"pair": waiting["pair"], "verdict": "accept"}, "reviewer")
    assert decided["verdict"] == "link"
    assert place.predict("rev-b")["resolved_customer_id"] == "rev-a"
    assert place.feature("rev-a", ORDERS) == 2.0
    place.post("/v1/identity/review", {"pair": waiting["pair"], "verdict": "reject"}, "reviewer", 400)


# Consent ----------------------------------------------------------------------------------------


def ways() -> list[tuple[str, Any]]:
    """Every way a customer can answer about profiling."""

    def track(place: Place, granted: bool) -> None:
        properties = {"purpose": "profiling", "granted": granted}
        place.call("track", userId="u-track", event="Consent Updated", properties=properties)

    def segment(place: Place, granted: bool) -> None:
        context = {"consent": {"categoryPreferences": {"Analytics": granted, "Advertising": True}}}
        place.call("track", userId="u-segment", event="Segment Consent Preference Updated", context=context)

    def any_call(place: Place, granted: bool) -> None:
        context = {"consent": {"categoryPreferences": {"Analytics": granted}}}
        place.call("page", userId="u-context", context=context)

    def api(place: Place, granted: bool) -> None:
        body = {"customer_id": "u-api", "purposes": {"profiling": granted}}
        place.post("/v1/consent", body, "web")

    def command(place: Place, granted: bool) -> None:
        option = "--grant" if granted else "--deny"
        done = twin(place.workspace, "consent", "set", "u-command", option, "profiling", "--note", "by phone")
        assert done.returncode == 0, done.stderr

    return [("u-track", track), ("u-segment", segment), ("u-context", any_call), ("u-api", api), ("u-command", command)]


@pytest.mark.parametrize(("user", "say"), ways(), ids=lambda part: part if isinstance(part, str) else "")
def test_what_a_customer_says_holds_at_the_next_read(place: Place, user: str, say: Any) -> None:
    place.order(userId=user)
    before = place.predict(user, reasons=True)
    assert before["reasons"]
    say(place, False)
    refused = place.predict(user, 403, reasons=True)["error"]
    assert refused["code"] == "consent_denied"
    assert "profiling" in refused["details"][0]["got"]
    many = place.post("/v1/predict_many", {"customer_ids": [user, "first", "nobody", user]})["results"]
    assert [(item["error"] or {}).get("code") for item in many] == [
        "consent_denied",
        None,
        "unknown_customer",
        "consent_denied",
    ]
    assert place.post("/v1/predict_many", {"customer_ids": [user]})["results"][0]["probability"] is None
    assert place.state(user) is None
    store = apply_features(place.settings)
    people = [{"customer_id": user}, {"customer_id": "never-seen"}]
    online = store.get_online_features(store.get_feature_service("churn"), people).to_dict()
    assert [name for name, (denied, unknown) in online.items() if denied != unknown] == ["customer_id"]
    say(place, True)
    assert place.predict(user, reasons=True)["probability"] == pytest.approx(before["probability"], abs=0.2)
    assert place.feature(user, ORDERS) == 1.0


def test_consent_follows_the_customer_through_a_merge(place: Place) -> None:
    for person in ("con-a", "con-b"):
        place.order(userId=person)
    place.post("/v1/consent", {"customer_id": "con-b", "purposes": {"profiling": False}}, "admin")
    place.decide("merge", "con-a", "con-b")
    place.predict("con-a", 403)
    place.decide("unmerge", "con-a", "con-b")
    place.predict("con-a")
    place.predict("con-b", 403)


def test_permissions_say_by_what_they_hold(place: Place) -> None:
    place.call("identify", "crm", userId="u-perm", traits={"email": "perm@shop.example.org"})
    body = {"identifier": {"kind": "email", "value": "PERM@shop.example.org"}}
    held = place.post("/v1/consent/read", body, "reader")
    told = {item["purpose"]: item for item in held["permissions"]}
    assert held["customer_id"] == "u-perm"
    assert (told["profiling"]["by"], told["profiling"]["sources"]) == ("source_basis", {"crm": "contract"})
    assert (told["marketing"]["by"], told["marketing"]["allowed"]) == ("default", False)
    said = {**body, "purposes": {"marketing": True, "profiling": False}, "idempotency_key": "form-17"}
    first = place.post("/v1/consent", said, "admin")
    again = place.post("/v1/consent", said, "admin")
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["permissions"] == again["permissions"]
    told = {item["purpose"]: item for item in first["permissions"]}
    assert (told["marketing"]["by"], told["marketing"]["allowed"]) == ("own_word", True)
    assert (told["profiling"]["allowed"], told["profiling"]["source"]) == (False, "consent-api")
    assert datetime.fromisoformat(told["profiling"]["at"])
    journal = SQLiteJournal(place.workspace.journal)
    events = [e.event for e in journal.read(0, 10_000) if e.event.source == "consent-api"]
    journal.close()
    assert [e.event_id for e in events if "form-17" in e.event_id] == ["form-17:marketing", "form-17:profiling"]
    assert all(str(e.identifiers.get("email", "enc:")).startswith("enc:") for e in events)


@pytest.mark.parametrize(
    ("path", "body", "key", "status"),
    [
        ("/v1/consent", {"customer_id": "c", "purposes": {"profiling": True}}, None, 401),
        ("/v1/consent", {"customer_id": "c", "purposes": {"profiling": True}}, "reader", 403),
        ("/v1/consent", {"customer_id": "c", "purposes": {"spying": True}}, "web", 400),
        ("/v1/consent", {"customer_id": "c", "purposes": {}}, "web", 400),
        ("/v1/consent", {"purposes": {"profiling": True}}, "web", 400),
        ("/v1/consent", {"customer_id": "null", "purposes": {"profiling": True}}, "web", 400),
        ("/v1/consent", {"customer_id": "~email:0", "purposes": {"profiling": True}}, "web", 400),
        ("/v1/consent", {"identifier": {"kind": "soul", "value": "c"}, "purposes": {"profiling": True}}, "web", 400),
        ("/v1/consent/read", {"customer_id": "never-seen"}, "reader", 404),
        ("/v1/consent/read", {"customer_id": "first"}, "web", 403),
        ("/v1/identity/resolve", {"kind": "user_id", "value": "never-seen"}, "reader", 404),
        ("/v1/identity/resolve", {"kind": "user_id"}, "reader", 400),
        ("/v1/identity/resolve", {"customer_id": "first"}, "web", 403),
        ("/v1/identity/merge", {"left": {"kind": "user_id", "value": "first"}}, "reviewer", 400),
        ("/v1/identity/unmerge", {}, "reader", 403),
        ("/v1/identity/review", {"pair": "x"}, "reviewer", 400),
    ],
)
def test_what_cannot_be_done_is_said(place: Place, path: str, body: Any, key: str | None, status: int) -> None:
    error = place.post(path, body, key, status)["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert all(detail["field"] and detail["expected"] and detail["got"] for detail in error["details"])
    assert "never-seen" not in json.dumps(error)


def test_nothing_is_decided_of_unknown_or_equal_identifiers(place: Place) -> None:
    end = {"kind": "user_id", "value": "first"}
    stranger = {"kind": "email", "value": "nobody@shop.example.org"}
    unknown = place.post("/v1/identity/merge", {"left": end, "right": stranger}, "reviewer", 404)["error"]
    assert unknown["details"][0]["field"] == "right"
    place.post("/v1/identity/unmerge", {"left": end, "right": {**end, "value": " first "}}, "reviewer", 400)


# Commands ---------------------------------------------------------------------------------------


def test_commands_do_the_same_beside_the_running_service(place: Place) -> None:
    def run(*arguments: str) -> Any:
        done = twin(place.workspace, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for person in ("cli-a", "cli-b"):
        place.order(userId=person)
    assert run("identity", "merge", "cli-a", "user_id:cli-b", "--note", "asked")["together"]
    assert place.predict("cli-b")["resolved_customer_id"] == "cli-a"
    assert place.feature("cli-a", ORDERS) == 2.0
    shown = run("identity", "show", "cli-b")
    assert shown["customer_id"] == "cli-a"
    assert shown["links"][0]["method"] == "manual"
    history = run("identity", "history", "--limit", "1")
    assert history[0]["customers"] == ["cli-a", "cli-b"]
    assert history[0]["decisions"][0]["verdict"] == "link"
    assert not run("identity", "unmerge", "cli-a", "cli-b", "--note", "two people")["together"]
    assert "resolved_customer_id" not in place.predict("cli-b")
    permissions = run("consent", "show", "cli-a")["permissions"]
    assert {item["purpose"]: item["by"] for item in permissions}["profiling"] == "source_basis"
    for arguments in (("consent", "show", "cli-a"), ("identity", "show", "cli-a"), ("identity", "history")):
        assert twin(place.workspace, *arguments).stdout.strip()
    assert twin(place.workspace, "consent", "set", "cli-a", "--grant", "spying").returncode != 0
    assert twin(place.workspace, "identity", "show", "never-seen").returncode == 1


def test_matching_and_review_by_command_reach_the_running_service(place: Place) -> None:
    for person in ("cmd-a", "cmd-b"):
        place.order(userId=person)
    ReviewQueue(place.workspace.identity).note([Outcome(pair(0.7, "cmd-a", "cmd-b", **AGREED), "review", GREY)], 1)
    (waiting,) = json.loads(twin(place.workspace, "identity", "review", "--json").stdout)["pairs"]
    done = twin(place.workspace, "identity", "review", waiting["pair"], "--accept", "--note", "asked")
    assert done.returncode == 0, done.stderr
    assert place.predict("cmd-b")["resolved_customer_id"] == "cmd-a"
    assert place.feature("cmd-a", ORDERS) == 2.0
    matched = twin(place.workspace, "identity", "match", "--json")
    assert matched.returncode == 0, matched.stderr
    assert json.loads(matched.stdout)["customers"] > 0
    assert place.predict("cmd-b")["resolved_customer_id"] == "cmd-a"


def test_a_rebuild_from_the_events_and_decisions_gives_the_same_map(place: Place) -> None:
    customers = ("left", "right", "rev-b", "tab-a", "pos-1", "con-b", "cli-b")
    before = map_of(place.workspace.identity)
    states = {who: place.state(who) for who in customers}
    done = twin(place.workspace, "identity", "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"] == []
    assert map_of(place.workspace.identity) == before
    assert before["nodes"]
    assert before["decisions"]
    place.order(userId="after-rebuild", anonymousId="ar-1")
    place.viewed(anonymousId="ar-1")
    assert place.feature("after-rebuild", VIEWED) == 1.0
    assert {who: place.state(who) for who in customers} == states
    place.predict("con-b", 403)
    assert place.predict("rev-b")["resolved_customer_id"] == "rev-a"


def test_a_rebuild_mends_a_map_that_was_damaged(place: Place) -> None:
    before = map_of(place.workspace.identity)
    with closing(sqlite3.connect(place.workspace.identity, timeout=30)) as connection, connection:
        connection.execute("UPDATE identity_nodes SET customer_id = 'left' WHERE kind = 'user_id' AND key = 'right'")
        connection.execute("DELETE FROM identity_consents")
    assert map_of(place.workspace.identity) != before
    done = twin(place.workspace, "identity", "rebuild", "--json")
    assert "right" in json.loads(done.stdout)["changed"]
    assert map_of(place.workspace.identity) == before
    place.predict("con-b", 403)


def map_of(file: Path) -> dict[str, list[Any]]:
    """All that a map says, without the numbers of rows and versions."""
    queries = {
        "nodes": "SELECT kind, key, shared, customer_id, joined_at FROM identity_nodes",
        "forms": "SELECT f.kind, f.stored, f.first_position, n.kind, n.key FROM identity_forms f LEFT JOIN"
        " identity_nodes n ON n.id = f.node",
        "links": "SELECT a.kind, a.key, b.kind, b.key, l.method, l.at, l.source, l.event_id FROM identity_links l"
        " JOIN identity_nodes a ON a.id = l.left_node JOIN identity_nodes b ON b.id = l.right_node",
        "consents": "SELECT n.kind, n.key, c.purpose, c.at, c.granted, c.source, c.event_id FROM identity_consents c"
        " JOIN identity_nodes n ON n.id = c.node",
        "decisions": "SELECT d.id, d.verdict, d.method, d.decided_by, d.at, d.evidence FROM identity_decisions d",
    }
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        return {name: sorted(connection.execute(query).fetchall(), key=repr) for name, query in queries.items()}


def test_every_act_is_in_the_audit_log_under_a_pseudonym(place: Place) -> None:
    entries = AuditLog(place.workspace.audit).entries()
    assert {"consent.set", "identity.merge", "identity.unmerge", "identity.review", "identity.rebuild"} <= {
        entry.action for entry in entries
    }
    told = json.dumps([[entry.subject, entry.details] for entry in entries])
    assert not [who for who in ("u-api", "u-perm", "con-b", "cli-a") if f'"{who}"' in told]
    assert {entry.actor.partition(":")[0] for entry in entries} == {"key", "os"}
    assert os.environ[ENVIRONMENT_KEY]
