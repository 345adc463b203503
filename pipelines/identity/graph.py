"""Which identifiers are of one customer: a pure function of the set of links, whatever order they came in.

Links are accepted one after another in a fixed order (`_order`), each unless it would break a rule, as in
Kruskal's algorithm. So a link that came late counts as if it had come first, and taking a link back gives
what there would be without it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pipelines.settings.identity import USER_ID, IdentityConfig

Method = Literal["manual", "alias", "match", "event"]
_STRENGTH: Mapping[str, int] = {"manual": 0, "alias": 1, "match": 2, "event": 3}
# A value that came together with more others than this links nobody: a kiosk, a tracker's constant.
MOST_LINKS = 1_000
FROM_THE_BEGINNING = -(2**62)


class Node(NamedTuple):
    """One identifier: its kind, and its normalised value (of a personal kind, the value's keyed hash)."""

    kind: str
    key: str


class Link(NamedTuple):
    """Two identifiers that are of one customer, for a reason. `at` is when that was known, microseconds UTC.

    Of an alias, `left` is the former identifier and `right` the one that goes on.
    """

    left: Node
    right: Node
    method: Method
    at: int


class Refused(NamedTuple):
    """A link that is not followed, and the rule that says so."""

    link: Link
    reason: Literal["shared", "limit", "apart"]


@dataclass(frozen=True, slots=True)
class Profile:
    """The identifiers of one customer, each with the instant since when it is known to be theirs.

    `named` is false where all of them are anonymous: that is nobody yet.
    """

    customer_id: str
    joined_at: Mapping[Node, int]
    named: bool


@dataclass(frozen=True, slots=True)
class Resolution:
    """The customers. `shared` identifiers are in no profile: their events need another identifier."""

    profiles: tuple[Profile, ...]
    shared: frozenset[Node]
    refused: tuple[Refused, ...]


def resolve(
    nodes: Iterable[Node],
    links: Iterable[Link],
    apart: Iterable[tuple[Node, Node]],
    config: IdentityConfig,
    known_shared: frozenset[Node] = frozenset(),
) -> Resolution:
    """The customers among `nodes`, whose links are all in `links`; pairs in `apart` never end in one profile.

    `known_shared` are shared identifiers at the edge, not all of whose links are given.
    """
    ordered = sorted(links, key=lambda link: _order(link, config))
    groups = _Groups(nodes, ordered, apart, config)
    shared = known_shared | frozenset(_shared(ordered, groups.of_user_ids(ordered), config))
    accepted: list[Link] = []
    refused: list[Refused] = []
    for link in ordered:
        reason = groups.join(link, shared)
        if reason is None:
            accepted.append(link)
        else:
            refused.append(Refused(link, reason))
    former = {link.left for link in accepted if link.method == "alias"}
    beside = _neighbours(accepted)
    owning = ([node for node in members if node not in shared] for members in groups.members())
    profiles = tuple(_profile(members, beside, former, config) for members in owning if members)
    return Resolution(profiles, shared, tuple(refused))


def _order(link: Link, config: IdentityConfig) -> tuple[int, int, int, Node, Node]:
    weaker = max(config.rank(link.left.kind), config.rank(link.right.kind))
    return _STRENGTH[link.method], weaker, link.at, link.left, link.right


def _shared(links: Sequence[Link], owner: Mapping[Node, Node], config: IdentityConfig) -> Iterator[Node]:
    """Identifiers that came together with too many user ids, or with too many identifiers at all."""
    owners: dict[Node, set[Node]] = defaultdict(set)
    degree: dict[Node, set[Node]] = defaultdict(set)
    for link in links:
        if link.method == "event":
            for one, other in ((link.left, link.right), (link.right, link.left)):
                degree[one].add(other)
                if other.kind == USER_ID:
                    owners[one].add(owner.get(other, other))
    for node, others in degree.items():
        if node.kind == USER_ID:
            continue
        if len(others) > MOST_LINKS or len(owners[node]) > config.kinds[node.kind].shared_beyond:
            yield node


@dataclass(slots=True)
class _Groups:
    """Union-find over identifiers, with what each rule needs to know of a group."""

    config: IdentityConfig
    parent: dict[Node, Node]
    size: dict[Node, int]
    counts: dict[Node, dict[str, int]]
    apart: dict[Node, set[Node]]
    bound: dict[Node, list[Node]] = field(default_factory=dict)

    def __init__(
        self,
        nodes: Iterable[Node],
        links: Sequence[Link],
        apart: Iterable[tuple[Node, Node]],
        config: IdentityConfig,
    ) -> None:
        self.config = config
        everyone = dict.fromkeys(nodes)
        for link in links:
            everyone[link.left] = everyone[link.right] = None
        self.apart = defaultdict(set)
        for one, other in apart:
            self.apart[one].add(other)
            self.apart[other].add(one)
        self._begin(everyone)

    def _begin(self, everyone: Iterable[Node]) -> None:
        self.parent = {node: node for node in everyone}
        self.size = dict.fromkeys(self.parent, 1)
        self.counts = {node: {node.kind: 1} for node in self.parent}
        self.bound = {node: [node] for node in self.parent if node in self.apart}

    def of_user_ids(self, links: Sequence[Link]) -> dict[Node, Node]:
        """User ids that are of one customer beyond doubt (alias, match, manual), each with one that stands for all."""
        for link in links:
            if link.method != "event" and link.left.kind == link.right.kind == USER_ID:
                self.join(link, frozenset())
        found = {node: self.find(node) for node in self.parent if node.kind == USER_ID}
        self._begin(self.parent)
        return found

    def find(self, node: Node) -> Node:
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, link: Link, shared: frozenset[Node]) -> Literal["shared", "limit", "apart"] | None:
        """Put both ends into one group; the reason why not, where a rule forbids it."""
        if link.left in shared or link.right in shared:
            return "shared"
        one, other = self.find(link.left), self.find(link.right)
        if one == other:
            return None
        if self._kept_apart(one, other) or self._kept_apart(other, one):
            return "apart"
        if link.method == "event" and self._too_many(one, other):
            return "limit"
        self._unite(one, other)
        return None

    def _kept_apart(self, one: Node, other: Node) -> bool:
        return any(
            self.find(foe) == other
            for node in self.bound.get(one, ())
            for foe in self.apart[node]
            if foe in self.parent
        )

    def _too_many(self, one: Node, other: Node) -> bool:
        here, there = self.counts[one], self.counts[other]
        kinds = self.config.kinds
        return any(kind in there and n + there[kind] > kinds[kind].most_per_customer for kind, n in here.items())

    def _unite(self, one: Node, other: Node) -> None:
        if self.size[one] < self.size[other]:
            one, other = other, one
        self.parent[other] = one
        self.size[one] += self.size.pop(other)
        counts = self.counts[one]
        for kind, n in self.counts.pop(other).items():
            counts[kind] = counts.get(kind, 0) + n
        if other in self.bound:
            self.bound.setdefault(one, []).extend(self.bound.pop(other))

    def members(self) -> list[list[Node]]:
        found: dict[Node, list[Node]] = defaultdict(list)
        for node in self.parent:
            found[self.find(node)].append(node)
        return list(found.values())


