"""A customer of the small demo, known by many identifiers, is erased; then every byte that is kept is searched."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow.parquet as parquet
import pytest
from psycopg import sql

from feature_repo.model_inputs import ModelInputs
from pipelines.access import AuditLog, Keys
from pipelines.artefacts import Dataset, DatasetManifest, save_dataset, write_json
from pipelines.cli.data import ingest_file
from pipelines.cli.features import build_state
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.events.compaction import watermark
from pipelines.events.journal_postgres import PostgresJournal
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.opening import event_store
from pipelines.events.store import EventStore
from pipelines.identity.catch_up import catch_up
from pipelines.identity.current import current_membership
from pipelines.identity.normalise import normalise
from pipelines.identity.store import open_identity
from pipelines.identity.vocabulary import Form
from pipelines.privacy import sealer_of
from pipelines.privacy.erase import erase, finish_erasure
from pipelines.privacy.person import UnknownCustomer
from pipelines.privacy.report import access_report
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from serving.api.ingest.body import Envelope
from serving.ingestion import Ingested, Ingestion
from tests.e2e.test_personal_data_at_rest import files_of, leaks
from tests.servers import needs_postgres
from tests.states import open_reader

pytestmark = pytest.mark.slow

NAMED = ("email", "phone", "line_id", "loyalty_card")


@dataclass
class Shop:
    settings: Settings
    customers: list[dict[str, str]]
    key: str

    @property
    def workspace(self) -> Workspace:
        return self.settings.workspace

    @property
    def victim(self) -> dict[str, str]:
        return self.customers[0]

    def call(self, items: list[dict[str, Any]]) -> Ingested:
        made = Ingestion(self.settings)
        try:
            body = [json.dumps(item, ensure_ascii=False).encode() for item in items]
            return asyncio.run(made.ingest(Envelope(body, self.key), self.key, None))
        finally:
            made.close()

    def features(self) -> dict[str, str]:
        """The features of all customers at one instant, to the last bit."""
        spec = self.settings.features
        names = [feature.name for view in spec.views for feature in view.features]
        reader = open_reader(spec, self.workspace.state, names)
        who = sorted(customer["customer_no"] for customer in self.customers)
        rows = reader.read(who, 2_000_000_000_000_000)
        return {w: repr(row) for w, row, there in zip(who, rows.values, rows.found, strict=True) if there}

    def files(self) -> list[Path]:
        """Everything the product wrote."""
        files = files_of(self.workspace.root, self.workspace.mlruns)
        return [file for file in files if self.workspace.sources not in file.parents]

    def texts(self) -> set[str]:
        """All that names the victim: as in the files, as normalised, sealed, and as looked up."""
        kinds, sealer = self.settings.identity.kinds, sealer_of(self.workspace)
        found = {self.victim["customer_no"]}
        for kind in NAMED:
            written = normalise(kinds[kind], self.victim[kind], ())
            assert written is not None
            found |= {self.victim[kind], written, sealer.lookup(kind, written)}
            found |= {sealer.seal(kind, value) for value in (self.victim[kind], written)}
        return found


def live_calls(customer: dict[str, str], number: int) -> list[dict[str, Any]]:
    who, traits = customer["customer_no"], {kind: customer[kind] for kind in NAMED}
    about = {"userId": who, "anonymousId": f"browser-of-{who}"}
    order = {"order_id": f"o{number}", "total": 12.5, "currency": "THB"}
    return [
        {"type": "identify", "messageId": f"i{number}-{who}", **about, "traits": traits},
        {"type": "page", "messageId": f"p{number}-{who}", "anonymousId": f"browser-of-{who}", "name": "Home"},
        {"type": "track", "messageId": f"t{number}-{who}", **about, "event": "Order Completed", "properties": order},
    ]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Files, live events in lake and journal, quarantine of both kinds, a data set and what stands beside it."""
    workspace = Workspace("demo", checkout=tmp_path_factory.mktemp("checkout"))
    settings = replace(load_settings("demo"), workspace=workspace)
    generate(DemoConfig(customers=60, months=4, seed=5), workspace.sources)
    customers = parquet.read_table(workspace.sources / "crm.parquet").to_pylist()
    customers.sort(key=lambda c: -sum(c[kind] is not None for kind in NAMED))
    named = [c for c in customers if all(c[kind] for kind in NAMED)]
    for source, file in source_files(workspace.sources):
        ingest_file(settings, source, file)
    _, key = Keys(workspace.access).create(
        "web", ["ingest"], "web", "THB", purposes=["profiling", "training"], legal_basis="contract"
    )
    shop = Shop(settings, [*named, *(c for c in customers if c not in named)], key)
    build_state(settings)
    others = [call for customer in shop.customers[1:10] for call in live_calls(customer, 1)]
    shop.call([*live_calls(shop.victim, 1), *others])
    build_state(settings)
    done = shop.call([*live_calls(shop.victim, 2), *_odd_calls(shop.victim, shop.customers[1])])
    assert len(done.rejected) == 2
    _quarantine_a_file(shop)
    _train(shop)
    return shop


