"""Files that name persons: sealed in the lake and in quarantine, opened for mending, masked in previews."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from feature_repo.configuration import ConfigurationError
from pipelines.console import UserError
from pipelines.ingest import check, show, stage
from pipelines.ingest.protection import masked
from pipelines.privacy import ENVIRONMENT_KEY, EncryptionKeyMissing, new_key, open_event, sealer_of
from pipelines.settings import Settings, load_settings
from pipelines.settings.cross_checks import check_identity_and_consent
from pipelines.settings.identity import IdentityConfig
from tests.unit.ingest_parts import PLAN, ingest, mapping, settings_for, stored, written

CSV = """
source: people
description: Orders with who made them.
format: {type: csv}
currency: THB
columns:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  who: {type: id, required: true}
  mail: {type: string}
  note: {type: string, personal: true}
  home: {type: json}
  basket: {type: json}
  baht: {type: decimal, required: true}
event_id: "{id}"
time: {column: at}
user_id: who
identifiers: {email: mail, device_id: who}
channel: web
events:
  - event: Order Completed
    properties:
      order_id: {column: id}
      total: {column: baht, as: money}
      address: {column: home}
      products: {column: basket}
"""
JSONL = CSV.replace("type: csv", "type: jsonl").replace("mail: {type: string}", "mail: {type: string, path: by.mail}")
HEADER = "id,at,who,mail,note,home,basket,baht,nickname"
PERSONAL = ("somchai@example.com", "Sukhumvit", "Jaidee", "allergic", "Chai-Chai", "malee@example.com")
HOME, BASKET = '{"road": "Sukhumvit"}', '[{"sku": "P1", "name": "Shampoo", "engraving": {"full_name": "Jaidee"}}]'


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def row(number: str, baht: str = "1.50", mail: str = "somchai@example.com") -> str:
    return f"{number},2026-03-01,7,{mail},allergic,{quoted(HOME)},{quoted(BASKET)},{baht},Chai-Chai"


def record(number: str, baht: Any = 1.5) -> str:
    by = {"mail": "somchai@example.com", "tel": 66812345678}
    content = {"id": number, "at": "2026-03-01", "who": 7, "by": by, "note": "allergic", "baht": baht}
    return json.dumps({**content, "home": json.loads(HOME), "basket": json.loads(BASKET), "nickname": "Chai-Chai"})


def people(tmp_path: Path, text: str = CSV) -> Settings:
    return settings_for(tmp_path, mapping(text))


def assert_clean(settings: Settings) -> None:
    """No personal value in any file of the workspace. Parquet is read in test_personal_data_at_rest."""
    for file in settings.workspace.root.rglob("*"):
        content = file.read_bytes().decode("utf-8", "replace") if file.is_file() else ""
        assert not [word for word in (*PERSONAL, "66812345678") if word in content], file


def test_what_is_stored_is_sealed_and_opens_again(tmp_path: Path) -> None:
    settings = people(tmp_path)
    report = ingest(settings, written(tmp_path, row("1"), row("2"), header=HEADER), "people")
    assert report.accepted == 2
    sealer = sealer_of(settings.workspace)
    one, two = stored(settings)
    assert one["identifiers"] == {"device_id": "7", "email": sealer.seal("email", "somchai@example.com")}
    assert two["identifiers"] == one["identifiers"], "equal values stay equal"
    (product,) = one["properties"]["products"]
    assert product == {"sku": "P1", "name": "Shampoo", "engraving": {"full_name": sealer.seal("full_name", "Jaidee")}}
    assert sealer.open_json("address", one["properties"]["address"]) == {"road": "Sukhumvit"}
    assert one["properties"]["total"] == 150
    assert not [word for word in PERSONAL if word in str(stored(settings))]
    assert_clean(settings)


def test_an_ingested_event_opens_as_a_live_one_does(tmp_path: Path) -> None:
    from pipelines.events.journal import NewEvent

    settings = people(tmp_path)
    ingest(settings, written(tmp_path, row("1"), header=HEADER), "people")
    (one,) = stored(settings)
    one.pop("position")
    event = open_event(NewEvent(**one), settings.identity, sealer_of(settings.workspace))
    assert event.identifiers == {"device_id": "7", "email": "somchai@example.com"}
    assert event.properties == {
        "order_id": "1", "total": 150, "address": json.loads(HOME), "products": json.loads(BASKET),
    }  # fmt: skip


def test_a_duplicate_that_says_otherwise_is_counted(tmp_path: Path) -> None:
    settings = people(tmp_path)
    ingest(settings, written(tmp_path, row("1"), row("2"), header=HEADER), "people")
    again = written(tmp_path, row("1"), row("2", mail="malee@example.com"), header=HEADER)
    report = ingest(settings, again, "people")
    assert (report.accepted, report.duplicate, report.differing) == (0, 2, 1)


@pytest.mark.parametrize("text", [CSV, JSONL], ids=["csv", "jsonl"])
def test_quarantined_rows_are_sealed_shown_mended_and_ingested(tmp_path: Path, text: str) -> None:
    settings = people(tmp_path, text)
    if text == CSV:
        file = written(tmp_path, row("1"), row("2", baht="much"), "3,somchai@example.com,Jaidee", header=HEADER)
    else:
        file = written(tmp_path, record("2", "much"), '{"id": "3", "mail": "somchai@example.com"', header=record("1"),
                       name="people.jsonl")  # fmt: skip
    report = ingest(settings, file, "people")
    assert (report.accepted, report.quarantined) == (1, 2)
    assert_clean(settings)
    kept = Path(str(report.quarantine))
    again = ingest(settings, kept, "people")
    assert (again.accepted, again.quarantined) == (0, 2)
    assert_clean(settings)
    shown = show(settings, kept)
    assert len(shown.rows) == 2
    assert shown.rows[0]["note"] == "allergic"
    for word in ("somchai@example.com", "Sukhumvit", "Jaidee", "Chai-Chai", "much"):
        assert word in shown.text()
    # Tokens that nobody touched are opened on the way back.
    kept.write_text(kept.read_text().replace("much", "1.50"))
    last = ingest(settings, kept, "people")
    assert (last.accepted, last.quarantined) == (1, 1)
    first, second = stored(settings)
    for column in ("identifiers", "user_id"):
        assert first[column] == second[column]
    assert {**first["properties"], "order_id": "2"} == second["properties"]
    assert_clean(settings)


def test_a_json_line_with_a_name_twice_is_sealed_whole(tmp_path: Path) -> None:
    settings = people(tmp_path, JSONL)
    twice = '{"id": "3", "note": "allergic", "note": "Jaidee", "at": "soon"}'
    report = ingest(settings, written(tmp_path, header=twice, name="people.jsonl"), "people")
    assert report.quarantined == 1
    assert_clean(settings)
    assert twice in json.dumps(show(settings, Path(str(report.quarantine))).rows).replace('\\"', '"')


def test_a_token_of_another_key_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = people(tmp_path)
    kept = Path(str(ingest(settings, written(tmp_path, row("2", baht="much"), header=HEADER), "people").quarantine))
    moved = tmp_path / "moved.csv"
    moved.write_bytes(kept.read_bytes())
    monkeypatch.setenv(ENVIRONMENT_KEY, new_key())
    with pytest.raises(UserError, match="encrypted with another key"):
        ingest(settings, moved, "people")
    elsewhere = people(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="cannot be opened"):
        stage(elsewhere, "people", moved)
    assert not list(elsewhere.workspace.staging.rglob("*"))
    assert not elsewhere.workspace.lake.exists()


def test_without_a_key_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = people(tmp_path)
    file = written(tmp_path, row("1"), header=HEADER)
    monkeypatch.delenv(ENVIRONMENT_KEY)
    with pytest.raises(EncryptionKeyMissing, match="twin keys encryption"):
        stage(settings, "people", file)
    assert not settings.workspace.root.exists()


def test_a_source_that_names_nobody_needs_no_key_until_a_value_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CSV.replace("email: mail, ", "").replace(", personal: true", "").replace("address: {column: home}", "")
    settings = people(tmp_path, plain)
    monkeypatch.delenv(ENVIRONMENT_KEY)
    harmless = quoted('[{"sku": "P1", "name": "Shampoo"}]')
    file = written(tmp_path, f"1,2026-03-01,7,,,,{harmless},1,", f"2,2026-03-01,7,,,,{harmless},much,", header=HEADER)
    report = ingest(settings, file, "people")
    assert (report.accepted, report.quarantined) == (1, 1)
    assert stored(settings)[0]["properties"]["products"] == [{"sku": "P1", "name": "Shampoo"}]
    with pytest.raises(EncryptionKeyMissing):
        stage(settings, "people", written(tmp_path, row("3"), header=HEADER))
    assert not list(settings.workspace.staging.rglob("*"))
    assert len(stored(settings)) == 1


def test_a_preview_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = people(tmp_path)
    monkeypatch.delenv(ENVIRONMENT_KEY)
    told = check(settings, "people", written(tmp_path, row("1"), header=HEADER)).text()
    assert '"email": "s***@e***"' in told
    assert not [word for word in PERSONAL if word in told]
    assert not settings.workspace.root.exists()


def test_masks() -> None:
    assert [masked(value) for value in ("somchai@example.com", "0812345678", "", 7, {"a": 1})] == [
        "s***@e***", "0***", "***", "***", "***",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"event_id": "{id}-{mail}"}, "event_id"),
        ({"user_id": "mail"}, "user_id"),
        ({"anonymous_id": "{mail}"}, "anonymous_id"),
        ({"identifiers": {"email": "mail", "cookie": "mail"}}, "identifiers.cookie"),
        ({"channel": {"column": "note"}}, "channel"),
    ],
)
def test_a_personal_column_may_not_be_kept_in_the_clear(change: dict[str, Any], place: str) -> None:
    known = load_settings()
    with pytest.raises(ConfigurationError, match="no personal column") as refused:
        check_identity_and_consent(
            {"people": mapping(CSV, **change)}, known.identity, known.consent, PLAN, known.features
        )
    assert [problem.field for problem in refused.value.problems] == [place]


def test_a_property_that_names_nobody_may_not_take_a_personal_column() -> None:
    known = load_settings()
    leaking = mapping(CSV.replace("order_id: {column: id}", "order_id: {column: note}"))
    with pytest.raises(ConfigurationError, match="personal_properties"):
        check_identity_and_consent({"people": leaking}, known.identity, known.consent, PLAN, known.features)


def test_no_feature_reads_what_names_a_person() -> None:
    known = load_settings()
    feature = next(f for f in known.features.by_name.values() if f.measure and f.measure.path.startswith("properties."))
    name = str(feature.measure.path if feature.measure else "").removeprefix("properties.").split("[]")[0]
    identity = IdentityConfig.model_validate({**known.identity.model_dump(), "personal_properties": (name,)})
    with pytest.raises(ConfigurationError, match="names nobody") as refused:
        check_identity_and_consent(known.sources, identity, known.consent, known.tracking_plan, known.features)
    assert feature.name in {problem.field for problem in refused.value.problems}


def test_only_quarantine_files_are_shown(tmp_path: Path) -> None:
    settings = people(tmp_path)
    with pytest.raises(UserError, match="a quarantine file of this workspace"):
        show(settings, written(tmp_path, row("1"), header=HEADER))


def test_a_packed_file_is_sealed_too(tmp_path: Path) -> None:
    settings = people(tmp_path)
    file = tmp_path / "people.csv.gz"
    file.write_bytes(gzip.compress("\n".join([HEADER, row("1"), row("2", baht="much")]).encode()))
    report = ingest(settings, file, "people")
    assert (report.accepted, report.quarantined) == (1, 1)
    with Path(str(report.quarantine)).open(newline="") as stream:
        (kept,) = csv.DictReader(stream)
    assert (kept["id"], kept["baht"]) == ("2", "much")
    assert all(kept[name].startswith("enc:1:") for name in ("mail", "note", "home", "basket", "nickname"))
