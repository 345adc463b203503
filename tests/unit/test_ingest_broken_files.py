"""Files that a newcomer gets wrong: each is told in words, nothing is stored by accident, nobody's data is shown."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

from pipelines.console import UserError
from pipelines.ingest import check, stage
from pipelines.ingest.layout import HEADER_CHARACTERS
from tests.unit.ingest_parts import HEADER, ORDERS, ingest, mapping, renamed, settings_for, shop, stored, written

GOOD = "1,2026-03-01 09:00:00,C1,1,2.50"
LONG = "x" * 300_000


def refusal(tmp_path: Path, content: bytes, name: str = "orders.csv") -> str:
    """What is said of a file that cannot be ingested; nothing may be left behind."""
    settings = shop(tmp_path)
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        stage(settings, "shop", file)
    assert stored(settings) == []
    assert not settings.workspace.staging.exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (gzip.compress(f"{HEADER}\n{GOOD}\n".encode(), mtime=0), "orders.csv", "add .gz to its name"),
        (f"{HEADER}\n{GOOD}\n".encode(), "orders.csv.gz", "take .gz off its name"),
        (b"\n\n\n", "orders.csv", "a line without names"),
        (f"{HEADER},,\n{GOOD},,\n".encode(), "orders.csv", "twice: one without a name"),
        (f"{HEADER},who\n{GOOD},C1\n".encode(), "orders.csv", "twice: who"),
        (b"\0" * (HEADER_CHARACTERS + 10), "orders.csv", "a first line that does not end"),
        (f'"{HEADER}\n'.encode() + f"{GOOD}\n".encode() * 40_000, "orders.csv", "a first line that does not end"),
        (f'{HEADER}\n{GOOD}\n2,2026-03-01,"open,1,2\n{GOOD}\n'.encode(), "orders.csv", "a quote opened in row 2"),
        (f'{HEADER}\n2,2026-03-01,"open,1,2\n'.encode() + f"{GOOD}\n".encode() * 9_000, "orders.csv", "never ends"),
        (HEADER.replace(",", ";").encode() + b"\n", "orders.csv", "number;at;who;units;price; delimiter ','"),
    ],
)
def test_what_is_wrong_with_the_file_is_told(tmp_path: Path, content: bytes, name: str, told: str) -> None:
    assert told in refusal(tmp_path, content, name)


@pytest.mark.parametrize(
    "first",
    [
        "Somchai,somchai@example.org,0812345678,Somchai,x",
        json.dumps([{"name": "Somchai", "email": "somchai@example.org"}] * 3),
    ],
)
def test_the_first_line_of_a_file_without_a_header_is_not_shown(tmp_path: Path, first: str) -> None:
    told = refusal(tmp_path, f"{first}\n{GOOD}\n".encode())
    assert "is it a header?" in told
    assert "omchai" not in told
    assert "0812345678" not in told


def test_rows_with_huge_fields_are_rows_like_others(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    header = f"{LONG},{HEADER}"
    file = written(tmp_path, f"{LONG},{GOOD}", f"{LONG},2,2026-03-01 09:00:00,C1,1,2.50,{LONG},too many", header=header)
    report = ingest(settings, file)
    assert (report.read, report.accepted, report.quarantined) == (2, 1, 1)
    assert report.reasons == {"8 fields where 6 were expected": 1}


def test_a_row_with_two_fields_too_many_stays_in_quarantine(tmp_path: Path) -> None:
    """It has as many fields as a line of its quarantine file, which must not make it a good one."""
    settings = shop(tmp_path)
    first = ingest(settings, written(tmp_path, f"{GOOD},9,9"))
    assert first.quarantine is not None
    again = ingest(settings, Path(first.quarantine))
    assert (again.accepted, again.quarantined) == (0, 1)
    assert again.reasons == first.reasons == {"7 fields where 5 were expected": 1}


@pytest.mark.parametrize("text", ["0000-01-01", "9999-12-31 23:59:59", "0001-01-01 00:00:00+12:00"])
def test_a_time_beyond_what_programs_can_hold_is_none(tmp_path: Path, text: str) -> None:
    settings, file = shop(tmp_path), written(tmp_path, f"1,{text},C1,1,2.50")
    assert check(settings, "shop", file).reasons == {"at is not a time": 1}
    assert ingest(settings, file).reasons == {"at is not a time": 1}


@pytest.mark.parametrize("text", ["infinity", "-infinity", "epoch"])
def test_words_for_times_are_no_times(tmp_path: Path, text: str) -> None:
    source = mapping(ORDERS.replace("at: {type: timestamp", 'at: {type: timestamp, time_format: "%Y.%m.%d"'))
    report = ingest(settings_for(tmp_path, source), written(tmp_path, f"1,{text},C1,1,2.50"))
    assert report.reasons == {"at is not a time": 1}


def test_a_preview_is_plain_json(tmp_path: Path) -> None:
    preview = check(shop(tmp_path), "shop", written(tmp_path, GOOD))
    (event,) = json.loads(json.dumps(asdict(preview)))["events"]
    assert event["event_time"] == event["available_at"] == "2026-03-01T02:00:00.000000Z"


def test_a_gzipped_parquet_file_is_read(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    plain = tmp_path / "orders.parquet"
    parquet.write_table(arrow_csv.read_csv(written(tmp_path, GOOD)), plain)
    packed = tmp_path / "packed.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    settings = renamed(settings, mapping(ORDERS, format={"type": "parquet"}))
    assert ingest(settings, packed).accepted == 1


def test_a_batch_says_which_rows_of_the_file_its_events_are(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    batch = stage(settings, "shop", written(tmp_path, "0,never,C1,1,1", GOOD, GOOD, "2,2026-03-01,C2,1,1"))
    batch.lock.release()
    assert parquet.read_table(batch.events).column("row").to_pylist() == [2, 4]


def test_a_report_of_an_empty_lake_says_so(tmp_path: Path) -> None:
    assert "the lake stays empty" in ingest(shop(tmp_path), written(tmp_path)).text()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_equal_ids_the_first_to_arrive_is_stored_whatever_the_order_of_the_file(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    lines = [f"1,2026-03-01,C1,1,{day}.00,2026-03-0{day}" for day in (2, 3, 4)]
    text = ORDERS.replace("group_by: [number]\n", "").replace("columns:", "columns:\n  sent: {type: timestamp}")
    source = mapping(text, arrival={"column": "sent"})
    settings = settings_for(tmp_path, source)
    ingest(settings, written(tmp_path, *(lines[number] for number in order), header=f"{HEADER},sent"))
    (event,) = stored(settings)
    assert event["properties"]["total"] == 200