def _odd_calls(victim: dict[str, str], other: dict[str, str]) -> list[dict[str, Any]]:
    """Two that are refused and name the victim; and somebody else's event that does."""
    return [
        {"type": "track", "userId": victim["customer_no"], "messageId": "bad1"},
        {"type": "nothing", "traits": {"contact": "  " + victim["email"].upper()}},
        {
            "type": "track", "messageId": "gift", "userId": other["customer_no"], "event": "Gift Sent",
            "properties": {"recipient": {"email": victim["email"]}, "note": f"for {victim['customer_no']}!"},
        },
    ]  # fmt: skip


def _quarantine_a_file(shop: Shop) -> None:
    calls = shop.workspace.sources / "bad.csv"
    rows = [f"bad-{n},soon,{c['customer_no']},{c['phone']},billing,60,yes" for n, c in enumerate(shop.customers[:3])]
    calls.write_text("\n".join(["call_id,ended_at,customer_no,caller,reason,seconds,solved", *rows]) + "\n")
    report, _ = ingest_file(shop.settings, "demo_call_centre", calls)
    assert report.quarantined == 3


def _train(shop: Shop) -> None:
    """What steps leave behind; its figures matter to nobody here."""
    folder = shop.workspace.artefacts("churn")
    who = [customer["customer_no"] for customer in shop.customers[:20]]
    rows = pd.DataFrame({"customer_id": who, "as_of": pd.Timestamp("2025-01-01", tz="UTC"), "label": 0, "part": "train",
                         "fold": 0, "f": np.arange(20.0)})  # fmt: skip
    membership = current_membership(shop.settings)
    columns, label = ModelInputs(("f",), ("f",)), shop.settings.models["churn"].label.model_dump(mode="json")
    manifest = DatasetManifest(
        "churn", "churn", ("f",), "spec", 3, membership.version, "c", "d", 1, 0, 0, 1, (), columns, label
    )
    save_dataset(folder, Dataset(rows, manifest))
    rows[["customer_id", "label"]].to_parquet(folder / "predictions.parquet")
    examples = [{"customer_id": customer, "reasons": [{"feature": "f", "value": 1.0}]} for customer in who[:3]]
    page = "".join(f"<article>\n<h3>Customer {c}: 3 %</h3><p>secret of {c}</p></article>\n" for c in who[:3])
    for place in (folder, shop.workspace.mlruns / "artifacts" / "run"):
        write_json(place / "report.json", {"model": "churn", "examples": examples})
        (place / "report.html").write_text(f"<html><body>{page}</body></html>")


@pytest.fixture
def shop(furnished: Shop, tmp_path: Path) -> Shop:
    """A copy to erase from."""
    shutil.copytree(furnished.workspace.checkout, tmp_path / "copy")
    workspace = Workspace("demo", checkout=tmp_path / "copy")
    return replace(furnished, settings=replace(furnished.settings, workspace=workspace))


