"""Who a customer is, for people: identifiers, the links between them with their evidence, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feature_repo.configuration import Problem
from pipelines.events.plan_check import iso
from pipelines.identity.graph import FROM_THE_BEGINNING, Node
from pipelines.identity.manual import UnknownIdentifier, parse
from pipelines.identity.store import IdentityStore, LinkShown, Member
from pipelines.identity.vocabulary import Form
from pipelines.settings.identity import USER_ID

_HIDDEN = "•"


@dataclass(frozen=True, slots=True)
class Shown:
    """One customer. Instants are ISO 8601 in UTC; `since` is None where it was so from the beginning.

    Personal values are masked unless they were asked for in plain.
    """

    customer_id: str
    known: bool
    identifiers: list[dict[str, Any]]
    links: list[dict[str, Any]]
    version: int


def show(identity: IdentityStore, customer_id: str, plain: bool) -> Shown:
    """The customer with this id now. Raises EncryptionKeyMissing: personal values, and no key to read them."""
    members = identity.members(customer_id)
    names = {identity.node_of(member.form): member.form for member in members}
    shown = [_identifier(identity, member, plain) for member in members]
    links = [_link(identity, link, names, plain) for link in identity.links(customer_id)]
    known = any(member.node for member in members)
    unique = {(item["kind"], item["value"]): item for item in shown}
    ordered = sorted(unique.values(), key=lambda item: (identity.config.rank(item["kind"]), item["value"]))
    return Shown(customer_id, known, ordered, links, identity.head()[0])


def named(identity: IdentityStore, text: str) -> str:
    """The customer that `text` names: `kind:value`, a user id or the id of a customer.

    Raises:
        UnknownIdentifier: there is none.
        UserError: it can name nobody.
    """
    if text.startswith("~") and any(member.form != (USER_ID, text) for member in identity.members(text)):
        return text
    customer = identity.customer_with(parse(text, list(identity.config.kinds)))
    if customer is None:
        problem = Problem("customer", "one who has events", "another", "check it, letter by letter, and its kind")
        raise UnknownIdentifier("nobody has this identifier", [problem])
    return customer


def masked(value: str, normaliser: str) -> str:
    """A personal value of which only as much is left as tells two of one person apart."""
    if normaliser == "email" and "@" in value:
        name, _, host = value.partition("@")
        return f"{name[:1]}{_HIDDEN * 3}@{host[:1]}{_HIDDEN * 3}"
    return _HIDDEN * 4 + value[-2:] if len(value) > 4 else _HIDDEN * 4


def _identifier(identity: IdentityStore, member: Member, plain: bool) -> dict[str, Any]:
    since = None if member.joined_at == FROM_THE_BEGINNING else iso(member.joined_at)
    return {"kind": member.form.kind, "value": _value(identity, member.form, plain), "since": since}


def _link(identity: IdentityStore, link: LinkShown, names: Mapping[Node, Form], plain: bool) -> dict[str, Any]:
    return {
        "left": _end(identity, link.left, names, plain),
        "right": _end(identity, link.right, names, plain),
        "method": link.method,
        "at": iso(link.at),
        "evidence": link.evidence,
    }


def _end(identity: IdentityStore, node: Node, names: Mapping[Node, Form], plain: bool) -> dict[str, str]:
    form = names.get(node, Form(*node))
    return {"kind": node.kind, "value": _value(identity, form, plain)}


def _value(identity: IdentityStore, form: Form, plain: bool) -> str:
    kind = identity.config.kinds[form.kind]
    if not kind.personal:
        return form.stored
    text = identity.vocabulary.plain(form)
    return text if plain else masked(text, kind.normalise)
