"""Files to events: what is stored, what is a duplicate, what is quarantined, and that rows reconcile."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from feature_repo.configuration import ConfigurationError
from pipelines.console import UserError
from pipelines.events import lake
from pipelines.ingest import check, commit, convert, discard, stage
from pipelines.privacy import WHOLE_ROW, sealer_of
from tests.unit.ingest_parts import HEADER, ORDERS, ingest, mapping, settings_for, shop, stored, written


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


GOOD = ("1,2026-03-01 09:00:00,42.0,2,1.50", "1,2026-03-01 09:01:00,42.0,1,0.255", "2,2026-03-02 09:00:00,,3,10")


def test_rows_of_a_group_become_one_event(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    report = ingest(settings, written(tmp_path, *GOOD))
    assert (report.read, report.accepted, report.duplicate, report.quarantined) == (3, 3, 0, 0)
    assert report.events == {"Order Completed": 2}
    assert report.anonymous == 1
    assert report.quarantine is None
    assert "3 rows read = 3 accepted + 0 duplicate + 0 quarantined" in report.text()
    first, second = stored(settings)
    assert first == {
        "position": 1,
        "source": "shop",
        "event_id": "1",
        "event": "Order Completed",
        # 09:00 in Bangkok.
        "event_time": micros("2026-03-01T02:00"),
        "available_at": micros("2026-03-01T02:00"),
        "user_id": "42",
        "anonymous_id": None,
        "identifiers": {},
        "channel": "web",
        # 2 x 1.50 + 0.255 = 3.255 baht, rounded once, half away from zero.
        "value": 326,
        "currency": "THB",
        "properties": {"order_id": "1", "total": 326, "units": 3, "lines": 2},
    }
    assert (second["position"], second["user_id"], second["anonymous_id"]) == (2, None, "order-2")


def test_the_same_file_twice_changes_nothing(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    file = written(tmp_path, *GOOD, "3,not a time,1,1,1")
    first = ingest(settings, file)
    files = sorted(settings.workspace.root.rglob("*"))
    second = ingest(settings, file)
    assert (second.read, second.accepted, second.duplicate, second.quarantined) == (4, 0, 3, 1)
    assert second.differing == 0
    assert second.lake_version == first.lake_version
    assert second.quarantine == first.quarantine
    assert sorted(settings.workspace.root.rglob("*")) == files


def test_positions_go_on_without_a_gap(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, written(tmp_path, *GOOD))
    ingest(settings, written(tmp_path, *GOOD, "7,2026-03-01,1,1,1", "8,2026-03-01,1,1,1", name="more.csv"))
    assert [event["position"] for event in stored(settings)] == [1, 2, 3, 4]
    assert lake.last_position(settings.workspace.lake) == 4


def test_a_duplicate_that_differs_is_counted_and_the_stored_one_stays(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, written(tmp_path, *GOOD))
    report = ingest(settings, written(tmp_path, GOOD[0], "2,2026-03-02 09:00:00,,3,10", name="late.csv"))
    assert (report.duplicate, report.differing) == (2, 1)
    assert "1 duplicate events differ from what is stored; the stored one stays" in report.text()
    assert stored(settings)[0]["properties"]["lines"] == 2


def test_equal_ids_within_a_file_keep_the_first(tmp_path: Path) -> None:
    settings = shop(tmp_path, group_by=[])
    report = ingest(settings, written(tmp_path, "1,2026-03-01,5,1,1", "1,2026-03-01,5,1,1", "1,2026-03-01,5,9,1"))
    assert (report.accepted, report.duplicate, report.differing) == (1, 2, 1)
    assert stored(settings)[0]["properties"]["units"] == 1


def test_the_same_id_in_another_source_is_another_event(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, mapping(ORDERS), mapping(ORDERS, source="other"))
    file = written(tmp_path, *GOOD)
    assert ingest(settings, file).accepted == ingest(settings, file, "other").accepted == 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3,2026-03-01,1,x,1", "units is not an integer"),
        ("3,2026-03-01,1,1.5,1", "units is not an integer"),
        ("3,2026-03-01,1,1,1e99", "price is not a number"),
        ("3,2026-03-01,1,1,nan", "price is not a number"),
        ("3,infinity,1,1,1", "at is not a time"),
        ("3,2026-02-30,1,1,1", "at is not a time"),
        ("3,01/02/2026,1,1,1", "at is not a time"),
        ("3,,1,1,1", "at is empty"),
        ("  ,2026-03-01,1,1,1", "number is empty"),
        ("3,2026-03-01,1,1", "4 fields where 5 were expected"),
        ("3,2026-03-01,1,1,1,1", "6 fields where 5 were expected"),
        ("3,2026-03-01,1,0,1", "Order Completed: units is below 1"),
        ("3,2026-03-01,1,1001,1", "Order Completed: units is above 1000"),
        ("3,2026-03-01,1,999999999999999999,9999999999", "Order Completed: total is too large, or has no currency"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_number_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    settings = shop(tmp_path)
    report = ingest(settings, written(tmp_path, GOOD[0], row, *GOOD[1:]))
    assert (report.read, report.accepted, report.quarantined) == (4, 3, 1)
    assert reason in report.reasons
    assert report.quarantine is not None
    with Path(report.quarantine).open(newline="") as stream:
        (kept,) = csv.DictReader(stream)
    assert list(kept) == [*HEADER.split(","), "quarantine_row", "quarantine_reason"]
    assert kept["quarantine_row"] == "2"
    assert reason in kept["quarantine_reason"]


def test_all_reasons_of_a_row_are_told(tmp_path: Path) -> None:
    report = ingest(shop(tmp_path), written(tmp_path, "3,never,1,x,"))
    assert report.reasons == {"at is not a time": 1, "price is empty": 1, "units is not an integer": 1}


@pytest.mark.parametrize("bad", ["1,2026-03-01,42,x,1", "1,2026-03-01,42", "1,2026-03-01,42,1,1,1"])
def test_one_bad_row_quarantines_its_whole_event(tmp_path: Path, bad: str) -> None:
    settings = shop(tmp_path)
    report = ingest(settings, written(tmp_path, *GOOD, bad))
    assert (report.accepted, report.quarantined) == (1, 3)
    assert report.reasons["another row of the same event is quarantined"] == 2
    assert [event["event_id"] for event in stored(settings)] == ["2"]


def test_rows_of_one_event_must_agree_on_the_customer(tmp_path: Path) -> None:
    report = ingest(shop(tmp_path), written(tmp_path, "1,2026-03-01,5,1,1", "1,2026-03-01,6,1,1"))
    assert report.reasons == {"rows of one event name different values of who": 2}


def test_quarantined_rows_can_be_mended_and_ingested_with_the_same_command(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    report = ingest(settings, written(tmp_path, *GOOD, "1,2026-03-01 09:02:00,42,1;5", "4,2026-03-04,7,x,2"))
    assert (report.accepted, report.quarantined) == (1, 4)
    kept = Path(str(report.quarantine))
    text = kept.read_text()
    assert '"1,2026-03-01 09:02:00,42,1;5"' in text
    again = ingest(settings, kept)
    assert (again.accepted, again.quarantined) == (0, 4)
    mended = text.replace('"1,2026-03-01 09:02:00,42,1;5",,,,', "1,2026-03-01 09:02:00,42,1,5").replace(",x,", ",1,")
    kept.write_text(mended)
    last = ingest(settings, kept)
    assert (last.read, last.accepted, last.quarantined) == (4, 4, 0)
    assert {event["event_id"]: event["value"] for event in stored(settings)} == {"2": 3000, "1": 826, "4": 200}


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    batch = stage(settings, "shop", written(tmp_path, *GOOD, "x"))
    assert parquet.read_schema(batch.events).names == [*lake.STAGED_SCHEMA.names, "row"]
    assert parquet.read_metadata(batch.events).num_rows == 2
    assert lake.version(settings.workspace.lake) is None
    discard(batch)
    discard(batch)
    assert not list(settings.workspace.staging.iterdir())
    assert lake.version(settings.workspace.lake) is None
    assert not settings.workspace.quarantine.exists()
    with pytest.raises(UserError, match="finished"):
        commit(batch)


def test_check_shows_events_and_writes_nothing(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    preview = check(settings, "shop", written(tmp_path, *GOOD, "x"), rows=1)
    assert (preview.read, preview.quarantined, len(preview.events)) == (4, 1, 1)
    assert preview.events[0]["properties"]["total"] == 326
    assert "1 fields where 5 were expected: 1" in preview.text()
    assert not settings.workspace.root.exists()


def broken_files(tmp_path: Path) -> list[tuple[Path, str]]:
    whole = gzip.compress(("\n".join([HEADER, *GOOD * 500])).encode())
    made = {
        "empty.csv": (b"", "an empty file"),
        "cut.csv.gz": (whole[: len(whole) // 2], "ends early"),
        "cut_in_the_header.csv.gz": (whole[:12], "ends early"),
        "not.csv.gz": (b"no gzip at all, just text", "file"),
        "latin.csv": (f"{HEADER}\n{GOOD[0]}\n1,caf\xe9,1,1,1\n".encode("latin-1"), "in line 3"),
        "latin_header.csv": ("number,caf\xe9\n".encode("latin-1"), "in line 1"),
        "twice.csv": (f"{HEADER},number\n".encode(), "twice: number"),
    }
    for name, (content, _) in made.items():
        (tmp_path / name).write_bytes(content)
    return [(tmp_path / name, expected) for name, (_, expected) in made.items()]


def test_a_file_that_cannot_be_read_says_so_and_writes_nothing(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    for file, expected in [*broken_files(tmp_path), (tmp_path / "none.csv", "nothing there"), (tmp_path, "a folder")]:
        with pytest.raises(UserError, match=expected):
            stage(settings, "shop", file)
    assert lake.version(settings.workspace.lake) is None
    assert not settings.workspace.staging.exists() or not list(settings.workspace.staging.iterdir())
    assert ingest(settings, written(tmp_path, *GOOD)).accepted == 3


def test_a_quote_that_never_ends_is_told_and_nothing_is_swallowed(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    file = written(tmp_path, GOOD[0], '1,2026-03-01,1,1,"1', GOOD[2])
    with pytest.raises(UserError, match="a quote opened in row 2"):
        stage(settings, "shop", file)


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    file = written(tmp_path, "1;2", header="number;at")
    with pytest.raises(UserError, match="no number") as caught:
        stage(shop(tmp_path), "shop", file)
    assert len(caught.value.problems) == 5
    assert "number;at" in caught.value.problems[0].hint


def test_a_mapping_that_does_not_fit_the_plan_is_refused(tmp_path: Path) -> None:
    settings = shop(tmp_path, channel="app")
    with pytest.raises(ConfigurationError, match="a channel of Order Completed: web, pos"):
        stage(settings, "shop", written(tmp_path, *GOOD))


def test_a_file_without_rows_is_no_mistake(tmp_path: Path) -> None:
    report = ingest(shop(tmp_path), written(tmp_path))
    assert (report.read, report.accepted, report.lake_version) == (0, 0, None)


def test_byte_order_mark_blank_lines_other_columns_and_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "windows.csv"
    text = f"extra,{HEADER}\r\n" + "".join(f'"a ""b"",\r\nc",{row}\r\n\r\n' for row in GOOD) + "bad\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    report = ingest(shop(tmp_path), file)
    assert (report.read, report.accepted, report.quarantined) == (4, 3, 1)
    with Path(str(report.quarantine)).open(newline="") as stream:
        assert next(csv.DictReader(stream))["quarantine_row"] == "4"


def test_other_encodings_come_back_from_quarantine_in_their_own(tmp_path: Path) -> None:
    columns = {"number": {"type": "id"}, "at": {"type": "timestamp"}, "café": {"type": "string", "required": True}}
    source = mapping(
        ORDERS,
        format={"type": "csv", "delimiter": ";", "encoding": "latin-1"},
        columns=columns,
        user_id=None,
        group_by=[],
        events=[{"event": "Page Viewed", "properties": {"path": {"column": "café"}}}],
    )
    settings = settings_for(tmp_path, source)
    file = tmp_path / "vues.csv"
    file.write_bytes("number;at;café\n1;2026-03-01;thé\n2;?;crème\n".encode("latin-1"))
    report = ingest(settings, file)
    assert stored(settings)[0]["properties"] == {"path": "thé"}
    kept = Path(str(report.quarantine))
    assert "2;?;crème" in kept.read_text(encoding="latin-1")
    kept.write_bytes(kept.read_bytes().replace(b"?", b"2026-03-02"))
    assert ingest(settings, kept).accepted == 1
    assert stored(settings)[1]["properties"] == {"path": "crème"}


JSON_SOURCE = """
source: app
description: A feed.
format: {type: jsonl}
columns:
  id: {type: string, required: true}
  at: {type: timestamp, time_format: epoch_milliseconds}
  user: {type: id, path: who.id}
  mail: {type: string, path: who.mail}
  page: {type: string}
  gift: {type: boolean}
  place: {type: json}
  basket: {type: json}
  baht: {type: decimal}
