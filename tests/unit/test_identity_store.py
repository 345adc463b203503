"""The store against the pure function over all facts, whatever the order and the grouping of the events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.configuration import parse
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.decisions import Decision
from pipelines.identity.facts import facts_of
from pipelines.identity.graph import Link, Node, Resolution, resolve
from pipelines.identity.store import IdentityStore
from pipelines.identity.vocabulary import Form
from pipelines.privacy import Sealer
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.identity import IdentityConfig

CONFIG = parse(
    yaml.safe_load("""
kinds:
  user_id: {most_per_customer: 2}
  card: {normalise: digits, shared_beyond: 2, most_per_customer: 2, personal: true}
  cookie: {normalise: lower, shared_beyond: 1, most_per_customer: 2, anonymous: true}
  anonymous_id: {shared_beyond: 1, most_per_customer: 3, anonymous: true}
blocked: ["null"]
matching: {link: 0.9, review: 0.5}
"""),
    IdentityConfig,
)
CONSENT = parse(
    yaml.safe_load("""
purposes: {profiling: p, training: t}
uses: {features: profiling, predictions: profiling, training: training}
categories: {Analytics: [profiling, training]}
"""),
    ConsentConfig,
)
SEALER = Sealer(b"k" * 32)


def open_store(folder: Path) -> IdentityStore:
    return IdentityStore(folder / "identity.db", CONFIG, CONSENT, lambda: SEALER)


def event(position: int, name: str = "Page Viewed", at: int | None = None, **parts: object) -> StoredEvent:
    return StoredEvent(
        position,
        NewEvent("web", f"e{position}", name, at or position, at or position, "web", **parts),  # type: ignore[arg-type]
    )


users = st.sampled_from(["A", "B", "C", "D", " A", "null"])
cards = st.sampled_from(["1", "1 ", "2", "3", "null"])
cookies = st.sampled_from(["x", "X", "y", "z"])
anonymous = st.sampled_from(["p", "q", "A"])


@st.composite
def happenings(draw: st.DrawFn) -> list[StoredEvent]:
    found = []
    for position in range(1, draw(st.integers(1, 14)) + 1):
        kind = draw(st.sampled_from(["plain", "plain", "plain", "alias", "consent"]))
        identifiers = {}
        if draw(st.booleans()):
            identifiers["card"] = SEALER.seal("card", draw(cards))
        if draw(st.booleans()):
            identifiers["cookie"] = draw(cookies)
        user = draw(st.none() | users)
        properties: dict[str, object] = {}
        name = "Page Viewed"
        if kind == "alias":
            name, properties, user = "Customer Aliased", {"previous_id": draw(users | anonymous)}, user or "A"
        if kind == "consent":
            name, properties = "Consent Updated", {"purpose": "profiling", "granted": draw(st.booleans())}
        found.append(
            event(
                position,
                name,
                at=draw(st.integers(1, 5)),
                user_id=user,
                anonymous_id=draw(st.none() | anonymous),
                identifiers=identifiers,
                properties=properties,
            )
        )
    return found


decisions = st.lists(
    st.builds(
        Decision,
        st.sampled_from(["link", "apart", "withdrawn"]),
        st.tuples(st.just("user_id"), st.sampled_from(["A", "B"])),
        st.one_of(
            st.tuples(st.just("user_id"), st.sampled_from(["C", "D"])),
            st.tuples(st.just("cookie"), st.sampled_from(["x", "y"])),
        ),
        st.just("manual"),
        st.just("me"),
        st.integers(1, 5),
    ),
    max_size=4,
)


@dataclass
class Oracle:
    """Everything resolved at once, from all facts."""

    events: Sequence[StoredEvent]
    decided: Sequence[Decision]

    def resolution(self, store: IdentityStore) -> Resolution:
        node = store.vocabulary.node
        facts = facts_of(self.events, store.vocabulary, CONSENT)
        links = {}
        for pair, why in facts.pairs.items():
            left, right = node(pair.left), node(pair.right)
            if left and right and left != right:
                key = (left, right, pair.method)
                links[key] = min(links.get(key, why.at), why.at)
        newest = {}
        for decision in self.decided:
            ends = (Node(*decision.left), Node(*decision.right))
            newest[ends] = decision
        found = [Link(*key, at) for key, at in links.items()]
        found += [Link(*ends, "manual", d.at) for ends, d in newest.items() if d.verdict == "link"]
        apart = [ends for ends, d in newest.items() if d.verdict == "apart"]
        nodes = [n for n in map(node, facts.forms) if n]
        nodes += [Node(*end) for d in self.decided for end in (d.left, d.right)]
        return resolve(nodes, found, apart, CONFIG)


@settings(max_examples=300, deadline=None)
@given(happenings(), decisions, st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_store_says_what_all_facts_at_once_say(events, decided, random, size) -> None:
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        shuffled = [*events, *random.choices(events, k=3)]
        random.shuffle(shuffled)
        groups = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
        # Decisions keep their order among each other, and come at any time between events.
        places = sorted(random.randrange(len(groups) + 1) for _ in decided)
        for number, group in enumerate([*groups, []]):
            for place, decision in zip(places, decided, strict=True):
                if place == number:
                    store.decide(decision)
            store.apply(group)
        resolution = Oracle(events, decided).resolution(store)
        expected = {}
        for profile in resolution.profiles:
            for node, joined in profile.joined_at.items():
                expected[node] = (profile.customer_id, joined) if profile.named else None
        for stored in events:
            for form in store.vocabulary.forms(stored.event):
                node = store.vocabulary.node(form)
                owner = store._owner_of(Form(*form))
                got = None if owner is None else (owner.customer_id, owner.joined_at)
                assert got == (expected.get(node) if node else None), form
        customers = {p.customer_id for p in resolution.profiles if p.named}
        for customer in customers:
            said = [
                (c.at, not c.granted)
                for c in facts_of(events, store.vocabulary, CONSENT).consents
                if (expected.get(store.vocabulary.node(c.form)) or (None,))[0] == customer
            ]
            permission = store.permission(customer, "profiling")
            assert (permission and (permission.at, not permission.granted)) == (max(said) if said else None)