def _neighbours(links: Iterable[Link]) -> dict[Node, list[tuple[int, Node]]]:
    found: dict[Node, list[tuple[int, Node]]] = defaultdict(list)
    for link in links:
        found[link.left].append((link.at, link.right))
        found[link.right].append((link.at, link.left))
    return found


def _profile(
    members: list[Node],
    beside: Mapping[Node, list[tuple[int, Node]]],
    former: set[Node],
    config: IdentityConfig,
) -> Profile:
    head = min(members, key=lambda node: (config.rank(node.kind), node in former, node.key))
    customer_id = head.key if head.kind == USER_ID else f"~{head.kind}:{head.key}"
    named = any(not config.kinds[node.kind].anonymous for node in members)
    if len(members) == 1:
        return Profile(customer_id, {head: FROM_THE_BEGINNING}, named)
    since = _joined_at(head, beside)
    return Profile(customer_id, {node: since[node] for node in members}, named)


def _joined_at(head: Node, beside: Mapping[Node, list[tuple[int, Node]]]) -> dict[Node, int]:
    """For each identifier the instant from which a chain of links that were known led to `head` (a minimax path)."""
    joined: dict[Node, int] = {}
    waiting: list[tuple[int, Node]] = [(FROM_THE_BEGINNING, head)]
    while waiting:
        since, node = heapq.heappop(waiting)
        if node in joined:
            continue
        joined[node] = since
        for at, other in beside.get(node, ()):
            if other not in joined:
                heapq.heappush(waiting, (max(since, at), other))
    return joined
