"""Whatever JSON comes, an event is stored that everything later can read, or the item is refused. Nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.access import AccessKey, Keys
from pipelines.events.compaction import _batch
from pipelines.events.journal import StoredEvent, decode, encode
from pipelines.events.plan_check import iso
from pipelines.settings import Workspace, load_settings
from pipelines.settings.profile import IngestionProfile
from serving import ingestion
from serving.api.ingest.routes import PATHS
from serving.api.ingest.segment import KINDS, Refused, Rules, Sender, Taken
from serving.ingestion import Ingestion
from tests.nasty import RAW, Unreadable, read
from tests.unit.serving_client import check_shape, serve
from tests.unit.serving_parts import Shop, make_shop
from tests.unit.test_ingestion_api import Live

SETTINGS = load_settings()
RULES = Rules(SETTINGS.tracking_plan, IngestionProfile(), SETTINGS.identity)
NOW = 1_782_907_200_000_000
SENDER = Sender(AccessKey("id", "web", "ingest", "web", "THB", 0), NOW)

# JSON as text, for much of what breaks readers cannot be written by one: twice the same key, NaN, half a character.
SCALARS = st.sampled_from(list(RAW.values())) | st.one_of(
    st.integers().map(lambda number: str(number).encode()),
    st.floats().map(lambda number: json.dumps(number).encode()),
    st.text(max_size=20).map(lambda text: json.dumps(text).encode("utf-8", "surrogatepass")),
    st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.datetimes().map(lambda moment: f'"{moment.isoformat()}Z"'.encode()),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: str(number).encode()),
)
NAMES = st.one_of(
    st.sampled_from(["userId", "anonymousId", "messageId", "event", "type", "timestamp", "sentAt", "context"]),
    st.sampled_from(["originalTimestamp", "traits", "properties", "groupId", "previousId", "name", "category"]),
    st.sampled_from(["writeKey", "channel", "integrations", "batch", "order_id", "total", "currency", "$call"]),
    st.text(max_size=6),
)
EVENTS = st.sampled_from([f'"{name}"'.encode() for name in SETTINGS.tracking_plan.events])


def _listed(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _keyed(items: list[tuple[str, bytes]]) -> bytes:
    named = (json.dumps(name).encode("utf-8", "surrogatepass") + b":" + value for name, value in items)
    return b"{" + b",".join(named) + b"}"


def _objects(values: st.SearchStrategy[bytes], most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.tuples(NAMES, values), max_size=most).map(_keyed)


VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(_listed) | _objects(inner, 4), max_leaves=8
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=3)


@st.composite
def items(draw: st.DrawFn) -> bytes:
    """A call that could be a good one, with some of its fields replaced."""
    good = {
        "userId": b'"c"',
        "messageId": b'"m"',
        "type": f'"{draw(st.sampled_from(KINDS))}"'.encode(),
        "event": draw(EVENTS),
        "groupId": b'"g"',
        "previousId": b'"p"',
        "properties": _keyed(
            [("order_id", b'"o"'), ("total", b"12.5"), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=2))]
        ),
    }
    return _keyed([*good.items(), *draw(FIELDS)])


def check_readable(taken: Taken) -> None:
    """The event outlives the journal, the lake's columns and a rendering of its times."""
    event = taken.event
    (encoded,) = encode([event])
    row = (1, *encoded.values)
    back = decode(row)
    assert back == StoredEvent(1, replace(event, properties=back.event.properties))
    assert encode([back.event]) == [encoded]
    table = pa.Table.from_batches([_batch([row])])
    assert table.num_rows == 1
    table.validate(full=True)
    assert event.event_time <= event.available_at == NOW
    assert iso(event.event_time)
    assert event.user_id or event.anonymous_id
    assert json.loads(encoded.values[-1])["$call"]["type"] in KINDS


@settings(max_examples=400, deadline=None)
@given(items() | VALUES, st.sampled_from([*KINDS, None]), st.none() | SCALARS, st.none() | VALUES)
@example(b'{"userId":"c","event":"e","timestamp":"0001-01-02T00:00:00Z"}', "track", b'"8999-01-01T00:00:00Z"', None)
def test_an_item_becomes_a_readable_event_or_is_refused(
    raw: bytes, kind: str | None, sent_at: bytes | None, context: bytes | None
) -> None:
    try:
        shared = [None if part is None else read(part) for part in (sent_at, context)]
    except Unreadable:
        shared = [None, None]
    try:
        taken = RULES.take(raw, replace(SENDER, sent_at=shared[0], context=shared[1]), kind)
    except Refused as refused:
        told = refused.problems
    else:
        check_readable(taken)
        return
    assert told
    assert all(problem.field and problem.expected and problem.got for problem in told)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


@pytest.fixture
def live(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    workspace = Workspace("live", checkout=tmp_path)
    made = Ingestion(replace(shop.settings, workspace=workspace))
    monkeypatch.setattr(ingestion, "connect", lambda: made)
    _, key = Keys(workspace.access).create(
        "web", ["ingest"], "web", "THB", purposes=["profiling", "training"], legal_basis="contract"
    )
    with serve(shop) as client:
        yield Live(client, workspace, shop.settings.features.hash, key, made)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(PATHS),
    items()
    | VALUES
    | st.lists(items() | VALUES, max_size=4).map(lambda found: _keyed([("batch", _listed(found))]))
    | st.tuples(items(), NAMES, VALUES).map(lambda part: _keyed([("batch", _listed([part[0]])), (part[1], part[2])])),
)
def test_a_call_stores_what_it_says_it_has_accepted(live: Live, path: str, body: bytes) -> None:
    before, refused_before = len(_stored(live)), len(live.quarantined())
    answer = live.client.post(path, content=body, auth=(live.key, ""))
    after, refused = len(_stored(live)) - before, len(live.quarantined()) - refused_before
    if answer.status_code == 200:
        assert (after, refused) == (answer.json()["accepted"], answer.json()["rejected_events"])
        return
    details = check_shape(answer, 400, answer.json()["error"]["code"])
    assert details
    assert (after, refused) == (0, answer.json()["error"]["code"] == "invalid_event")


def _stored(live: Live) -> list[StoredEvent]:
    return live.events() if live.workspace.journal.exists() else []