event_id: "{id}"
time: {column: at}
arrival: {delay: 2h}
user_id: user
anonymous_id: "{id}"
identifiers: {email: mail}
channel: web
currency: THB
properties:
  path: {column: page}
  gift: {column: gift}
events:
  - event: Page Viewed
    when: {page: {empty: false}}
  - event: Order Completed
    properties:
      order_id: {column: id}
      total: {column: baht, as: money}
      address: {column: place}
      products: {column: basket}
"""


def test_json_lines(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, mapping(JSON_SOURCE))
    lines = [
        {"id": "a", "at": 1767225600123, "who": {"id": 7, "mail": "x@example.com"}, "page": '/ก"x\n'},
        {"id": "b", "at": 1767225600123, "baht": 12.5, "gift": True, "place": {"a": [1, None]}, "basket": [{"q": 1}]},
        {"id": "c", "at": 1767225600123, "baht": "1", "place": [1]},
        {"id": "d", "at": "soon", "page": "/"},
        ["no", "object"],
    ]
    file = tmp_path / "app.jsonl.gz"
    file.write_bytes(gzip.compress(("\n".join(map(json.dumps, lines)) + '\n{"id": "cut').encode()))
    report = ingest(settings, file, "app")
    assert (report.read, report.accepted, report.quarantined) == (6, 2, 4)
    assert report.reasons == {
        "not a JSON object": 2,
        "Order Completed: address is not a JSON object": 1,
        "at is not a time": 1,
    }
    sealer = sealer_of(settings.workspace)
    view, order = stored(settings)
    assert view["properties"] == {"path": '/ก"x'}
    assert (view["user_id"], view["identifiers"]) == ("7", {"email": sealer.seal("email", "x@example.com")})
    assert view["event_time"] == 1767225600123000
    assert view["available_at"] - view["event_time"] == 2 * 3600 * 1_000_000
    assert view["currency"] is None
    assert order["properties"] == {
        "order_id": "b",
        "total": 1250,
        "gift": True,
        "address": sealer.seal_json("address", {"a": [1, None]}),
        "products": [{"q": 1}],
    }
    kept = Path(str(report.quarantine))
    assert kept.suffix == ".jsonl"
    quarantined = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["quarantine_row"] for line in quarantined] == [3, 4, 5, 6]
    assert sealer.open(WHOLE_ROW, quarantined[3]["quarantine_text"]) == '{"id": "cut'
    kept.write_text(json.dumps({**quarantined[1], "at": 1767225600999}) + "\n")
    assert ingest(settings, kept, "app").accepted == 1


def test_parquet_and_its_quarantine(tmp_path: Path) -> None:
    settings = shop(tmp_path, format={"type": "parquet"})
    table = pa.table(
        {
            "number": pa.array([1.0, 2.0, 3.0]),
            "at": pa.array([datetime(2026, 3, 1, 9), datetime(2026, 3, 1, 10), None], pa.timestamp("ns")),
            "who": pa.array([42.0, None, 7.0]),
            "units": pa.array([1, 2, 3], pa.int32()),
            "price": [0.1, 0.2, 0.3],
        }
    )
    file = tmp_path / "orders.parquet"
    parquet.write_table(table, file)
    report = ingest(settings, file)
    assert (report.accepted, report.quarantined) == (2, 1)
    assert [(e["event_id"], e["user_id"], e["value"]) for e in stored(settings)] == [("1", "42", 10), ("2", None, 40)]
    assert stored(settings)[0]["event_time"] == micros("2026-03-01T02:00")
    kept = Path(str(report.quarantine))
    assert kept.suffix == ".csv"
    kept.write_text(kept.read_text().replace("3.0,,", "3.0,2026-03-01 11:00:00,"))
    assert ingest(settings, kept).accepted == 1
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="a readable parquet file"):
        stage(settings, "shop", tmp_path / "broken.parquet")


def test_events_made_in_parts_are_those_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = {"list": {"units": {"column": "units"}, "price": {"column": "price", "as": "money"}}}
    rules = mapping(ORDERS).model_dump(by_alias=True, exclude_none=True)["events"]
    rules[0]["properties"]["products"] = products
    numbers = [(row * 7) % 23 for row in range(200)]
    lines = [
        f"{n if n else ''},2026-03-0{1 + n % 9} 09:00:00,{n % 5},{row % 6},{row}.25" for row, n in enumerate(numbers)
    ]
    found = []
    for name, rows in (("whole", 10_000), ("parts", 30)):
        monkeypatch.setattr(convert, "ROWS_A_PART", rows)
        settings = shop(tmp_path / name, events=rules)
        report = ingest(settings, written(tmp_path, *lines))
        kept = Path(report.quarantine or "").read_text()
        found.append((stored(settings), report.events, report.reasons, report.accepted, report.quarantined, kept))
    assert found[0] == found[1]
    assert report.quarantined > 0 < report.accepted
    quantities = [[line["units"] for line in event["properties"]["products"]] for event in stored(settings)]
    wanted = {n: [row % 6 for row in range(200) if numbers[row] == n] for n in numbers}
    assert all(wanted[int(event["event_id"])] == got for event, got in zip(stored(settings), quantities, strict=True))
