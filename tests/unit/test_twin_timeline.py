"""Pages of a timeline, what was served found in its log, and instants: pure parts, over whatever comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.served import ServedVector, encode_line, feature_list
from pipelines.events.customer_log import Theirs
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.served_search import find_served
from pipelines.twin.instants import read_instant
from pipelines.twin.timeline import Place, decode, encode, page_of, place_of

TIMES = st.lists(st.integers(0, 6), max_size=30)


def theirs(position: int, event_time: int) -> Theirs:
    name = "Order Completed" if position % 2 else "Product Viewed"
    event = NewEvent("web", str(position), name, event_time, event_time, "web")
    return Theirs(StoredEvent(position, event), event_time, None)


@given(TIMES, TIMES, st.integers(1, 7))
def test_pages_have_every_event_once_newest_first(at_first: list[int], later: list[int], limit: int) -> None:
    events = [theirs(place, at) for place, at in enumerate(at_first)]
    coming = [theirs(1_000 + place, at) for place, at in enumerate(later)]
    shown: list[Theirs] = []
    before: Place | None = None
    while True:
        page = page_of(events, before, limit)
        shown += page.events
        if page.before is None:
            break
        # Through a client, and while events arrive.
        before = decode(encode(page.before))
        events += coming[:2]
        del coming[:2]
    places = [place_of(event) for event in shown]
    assert places == sorted(set(places), reverse=True)
    assert set(range(len(at_first))) <= {place.position for place in places}


@given(TIMES)
def test_names_choose(times: list[int]) -> None:
    events = [theirs(place, at) for place, at in enumerate(times)]
    page = page_of(events, None, 200, {"Order Completed"})
    assert {event.stored.position for event in page.events} == {place for place in range(len(times)) if place % 2}


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62))
def test_a_place_comes_back(event_time: int, position: int) -> None:
    assert decode(encode(Place(event_time, position))) == Place(event_time, position)


@given(st.text(max_size=60))
def test_any_other_text_is_no_place(text: str) -> None:
    found = decode(text)
    assert found is None or encode(found).rstrip("=") == text.rstrip("=")


def test_instants() -> None:
    assert read_instant("1970-01-01T00:00:00.000001Z") == 1
    assert read_instant("1970-01-01T07:00:00+07:00") == 0
    assert read_instant("1969-12-31T23:59:59Z") == -1_000_000
    for text in ("", "now", "1970-01-01", "1970-01-01T00:00:00", "1772600400000000"):
        with pytest.raises(ValueError, match=r"text that is none|a time without zone"):
            read_instant(text)


def test_what_was_served_is_found_by_its_request(tmp_path: Path) -> None:
    reads = feature_list("churn", "3", "abc", ("a", "b"))
    vectors = [
        ServedVector(f"r{n // 2}", f"c{n}", n, n, n, 0, reads.id, [n, None], n / 10, 0.0) for n in range(20)
    ]  # fmt: skip
    torn = encode_line(vectors[-1])[:-9]
    (tmp_path / "2026-01-01-x.jsonl").write_bytes(b"".join(map(encode_line, [reads, *vectors[:10]])))
    (tmp_path / "2026-01-02-x.jsonl").write_bytes(b"".join(map(encode_line, [reads, *vectors[10:-1]])) + torn)
    (tmp_path / "2026-01-03-x.jsonl").write_bytes(b"")
    assert [one.vector for one in find_served(tmp_path, "r3")] == vectors[6:8]
    assert [one.vector for one in find_served(tmp_path, "r3", ["c7"])] == vectors[7:8]
    assert find_served(tmp_path, "r3")[0].reads == reads
    # The last line was never written to its end.
    assert [one.vector for one in find_served(tmp_path, "r9")] == vectors[18:19]
    for request in ("r", "r33", "c7", "", '"'):
        assert find_served(tmp_path, request) == []
    assert find_served(tmp_path / "nothing", "r3") == []
