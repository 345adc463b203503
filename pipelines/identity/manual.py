"""What people decide about two identifiers by hand: that they are of one customer, or of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.identity.decisions import Decision
from pipelines.identity.store import IdentityStore
from pipelines.identity.vocabulary import Form
from pipelines.settings.identity import USER_ID

Verdict = Literal["link", "apart"]


class UnknownIdentifier(UserError):
    """No event has this identifier, so nothing can be said or decided of it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A decision as somebody asks for it; values as people write them."""

    verdict: Verdict
    left: Form
    right: Form
    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of it: the customers of both ends now, and everybody whose events are others."""

    left: str | None
    right: str | None
    changed: tuple[str, ...]
    version: int

    @property
    def together(self) -> bool:
        return self.left is not None and self.left == self.right


def check(identity: IdentityStore, wish: Wish) -> None:
    """Raises UserError: a value is unusable or known to nobody, or both are the same identifier."""
    nodes = [identity.node_of(form) for form in (wish.left, wish.right)]
    for side, form, node in zip(("left", "right"), (wish.left, wish.right), nodes, strict=True):
        if not identity.knows(form):
            hint = "check it, letter by letter, and its kind"
            problem = Problem(side, f"{_article(node.kind)} {node.kind} that came with an event", "another", hint)
            raise UnknownIdentifier("nobody has this identifier", [problem])
    if nodes[0] == nodes[1]:
        raise UserError("these are one identifier", [Problem("right", "another identifier than left", "the same")])


def decide(identity: IdentityStore, wish: Wish, at: int) -> Decided:
    """Keep the decision, which counts from `at` on (microseconds UTC). Raises UserError as `check`."""
    check(identity, wish)
    evidence = {"note": wish.note} if wish.note else {}
    decision = Decision(wish.verdict, wish.left, wish.right, "manual", wish.by, at, evidence=evidence)
    changed = identity.decide(decision)
    left, right = identity.customer_with(wish.left), identity.customer_with(wish.right)
    return Decided(left, right, tuple(sorted(changed)), identity.head()[0])


def parse(text: str, kinds: list[str]) -> Form:
    """`kind:value`; a value alone, or one whose first part is no kind, is a user id."""
    kind, colon, value = text.partition(":")
    return Form(kind, value) if colon and kind in kinds else Form(USER_ID, text)


def _article(word: str) -> str:
    return "an" if word[0] in "aeio" else "a"
