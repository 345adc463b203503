"""Erasure and access in the log of served vectors: whose a line is, is told by its ids, never by its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from feature_repo.served import FeatureList, ServedVector, encode_line, feature_list
from pipelines.privacy.kept_vectors import KeptVectors, texts_in
from pipelines.privacy.person import Mentions, Person
from pipelines.privacy.traces import TraceSearch
from pipelines.settings import Workspace, load_settings

# Its digits stand in instants and values of others.
WHO = "17800000"
LISTED = feature_list("churn", "1", "0123", ["orders", "visits"])


def vector(request: str, who: str, value: int = 1) -> ServedVector:
    return ServedVector(
        request, who, 1_780_000_012_345_678, int(WHO) * 10**8, int(WHO), 0, LISTED.id, [value, None], 0.5, 0.0
    )


BROUGHT = msgspec.structs.replace(vector("e" * 32, "other"), context={"voucher": f"for {WHO}", "cart": 5})
THEIRS = [
    vector("a" * 32, WHO),
    vector("b" * 32, "~anonymous_id:browser-1"),
    vector(f"mobile{WHO}", "other"),
    BROUGHT,
]
OTHERS = [
    vector("c" * 32, "other", int(WHO)),
    vector("d" * 32, "1" + WHO),
    vector("web:1", "somebody"),
    msgspec.structs.replace(vector("f" * 32, "other"), context={"voucher": "for anybody", "cart": int(WHO)}),
]


@pytest.fixture
def kept(tmp_path: Path) -> KeptVectors:
    workspace = Workspace("kept", tmp_path)
    person = Person(WHO, (), (), (("user_id", WHO),), frozenset({WHO, "~anonymous_id:browser-1", "browser-1"}))
    workspace.served.mkdir(parents=True)
    records: list[FeatureList | ServedVector] = [LISTED, *THEIRS, *OTHERS]
    file = workspace.served / "2026-06-01-00000000.jsonl"
    file.write_bytes(b"".join(map(encode_line, records)) + encode_line(THEIRS[0])[:60])
    (workspace.served / "2026-06-02-00000000.jsonl").write_bytes(b"".join(map(encode_line, [LISTED, OTHERS[0]])))
    return KeptVectors(workspace, person, Mentions(person, load_settings().identity))


def traces(kept: KeptVectors) -> list[str]:
    # As the identity store knows it: an id of somebody else, in which theirs stands.
    search = TraceSearch(kept.person, lambda text: ["1" + WHO] if text == WHO else [])
    return [
        trace.file
        for file in sorted(kept.workspace.served.iterdir())
        for trace in search.search_texts(texts_in(file), file.name)
    ]


def test_access_tells_what_was_served_with_names(kept: KeptVectors) -> None:
    found = kept.found()
    assert [item["request_id"] for item in found] == [vector.request_id for vector in THEIRS]
    first = found[0]
    assert (first["model"], first["version"], first["spec_hash"]) == ("churn", "1", "0123")
    assert (first["values"], first["probability"]) == ({"orders": 1, "visits": None}, 0.5)
    (kept.workspace.served / "2026-06-01-00000000.jsonl").write_bytes(encode_line(THEIRS[0]))
    (kept.workspace.served / "2026-06-02-00000000.jsonl").unlink()
    assert kept.found()[0]["values"] == [1, None], "without its list, as far as it is known"


def test_erasure_takes_theirs_and_torn_lines_and_nothing_else(kept: KeptVectors) -> None:
    unfinished = kept.workspace.served / ".2026-05-01-00000000.jsonl.erasing"
    unfinished.write_bytes(encode_line(THEIRS[0]))
    untouched = kept.workspace.served / "2026-06-02-00000000.jsonl"
    before = untouched.stat().st_ino
    assert traces(kept) == [unfinished.name, "2026-06-01-00000000.jsonl"]
    assert kept.remove() == len(THEIRS) + 1
    assert traces(kept) == []
    expected = b"".join(map(encode_line, [LISTED, *OTHERS]))
    assert (kept.workspace.served / "2026-06-01-00000000.jsonl").read_bytes() == expected
    assert (untouched.stat().st_ino, not unfinished.exists()) == (before, True)
    assert kept.remove() == 0


def test_a_short_id_is_found_as_a_whole_only(kept: KeptVectors) -> None:
    person = replace(kept.person, customer_id="1", texts=frozenset({"1"}), plain=(("user_id", "1"),))
    short = KeptVectors(kept.workspace, person, Mentions(person, load_settings().identity))
    file = kept.workspace.served / "2026-06-02-00000000.jsonl"
    file.write_bytes(
        b"".join(map(encode_line, [LISTED, vector("d" * 32, "1"), vector("e" * 32, "11"), vector("1", "x")]))
    )
    short.remove()
    assert [item["customer_id"] for item in short.found()] == []
    assert file.read_bytes() == b"".join(map(encode_line, [LISTED, vector("e" * 32, "11")]))
