"""Columns that the file does not have, made from another through a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.configuration import ConfigurationError
from tests.unit.ingest_parts import PLAN, ingest, mapping, settings_for, stored

MAILINGS = """
source: mailings
description: Who got which mailing; the days stand in the mapping.
format: {type: csv}
timezone: Asia/Bangkok
columns:
  who: {type: id, required: true}
  wave: {type: id, required: true}
  sent: {type: timestamp, required: true, column: wave, map: {1: "2026-03-01", 2: "2026-04-01 09:30:00"}}
  page: {type: string, column: wave, map: {"1": "it's", "2": two}}
event_id: "{wave}-{who}"
time: {column: sent}
user_id: who
channel: web
events:
  - event: Page Viewed
    properties: {path: {column: page}}
"""
MARCH, APRIL = 1_772_298_000_000_000, 1_775_010_600_000_000


def _columns(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(MAILINGS)["columns"], **changes}


def _ingested(tmp_path: Path, name: str, text: str, **changes: Any) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    settings = settings_for(tmp_path, mapping(MAILINGS, **changes), plan=PLAN)
    report = ingest(settings, file, "mailings")
    assert report.read == report.accepted + report.quarantined
    return report.reasons, [(e["event_id"], e["event_time"], e["properties"]) for e in stored(settings)]


def test_a_column_is_made_from_another(tmp_path: Path) -> None:
    """Through the text that the other column reads, here an id written as 1.0."""
    reasons, events = _ingested(tmp_path, "m.csv", "who,wave\na,1.0\nb,2\n")
    assert reasons == {}
    assert events == [("1-a", MARCH, {"path": "it's"}), ("2-b", APRIL, {"path": "two"})]


def test_of_json_lines_too(tmp_path: Path) -> None:
    lines = [{"who": "a", "in": {"wave": 1}, "sent": "2020-01-01"}, {"who": "b", "in": {"wave": "2"}}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    columns = _columns(wave={"type": "id", "required": True, "path": "in.wave"})
    _, events = _ingested(tmp_path, "m.jsonl", text, format={"type": "jsonl"}, columns=columns)
    assert [event[:2] for event in events] == [("1-a", MARCH), ("2-b", APRIL)]


def test_what_the_map_lacks_is_empty(tmp_path: Path) -> None:
    reasons, events = _ingested(tmp_path, "m.csv", "who,wave\na,3\nb,2\nc,\n")
    assert reasons == {"sent is empty": 2, "wave is empty": 1}
    assert [event[0] for event in events] == ["2-b"]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"type": "string", "column": "wave"}, "column and map together, or neither"),
        ({"type": "string", "map": {"1": "a"}}, "column and map together, or neither"),
        ({"type": "string", "column": "wave", "map": {"1": "a"}, "path": "x"}, "path, or column with map; not both"),
        ({"type": "string", "column": "wav", "map": {"1": "a"}}, "another column of the file"),
        ({"type": "string", "column": "page", "map": {"1": "a"}}, "another column of the file"),
        ({"type": "string", "column": "wave", "map": {}}, "map"),
    ],
)
def test_mistakes_are_told(column: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mapping(MAILINGS, columns=_columns(page=column))
    assert told in "; ".join(f"{problem.field} {problem.expected}" for problem in caught.value.problems)