def check_erased(shop: Shop, before: dict[str, bytes]) -> None:
    assert leaks(shop.texts(), shop.files()) == {}
    assert not shop.workspace.erasure.exists()
    others = {who: bits for who, bits in before.items() if who != shop.victim["customer_no"]}
    assert shop.features() == others
    build_state(shop.settings)
    assert shop.features() == others, "also when all is built anew"


def test_nothing_is_left_and_nobody_else_changes(shop: Shop) -> None:
    victim, before = shop.victim["customer_no"], shop.features()
    held = leaks(shop.texts(), shop.files())
    assert {Path(file).name for file in held} >= {
        "journal.db", "identity.db", "state.db", "dataset.parquet", "predictions.parquet", "report.html", "report.json",
        "owners.parquet",
    }  # fmt: skip
    assert any("_delta_log" in file for file in held)
    assert victim in before
    mark = _watermark(shop)
    report = erase(shop.settings, shop.victim["email"], "email", reason="case 1", actor="test")
    assert report.found == []
    assert report.events > 6
    assert report.altered >= 1
    assert report.quarantined == 3
    assert _watermark(shop) == mark > 0
    assert any("sources/" in place for place in report.not_reached)
    check_erased(shop, before)
    html = (shop.workspace.mlruns / "artifacts" / "run" / "report.html").read_text()
    assert html.count("<article>") == 2
    with pytest.raises(UnknownCustomer):
        erase(shop.settings, victim, reason="again", actor="test")
    entries = [e for e in AuditLog(shop.workspace.audit).entries() if e.subject == report.subject]
    assert [entry.action for entry in entries] == ["privacy.erase", "privacy.erased"]
    assert AuditLog(shop.workspace.audit).verify().count == 2


def test_what_comes_again_is_a_duplicate_and_what_is_new_begins_empty(shop: Shop) -> None:
    victim = shop.victim["customer_no"]
    erase(shop.settings, victim, reason="case 1", actor="test")
    calls = [*live_calls(shop.victim, 1), *live_calls(shop.victim, 2)]
    again = shop.call(calls)
    assert (again.accepted, again.duplicates) == (0, len(calls))
    for source, file in source_files(shop.workspace.sources):
        report, _ = ingest_file(shop.settings, source, file)
        assert report.accepted == 0
    assert victim not in shop.features()
    assert leaks(shop.texts(), shop.files()) == {}
    assert shop.call(live_calls(shop.victim, 3)).accepted == 3
    report = access_report(shop.settings, victim, actor="test")
    assert {event["event_id"] for event in report.events} == {f"{kind}3-{victim}" for kind in "ipt"}
    assert report.features is not None
    count = next(name for name in report.features["values"] if name.startswith("order_completed_count"))
    assert report.features["values"][count] == 1


def test_access_equals_what_was_sent(shop: Shop) -> None:
    victim = shop.victim
    report = access_report(shop.settings, victim["phone"], "phone", actor="test", reason="case 2")
    sent = [call for number in (1, 2) for call in live_calls(victim, number)]
    told = {event["event_id"]: event for event in report.events}
    assert {call["messageId"] for call in sent} <= told.keys()
    traits = told[f"i1-{victim['customer_no']}"]["identifiers"]
    assert {kind: traits[kind] for kind in NAMED} == {kind: victim[kind] for kind in NAMED}
    with event_store(shop.settings) as store:
        identity = open_identity(shop.settings)
        catch_up(identity, shop.workspace.lake, store.journal)
        # Obvious and slow: every event there is, asked whose it is.
        owned = [
            row["event_id"]
            for row in store.read().to_pylist()
            if row["user_id"] == report.customer_id
            or (not row["user_id"] and _owner(shop, identity, row) == report.customer_id)
        ]
    assert sorted(owned) == sorted(event["event_id"] for event in report.events)
    values = {(item["kind"], item["value"]) for item in report.identifiers}
    assert {(kind, victim[kind]) for kind in NAMED} <= values
    assert {("user_id", victim["customer_no"]), ("anonymous_id", f"browser-of-{victim['customer_no']}")} <= values
    assert len(report.quarantine) == 3
    assert {item["file"]: len(item["rows"]) for item in report.training_sets} == {
        "dataset.parquet": 1,
        "predictions.parquet": 1,
    }
    assert [entry["action"] for entry in report.audit] == ["privacy.access"]
    assert report.links
    assert "enc:1:" not in json.dumps([report.events, report.quarantine])
    others = {customer["email"] for customer in shop.customers[1:] if customer["email"]}
    assert not others & {text for event in report.events for text in map(str, event["identifiers"].values())}


