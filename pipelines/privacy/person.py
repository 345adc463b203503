"""One customer as a data subject: everything they are known by, and whether something mentions them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.identity.graph import Node
from pipelines.identity.normalise import normalise
from pipelines.identity.store import IdentityStore
from pipelines.identity.vocabulary import Form
from pipelines.privacy.sealing import EncryptionKeyMissing, Sealer, is_sealed, sealer_of
from pipelines.settings import Settings
from pipelines.settings.identity import USER_ID, IdentityConfig

# Shorter texts stand in files by chance, so they are looked for as whole values only.
_DISTINCT, _DISTINCT_WITH_LETTERS = 8, 6
_WORDS = re.compile(r"[^\s,;|\"'<>{}\[\]()=]+")
_WRITTEN_IN_WAYS = ("lower", "digits", "email", "phone")


class UnknownCustomer(UserError):
    """Nothing is known of whom an identifier names, or it names nobody."""


@dataclass(frozen=True)
class Person:
    """`forms` are identifiers as events hold them, `nodes` as the identity store keys them.

    `plain` has the value behind each form; `customer_ids` all ids that ever stood for the customer.
    """

    customer_id: str
    forms: tuple[Form, ...]
    nodes: tuple[Node, ...]
    plain: tuple[tuple[str, str], ...]
    texts: frozenset[str]

    @cached_property
    def customer_ids(self) -> tuple[str, ...]:
        ids = [self.customer_id]
        ids += [node.key if node.kind == USER_ID else f"~{node.kind}:{node.key}" for node in self.nodes]
        ids += [form.stored for form in self.forms if form.kind == USER_ID]
        return tuple(dict.fromkeys(ids))

    @cached_property
    def distinct_texts(self) -> tuple[str, ...]:
        """Those of `texts` that no file holds by chance, the longest first."""
        return tuple(sorted(filter(_is_distinct, self.texts), key=len, reverse=True))


class Mentions:
    """Finds a person in values and texts, however their identifiers are written."""

    def __init__(self, person: Person, config: IdentityConfig) -> None:
        self._config = config
        self._texts = person.texts
        words = "|".join(map(re.escape, person.distinct_texts))
        self._inside = re.compile(rf"(?<![0-9A-Za-z])(?:{words})(?![0-9A-Za-z])") if words else None
        self._written: dict[str, set[str]] = {}
        for kind, value in person.plain:
            written = normalise(config.kinds[kind], value, ()) if kind in config.kinds else None
            if written is not None and config.kinds[kind].normalise in _WRITTEN_IN_WAYS:
                self._written.setdefault(kind, set()).add(written)

    def is_value(self, value: str) -> bool:
        """Whether this text, as a whole, is an identifier of theirs."""
        if value in self._texts or value.strip() in self._texts:
            return True
        return any(normalise(self._config.kinds[kind], value, ()) in known for kind, known in self._written.items())

    def in_text(self, text: str) -> bool:
        """Whether a text holds one among other words."""
        if self._inside is not None and self._inside.search(text):
            return True
        return any(self.is_value(word) for word in _WORDS.findall(text))

    def in_value(self, value: str) -> bool:
        """Whether a value is one, or holds one that is no accident."""
        return self.is_value(value) or (self._inside is not None and self._inside.search(value) is not None)

    def in_json(self, value: Any) -> bool:
        return any(self.in_value(text) for text in leaves(value))

    def without(self, value: Any) -> Any:
        """A JSON value in which their identifiers are null, and blotted out inside longer texts."""
        if isinstance(value, dict):
            return {key: self.without(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.without(item) for item in value]
        if not isinstance(value, str) or not self.in_value(value):
            return value
        return None if self.is_value(value) else self.blotted(value)

    def blotted(self, text: str) -> str:
        """A text with identifiers that are no accident blotted out."""
        return text if self._inside is None else self._inside.sub("[erased]", text)


def leaves(value: Any) -> Iterator[str]:
    """Every text of a JSON value; numbers as they are written."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def find_person(settings: Settings, identity: IdentityStore, kind: str | None, value: str) -> Person:
    """Whom an identifier names: any user id or customer id without `kind`, else a value of that kind.

    Raises:
        UnknownCustomer: nobody, or several.
        UserError: there is no such kind.
    """
    if kind is not None and kind not in settings.identity.kinds:
        known = ", ".join(settings.identity.kinds)
        raise UserError("there is no such identifier", [Problem("kind", f"one of: {known}", repr(kind))])
    customer = _customer(identity, kind, value)
    members = identity.members(customer)
    rows = identity.rows("SELECT kind, key FROM identity_nodes WHERE customer_id = ?", (customer,))
    return made_person(settings, customer, [member.form for member in members], [Node(*row) for row in rows])


def _customer(identity: IdentityStore, kind: str | None, value: str) -> str:
    if kind is None:
        if identity.rows("SELECT 1 FROM identity_nodes WHERE customer_id = ? LIMIT 1", (value,)):
            return value
        kind = USER_ID
    node = identity.vocabulary.node(identity.vocabulary.written_otherwise(Form(kind, value)))
    rows = (
        identity.rows("SELECT customer_id, shared FROM identity_nodes WHERE kind = ? AND key = ?", node) if node else []
    )
    if rows and rows[0][0] is not None:
        return str(rows[0][0])
    got = "one that several customers share" if rows and rows[0][1] else "one that is nobody's" if rows else "another"
    hint = "check it, letter by letter; --kind says what it is, such as email"
    raise UnknownCustomer("there is no such customer", [Problem(kind, "an identifier of a customer", got, hint)])


def made_person(settings: Settings, customer_id: str, forms: Iterable[Form], nodes: Iterable[Node]) -> Person:
    """A person from what is kept of them. Raises EncryptionKeyMissing and UserError where it cannot be opened."""
    forms, nodes = tuple(dict.fromkeys(forms)), tuple(dict.fromkeys(nodes))
    personal = [form for form in forms if settings.identity.kinds[form.kind].personal]
    sealer = sealer_of(settings.workspace) if personal else _sealer_if_any(settings)
    plain = tuple(dict.fromkeys((form.kind, opened(form, sealer)) for form in forms))
    texts = {form.stored for form in forms} | {value for _, value in plain} | {customer_id}
    for kind, value in plain:
        written = normalise(settings.identity.kinds[kind], value, ())
        texts |= {written} if written else set()
        if settings.identity.kinds[kind].personal and sealer is not None:
            texts |= _sealed(settings.identity, sealer, {value, written or value})
    texts |= {node.key for node in nodes}
    return Person(customer_id, forms, nodes, plain, frozenset(text for text in texts if text))


def opened(form: Form, sealer: Sealer | None) -> str:
    """The value behind a form."""
    return sealer.open(form.kind, form.stored) if sealer is not None and is_sealed(form.stored) else form.stored


def _sealed(config: IdentityConfig, sealer: Sealer, values: set[str]) -> set[str]:
    """Values sealed as any personal property may hold them: an e-mail address may stand under another name."""
    return {sealer.seal(name, value) for name in config.personal_names for value in values}


def _sealer_if_any(settings: Settings) -> Sealer | None:
    try:
        return sealer_of(settings.workspace)
    except EncryptionKeyMissing:
        return None


def _is_distinct(text: str) -> bool:
    return len(text) >= (_DISTINCT if text.isdecimal() else _DISTINCT_WITH_LETTERS)


def parsed(text: str) -> Any:
    """The JSON value of a text; None where it is no JSON object or list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None
