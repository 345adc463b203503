"""Whoever is erased from the map, and whatever was linked with them: everybody else keeps their events."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.events.lake_erase import erase_from_lake
from pipelines.identity.graph import Node
from pipelines.identity.update import Update
from pipelines.identity.vocabulary import Form
from tests.deep import examples
from tests.unit.test_identity_states import Place, told
from tests.unit.test_identity_store import SEALER, decisions, event, happenings


def forget(place: Place, customer: str) -> None:
    nodes = [Node(*row) for row in place.identity.rows(
        "SELECT kind, key FROM identity_nodes WHERE customer_id = ?", (customer,))]  # fmt: skip
    owned = place.log.raw(customer)
    place.journal.erase(owned)
    erase_from_lake(place.lake, [stored.position for stored in owned])
    ids = [customer, *(node.key for node in nodes if node.kind == "user_id")]
    place.storage.erase(ids)
    place.identity.forget(nodes, ids, [(stored.event.source, stored.event.event_id) for stored in owned])


def resolve_all_anew(place: Place) -> None:
    """What a late alias does around it, done to everything."""
    with place.identity._connections.transaction() as connection:
        update = Update(connection, place.identity.vocabulary)
        update.touched.nodes = {number for (number,) in connection.execute("SELECT id FROM identity_nodes")}
        update.touched.reopened = True
        update.finish()


def without(found: dict[str, Any], gone: str) -> dict[str, Any]:
    return {who: item for who, item in found.items() if who != gone}


def data(states: dict[str, tuple[bytes, int]]) -> dict[str, bytes]:
    return {who: content for who, (content, _) in states.items()}


@settings(max_examples=examples(60), deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(happenings(), decisions, st.randoms(use_true_random=False))
def test_everybody_else_keeps_their_events(events: Any, decided: Any, random: Any) -> None:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for stored in events:
            place.send([told(stored, random)])
            if random.random() < 0.2:
                place.compact()
        for decision in decided:
            place.states.update(place.identity.decide(decision))
        before, anew, sql = data(place.live()), data(place.rebuilt()), place.in_sql()
        if before:
            gone = random.choice(sorted(before))
            forget(place, gone)
            assert data(place.live()) == without(before, gone)
            assert data(place.rebuilt()) == without(anew, gone)
            assert place.in_sql() == without(sql, gone)
            resolve_all_anew(place)
            assert data(place.rebuilt()) == without(anew, gone)
        place.close()


def test_a_shared_identifier_stays_shared_and_nothing_leads_to_who_is_gone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    card = SEALER.seal("card", "77")
    place.send([event(1, user_id="A", identifiers={"cookie": "kiosk", "card": card}).event])
    place.send([event(2, user_id="B", identifiers={"cookie": "kiosk"}).event])
    place.send([event(3, identifiers={"cookie": "kiosk"}).event])
    assert place.identity._owner_of(Form("cookie", "kiosk")) is None
    forget(place, "A")
    resolve_all_anew(place)
    assert place.identity._owner_of(Form("cookie", "kiosk")) is None
    assert [stored.event.event_id for stored in place.log.raw("B")] == ["e2"]
    content = (tmp_path / "identity.db").read_bytes()
    assert place.identity.rows("SELECT count(*) FROM identity_links WHERE event_id = 'e1'") == [(0,)]
    for text in (card, SEALER.lookup("card", "77")):
        assert text.encode() not in content
    place.send([event(9, user_id="A").event])
    assert [stored.event.event_id for stored in place.log.raw("A")] == ["e9"]
    place.close()


def test_an_event_comes_back_under_the_same_key_as_a_duplicate(tmp_path: Path) -> None:
    place = Place(tmp_path)
    bought = event(1, user_id="A").event
    place.send([bought])
    place.compact()
    forget(place, "A")
    assert place.journal.append([bought])[0].duplicate
    assert place.store.read().num_rows == 0
    place.close()