def _owner(shop: Shop, identity: Any, row: dict[str, Any]) -> str | None:
    found = dict(json.loads(row["identifiers"]), anonymous_id=row["anonymous_id"])
    for kind in shop.settings.identity.kinds:
        owner = identity._owner_of(Form(kind, found[kind])) if found.get(kind) else None
        if owner is not None:
            return str(owner.customer_id)
    return None


def _watermark(shop: Shop) -> int:
    from deltalake import DeltaTable

    journal = SQLiteJournal(shop.workspace.journal)
    try:
        return watermark(DeltaTable(str(shop.workspace.lake)), journal.identity)
    finally:
        journal.close()


@pytest.fixture
def postgres() -> Iterator[PostgresJournal]:
    url = needs_postgres()
    schema = f"erasure_test_{uuid.uuid4().hex}"
    journal = PostgresJournal(url, schema)
    yield journal
    journal.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def test_where_the_journal_is_in_postgresql(shop: Shop, postgres: PostgresJournal) -> None:
    victim = shop.victim["customer_no"]
    with event_store(shop.settings) as store:
        moved = [stored.event for stored in store.journal.read(0, 1_000)]
        assert moved
    for file in shop.workspace.root.glob("journal.db*"):
        file.unlink()
    EventStore.open(shop.workspace.lake, postgres)
    postgres.append(moved)
    report = erase(shop.settings, victim, reason="case 1", actor="test", journal=postgres)
    assert (report.found, report.altered) == ([], 1)
    assert leaks(shop.texts(), shop.files()) == {}
    left = postgres.read(0, 1_000)
    assert [stored.event.event_id for stored in left] == ["gift"]
    assert not any(text in str(left) for text in shop.texts())
    assert all(answer.duplicate for answer in postgres.append(moved))


KILLS = {
    "intention": "pipelines.privacy.erase:_finish",
    "journal": "pipelines.events.journal_sqlite:scrub",
    "lake, before": "pipelines.events.lake_erase:erase_from_lake",
    "lake, inside": "pipelines.events.lake_erase:_cut_log",
    "state": "feature_repo.state.storage_sqlite:scrub",
    "identity, before": "pipelines.identity.store:forget",
    "identity, after": "pipelines.privacy.kept_lines:QuarantineReader.remove",
    "files": "pipelines.privacy.erase:_search",
}


@pytest.mark.parametrize("place", KILLS)
def test_killed_at_any_step_it_is_finished_by_the_next(shop: Shop, place: str) -> None:
    before, victim = shop.features(), shop.victim["customer_no"]
    script = f"""
import importlib, os, signal
from dataclasses import replace
from pathlib import Path
from pipelines.privacy.erase import erase
from pipelines.settings import Workspace, load_settings
module, _, path = {KILLS[place]!r}.partition(":")
*owners, name = path.split(".")
owner = importlib.import_module(module)
for part in owners:
    owner = getattr(owner, part)
setattr(owner, name, lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))
settings = replace(load_settings("demo"), workspace=Workspace("demo", Path({str(shop.workspace.checkout)!r})))
erase(settings, {victim!r}, reason="case 1", actor="test")
"""
    died = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert shop.workspace.erasure.exists()
    if place == "identity, before":
        service = Ingestion(shop.settings)
        service.recover()
        service.close()
        check_erased(shop, before)
        return
    report = (
        erase(shop.settings, victim, reason="case 1", actor="test")
        if place == "lake, before"
        else finish_erasure(shop.settings)
    )
    assert report is not None
    assert report.found == []
    check_erased(shop, before)
