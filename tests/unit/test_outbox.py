"""The outbox: where triggers stand, looked at by a model of it, and its file, by several at once and by a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from feature_repo.configuration import ConfigurationError
from pipelines.cli import app
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.expressions import compile_expression
from pipelines.identity.store import open_identity
from pipelines.outbox import Edge, Filter, Message, Outbox, Seen, message_id, step
from pipelines.outbox.edges import fired
from pipelines.outbox.store import Sweep
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.webhooks import WebhooksProfile, check_webhooks
from pipelines.twin.rules import Rule, Trigger

NOW = 1_772_600_400_000_000


def a_trigger(after: int, again_after: int) -> Trigger:
    rule = Rule("t", "", compile_expression("x > 0", {"x": "number"}, "boolean"), ("x",))
    return Trigger(rule, after, again_after, (), False, (), frozenset({"Order Completed"}))


@st.composite
def looks(draw: st.DrawFn) -> list[Seen]:
    """Looks, one after the other; events may be late, but none is of the future."""
    found, now = [], 0
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.integers(0, 5))
        at = st.none() | st.integers(0, now)
        found.append(Seen(now, draw(st.booleans()), draw(at), draw(at)))
    return found


@given(seen=looks(), after=st.integers(0, 6), again_after=st.integers(0, 12))
def test_a_trigger_fires_once_an_episode_and_only_while_it_holds(
    seen: list[Seen], after: int, again_after: int
) -> None:
    trigger, edge = a_trigger(after, again_after), Edge("c", "t")
    firings: list[tuple[int, int]] = []
    unsent = False
    for look in seen:
        edge, act = step(trigger, edge, look)
        # Only what fired can be moot; nothing that fired outlives its rule.
        assert act != "cancel" or unsent
        unsent = unsent and act != "cancel"
        assert not unsent or (look.holds and not look.is_moot)
        # A second look at the same thing sees nothing new.
        assert step(trigger, edge, look) == (edge, "nothing")
        if edge.state == "waiting" and edge.due_at is not None and edge.due_at <= look.now:
            assert look.holds
            assert not look.is_moot
            firings.append((edge.began_at, look.now))
            edge, unsent = fired(edge, look.now), True
    episodes = [episode for episode, _ in firings]
    assert episodes == sorted(set(episodes))
    assert all(later - first >= again_after for (_, first), (_, later) in pairwise(firings))


@given(events=st.lists(st.tuples(st.booleans(), st.integers(0, 50)), min_size=1, max_size=6), data=st.data())
def test_where_it_stands_does_not_depend_on_the_order_that_events_came_in(
    events: list[tuple[bool, int]], data: st.DataObject
) -> None:
    trigger = a_trigger(100, 0)

    def stands(order: list[tuple[bool, int]]) -> tuple[Any, ...]:
        edge, known = Edge("c", "t"), list[tuple[bool, int]]()
        for event in order:
            known.append(event)
            added = [at for is_evidence, at in known if is_evidence]
            cancelled = [at for is_evidence, at in known if not is_evidence]
            look = Seen(60, bool(added), max(added, default=None), max(cancelled, default=None))
            edge, _ = step(trigger, edge, look)
        return edge.state, edge.due_at

    assert stands(events) == stands(data.draw(st.permutations(events)))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "outbox.db")) as made:
        yield made


def a_message(number: int, **parts: Any) -> Message:
    name = message_id("c1", f"t{number}", NOW, "crm")
    return replace(Message(name, "c1", f"t{number}", NOW, "crm", NOW + number, '{"n":1}'), **parts)


def put(outbox: Outbox, number: int, **parts: Any) -> Message:
    edge = Edge("c1", f"t{number}", "waiting", NOW, NOW)
    outbox.save([(edge, None)])
    message = a_message(number, **parts)
    assert outbox.fire(edge, NOW, [message])
    return message


def test_an_episode_fires_once_however_many_try(outbox: Outbox, tmp_path: Path) -> None:
    edge = Edge("c1", "t1", "waiting", NOW, NOW)
    outbox.save([(edge, None)])
    others = [Outbox(tmp_path / "outbox.db") for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda one: one.fire(edge, NOW, [a_message(1)]), [outbox, *others]))
    for other in others:
        other.close()
    assert sum(won) == 1
    assert [message.id for message in outbox.messages(Filter(), None)] == [a_message(1).id]
    assert outbox.edges(["c1"]) == [fired(edge, NOW)]


def test_a_message_is_leased_to_one_at_a_time(outbox: Outbox, tmp_path: Path) -> None:
    for number in range(12):
        put(outbox, number)
    others = [Outbox(tmp_path / "outbox.db") for _ in range(4)]

    def take(one: Outbox) -> list[str]:
        taken = []
        while (message := one.lease("crm", NOW, NOW + 10, str(id(one)))) is not None:
            taken.append(message.id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [name for names in pool.map(take, others) for name in names]
    for other in others:
        other.close()
    assert len(taken) == len(set(taken)) == 12
    assert outbox.lease("crm", NOW + 9, NOW + 20, "x") is None
    assert outbox.lease("crm", NOW + 10, NOW + 20, "x") is not None


def test_messages_are_listed_page_by_page(outbox: Outbox) -> None:
    for number in range(7):
        put(outbox, number, state="kept" if number % 2 else "waiting")
    seen: list[str] = []
    after = None
    while page := outbox.messages(Filter(customer_ids=["c1"]), 3, after):
        seen += [message.trigger for message in page]
        after = page[-1].id
    assert seen == [f"t{number}" for number in range(7)]
    assert [message.trigger for message in outbox.messages(Filter(state="kept"), None)] == ["t1", "t3", "t5"]
    assert [message.trigger for message in outbox.messages(Filter(trigger="t4"), None)] == ["t4"]


def test_positions_never_go_back_and_sweeps_are_remembered(outbox: Outbox) -> None:
    outbox.note_consulted("j", 5)
    outbox.note_consulted("j", 3)
    assert (outbox.consulted("j"), outbox.consulted("other")) == (5, None)
    assert outbox.watched(["a"], 10)["a"].is_swept is False
    outbox.note_sweep(Sweep(20, "c5"))
    assert outbox.sweep() == Sweep(20, "c5")
    outbox.watched(["late"], 30)
    outbox.swept(20, ["a", "late"])
    # What was not watched yet when the sweep began has not been looked at by all of it.
    assert {name: one.is_swept for name, one in outbox.watched(["a", "late"], 40).items()} == {"a": True, "late": False}
    assert outbox.sweep() == Sweep(20, None)


def test_what_is_done_is_pruned_and_what_is_not_stays(outbox: Outbox) -> None:
    for number, state in enumerate(("sent", "cancelled", "kept", "failed", "waiting")):
        put(outbox, number, state=state)
    assert outbox.prune(NOW) == 0
    assert outbox.prune(NOW + 100) == 3
    assert [message.state for message in outbox.messages(Filter(), None)] == ["failed", "waiting"]


def test_what_failed_and_is_moot_is_not_sent_again_with_all_that_failed(outbox: Outbox) -> None:
    failed = put(outbox, 1, state="failed")
    (edge,) = outbox.edges([failed.customer_id])
    outbox.save([(replace(edge, state="cancelled"), "an event made it moot")])
    assert outbox.retry(NOW) == 0
    assert [message.state for message in outbox.messages(Filter(), None)] == ["cancelled"]


def test_what_is_tried_again_waits_for_its_time(outbox: Outbox) -> None:
    failed = put(outbox, 1, state="failed", not_before=NOW + 100)
    assert outbox.retry(NOW + 1) == 1
    assert outbox.lease("crm", NOW + 99, NOW + 200, "a") is None
    assert outbox.lease("crm", NOW + 100, NOW + 200, "a") == outbox.find(failed.id)


def test_erasure_leaves_nothing_in_the_file(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, 1, payload='{"secret":"of c1"}')
    outbox.save([(Edge("c2", "t1", "waiting", NOW, NOW), None)])
    outbox.note_sweep(Sweep(NOW, "c1-of-the-sweep"))
    assert outbox.erase(["c1", "c1-of-the-sweep"]) == 1
    assert outbox.sweep() == Sweep(NOW, "")
    assert outbox.edges(["c1"]) == []
    assert [edge.customer_id for edge in outbox.edges(["c1", "c2"])] == ["c2"]
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"of c1" not in left
    assert b"c1-of-the-sweep" not in left


def test_a_person_looks_cancels_and_tries_again(throwaway: Settings, outbox_of: Outbox) -> None:
    waiting, failed, kept = put(outbox_of, 1), put(outbox_of, 2, state="failed"), put(outbox_of, 3, state="kept")

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["--workspace", throwaway.workspace.name, "outbox", *words])

    listed = json.loads(run("list", "--json").stdout)
    assert [item["id"] for item in listed] == [waiting.id, failed.id, kept.id]
    assert [item["id"] for item in json.loads(run("list", "--state", "failed", "--json").stdout)] == [failed.id]
    assert "t2" in run("list", "--trigger", "t2").stdout
    assert json.loads(run("show", waiting.id, "--json").stdout)["payload"] == {"n": 1}
    assert run("cancel", waiting.id).exit_code == 0
    assert run("cancel", waiting.id).exception is not None
    assert json.loads(run("retry", "--failed", "--json").stdout) == {"waiting": 1}
    assert run("retry", waiting.id).exit_code == 0
    assert {message.state for message in outbox_of.messages(Filter(), None)} == {"waiting", "kept"}
    said = {"purpose": "profiling", "granted": False}
    denial = NewEvent("web", "no", "Consent Updated", NOW, NOW, "web", user_id="c1", properties=said)
    open_identity(throwaway).apply([StoredEvent(1, denial)])
    assert {item["payload"] for item in json.loads(run("list", "--json").stdout)} == {None}
    assert json.loads(run("show", waiting.id, "--json").stdout)["payload"] is None
    for wrong in (("retry",), ("retry", kept.id), ("show", "msg_0"), ("list", "--state", "lost")):
        assert run(*wrong).exception is not None


@pytest.fixture
def throwaway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose workspace stands in a folder of the test, for commands too."""
    monkeypatch.setattr(Workspace, "root", property(lambda self: tmp_path / self.name))
    return load_settings("test-outbox", catalogue="apart")


@pytest.fixture
def outbox_of(throwaway: Settings) -> Iterator[Outbox]:
    with closing(Outbox(throwaway.workspace.outbox)) as made:
        yield made


def test_an_endpoint_of_a_trigger_that_is_not_there_is_a_mistake() -> None:
    endpoint = {"name": "crm", "url": "https://crm.example/", "triggers": ["cart_left", "cart_lost"]}
    webhooks = WebhooksProfile.model_validate({"endpoints": [endpoint]})
    with pytest.raises(ConfigurationError, match="'cart_lost'") as caught:
        check_webhooks(webhooks, ["cart_left", "hesitating"])
    assert "some of: cart_left, hesitating" in str(caught.value)
