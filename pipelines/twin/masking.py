"""What names a person, as who looks may see it: in plain, or masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.events.journal import NewEvent
from pipelines.identity.shown import masked
from pipelines.privacy import EncryptionKeyMissing, Sealer, change_personal, is_sealed
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID, IdentityConfig

HIDDEN = "••••"
# How much is told of what is neither text nor known by a kind.
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Mask:
    """`plain` says whether personal values are shown as they are.

    All of it raises UserError where a value was sealed with another key, and EncryptionKeyMissing where there is none
    and values are to be shown in plain.
    """

    config: IdentityConfig
    open_sealer: Callable[[], Sealer]
    plain: bool

    def properties(self, event: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Properties of the event so called, at any depth."""
        shown: dict[str, Any] = change_personal(dict(properties), event, self.config, self._shown)
        return shown

    def identifiers(self, event: NewEvent) -> dict[str, Any]:
        """The identifiers that an event came with, by kind."""
        found = {USER_ID: event.user_id, ANONYMOUS_ID: event.anonymous_id, **event.identifiers}
        return {kind: self.identifier(kind, value) for kind, value in found.items() if value is not None}

    def identifier(self, kind: str, value: Any) -> Any:
        """One identifier as an event holds it."""
        return self._shown(kind, value) if kind in self.config.personal_kinds else value

    def _shown(self, name: str, value: Any) -> Any:
        try:
            opened = self.open_sealer().open_json(name, value) if is_sealed(value) else value
        except EncryptionKeyMissing:
            if self.plain:
                raise
            return HIDDEN
        if self.plain:
            return opened
        return masked(opened, self._normaliser(name)) if isinstance(opened, str) else HIDDEN

    def _normaliser(self, name: str) -> str:
        kinds = self.config.kinds
        return next((kind.normalise for key, kind in kinds.items() if name == key or name in kind.traits), _TEXT)
