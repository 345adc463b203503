"""Any file at all: rows reconcile, ingesting twice changes nothing, no row is lost between the files."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.settings import Settings
from tests.unit.ingest_parts import HEADER, ingest, shop, stored

fields = {
    "number": st.sampled_from(["1", "2", "3", "4", "2.0", "", "a,b", 'q"', "é\nx"]),
    "at": st.sampled_from(["2026-03-01", "2026-03-01 10:00:00", "2026-03-01T10:00:00+07:00", "", "never"]),
    "who": st.sampled_from(["", "7", "7.0", "8"]),
    "units": st.sampled_from(["1", "2", "-1", "0", "x", "", "1001"]),
    "price": st.sampled_from(["1.5", "0", "-2", "free", "1e30"]),
}
good = st.tuples(*fields.values()).map(list)
cut = st.builds(lambda row, keep: row[:keep], good, st.integers(1, 4))
long = st.builds(lambda row, more: [*row, *more], good, st.lists(st.sampled_from(["", "z"]), min_size=1, max_size=3))
rows = st.lists(st.one_of(good, good, good, cut, long), max_size=30)


def as_file(folder: str, content: list[list[str]]) -> Path:
    file = Path(folder) / "messy.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER.split(","), *content])
    return file


@settings(max_examples=20, deadline=None)
@given(content=rows, grouped=st.booleans())
def test_rows_always_reconcile_and_twice_is_once(content: list[list[str]], grouped: bool) -> None:
    with TemporaryDirectory() as folder:
        configured = shop(Path(folder)) if grouped else shop(Path(folder), group_by=[])
        file = as_file(folder, content)
        first = ingest(configured, file)
        assert first.read == len(content)
        assert first.read == first.accepted + first.duplicate + first.quarantined
        kept = quarantined(first.quarantine)
        assert len(kept) == first.quarantined
        assert len({row["quarantine_row"] for row in kept}) == first.quarantined
        events = stored(configured)
        second = ingest(configured, file)
        assert (second.accepted, second.quarantined, second.quarantine) == (0, first.quarantined, first.quarantine)
        assert second.lake_version == first.lake_version
        assert stored(configured) == events
        check_events(configured, content, grouped)


@settings(max_examples=12, deadline=None)
@given(content=rows)
def test_a_quarantine_file_that_is_not_mended_gives_the_same_rows_again(content: list[list[str]]) -> None:
    with TemporaryDirectory() as folder:
        configured = shop(Path(folder))
        first = ingest(configured, as_file(folder, content))
        if first.quarantine is None:
            return
        events = stored(configured)
        again = ingest(configured, Path(first.quarantine))
        assert (again.read, again.accepted, again.quarantined) == (first.quarantined, 0, first.quarantined)
        assert stored(configured) == events


def quarantined(file: str | None) -> list[dict[str, str]]:
    if file is None:
        return []
    with Path(file).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def check_events(configured: Settings, content: list[list[str]], grouped: bool) -> None:
    """An order is stored with all of its rows or not at all."""
    for event in stored(configured):
        if grouped:
            same = [row for row in content if row and row[0].strip().removesuffix(".0") == event["event_id"]]
            assert event["properties"]["lines"] == len(same)
            assert all(len(row) == 5 for row in same)
