"""The door to the disk: what live calls say of persons passes it sealed, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from feature_repo.configuration import ConfigurationError
from pipelines.console import UserError
from pipelines.events.journal import NewEvent
from pipelines.privacy import (
    ENVIRONMENT_KEY,
    WHOLE_ROW,
    EncryptionKeyMissing,
    Sealer,
    carries_personal,
    change_personal,
    seal_event,
    sealer_of,
)
from pipelines.settings import Workspace
from pipelines.settings.identity import IdentityConfig
from serving.api.errors import ApiError, ErrorDetail


class SealingDoor:
    """Seals for one workspace; the key is looked for when it is first needed, and again until there is one."""

    def __init__(self, workspace: Workspace, identity: IdentityConfig) -> None:
        self._workspace = workspace
        self._identity = identity
        self._sealer: Sealer | None = None

    def sealed(self, events: Sequence[NewEvent]) -> list[NewEvent]:
        """The events as they may be kept. Raises ApiError (503): one names a person, and no key fits."""
        if not any(carries_personal(event, self._identity) for event in events):
            return list(events)
        sealer = self._needed()
        return [seal_event(event, self._identity, sealer) for event in events]

    def sealed_text(self, raw: bytes) -> str:
        """A refused item as it may be kept: sealed whole, since nobody can tell what it holds.

        Without a key only JSON in which nothing names a person is kept, as it is.

        Raises:
            ApiError: 503, there is no key, and it may name a person.
        """
        # As text: it may be no JSON that others can read.
        text = raw.decode("utf-8", "backslashreplace")
        try:
            return self._found().seal(WHOLE_ROW, text)
        except EncryptionKeyMissing:
            if self._names_nobody(raw):
                return text
            raise _key_missing() from None

    def _names_nobody(self, raw: bytes) -> bool:
        met: list[str] = []

        def note(name: str, value: Any) -> Any:
            met.append(name)
            return value

        try:
            change_personal(msgspec.json.decode(raw), "", self._identity, note)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return not met

    def _needed(self) -> Sealer:
        try:
            return self._found()
        except EncryptionKeyMissing:
            raise _key_missing() from None

    def _found(self) -> Sealer:
        """Raises EncryptionKeyMissing, and ApiError (503): there is a key, and it does not fit."""
        if self._sealer is None:
            try:
                self._sealer = sealer_of(self._workspace)
            except EncryptionKeyMissing:
                raise
            except (UserError, ConfigurationError) as error:
                problem = error.problems[0]
                detail = ErrorDetail(field=problem.field, expected=problem.expected, got=problem.got, hint=problem.hint)
                raise ApiError(
                    503, "encryption_key_refused", "personal data cannot be encrypted now", [detail]
                ) from None
        return self._sealer


def _key_missing() -> ApiError:
    hint = "whoever runs the service sets it: `twin keys encryption` prints a fresh one; then send the same call again"
    detail = ErrorDetail(
        field=ENVIRONMENT_KEY, expected="a key to encrypt personal data with", got="nothing", hint=hint
    )
    message = "the call names a person, and there is no key to encrypt that with; nothing of it was kept"
    return ApiError(503, "encryption_key_missing", message, [detail])
