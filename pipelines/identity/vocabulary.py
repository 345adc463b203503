"""From an identifier as an event holds it to the node that stands for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from pipelines.events.journal import NewEvent
from pipelines.identity.graph import Node
from pipelines.identity.normalise import normalise
from pipelines.privacy import Sealer, is_sealed
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID, IdentityConfig


class Form(NamedTuple):
    """An identifier as it stands in events: its kind, and the value as it came (of a personal kind, its token)."""

    kind: str
    stored: str


class Vocabulary:
    """Knows which forms are the same identifier. Thread-safe."""

    def __init__(self, config: IdentityConfig, open_sealer: Callable[[], Sealer]) -> None:
        """`open_sealer` is called when the first personal identifier is met; what it raises, `node` raises."""
        self.config = config
        self._open_sealer = open_sealer

    @cached_property
    def _sealer(self) -> Sealer:
        return self._open_sealer()

    def node(self, form: Form) -> Node | None:
        """The node of a form; None where it names nobody: unusable, or blocked.

        Raises:
            EncryptionKeyMissing: it is personal, and there is no key.
            UserError: it was sealed with another key.
        """
        kind = self.config.kinds[form.kind]
        if not kind.personal:
            written = normalise(kind, form.stored, self.config.blocked)
            return None if written is None else Node(form.kind, written)
        plain = self._sealer.open(form.kind, form.stored) if is_sealed(form.stored) else form.stored
        written = normalise(kind, plain, self.config.blocked)
        return None if written is None else Node(form.kind, self._sealer.lookup(form.kind, written))

    def forms(self, event: NewEvent) -> Iterator[Form]:
        """The identifiers of an event, the strongest kind first; what is no text is none."""
        for kind in self.config.kinds:
            if kind == USER_ID:
                value = event.user_id
            elif kind == ANONYMOUS_ID:
                value = event.anonymous_id
            else:
                value = event.identifiers.get(kind)
            if isinstance(value, str) and value:
                yield Form(kind, value)

    def written_otherwise(self, form: Form) -> Form:
        """`form` as events hold it, of a value that somebody typed: personal kinds as their token."""
        return Form(form.kind, self._sealer.seal(form.kind, form.stored)) if self._personal(form) else form

    def plain(self, form: Form) -> str:
        """The value as it came. Raises EncryptionKeyMissing, and UserError where it was sealed with another key."""
        return self._sealer.open(form.kind, form.stored) if is_sealed(form.stored) else form.stored

    def _personal(self, form: Form) -> bool:
        return self.config.kinds[form.kind].personal
