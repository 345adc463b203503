"""Who an id is and whether they said no, asked before anything is read of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, Workspace, load_settings
from serving.api.errors import ApiError
from serving.consent_gate import Asked, ConsentGate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings(), workspace=Workspace("test", checkout=tmp_path))


def happening(position: int, event: str, user_id: str, properties: dict[str, object]) -> StoredEvent:
    new = NewEvent("web", f"e{position}", event, position, position, "web", user_id, None, {}, None, None, properties)
    return StoredEvent(position, new)


def consent(position: int, user_id: str, purpose: str, granted: bool) -> StoredEvent:
    return happening(position, "Consent Updated", user_id, {"purpose": purpose, "granted": granted})


def test_without_a_map_everybody_is_who_they_are_and_no_file_is_made(settings: Settings) -> None:
    assert ConsentGate(settings).ask("c1") == Asked("c1", None)
    assert not settings.workspace.identity.exists()


def test_a_gate_that_runs_sees_the_map_that_is_made_later_and_every_word_at_once(settings: Settings) -> None:
    gate = ConsentGate(settings)
    assert gate.ask("c2") == Asked("c2", None)
    identity = open_identity(settings)
    identity.apply([happening(1, "Customer Aliased", "c1", {"previous_id": "c2"})])
    assert gate.ask("c2") == Asked("c1", None)
    for position, granted in ((2, False), (3, True), (4, False)):
        identity.apply([consent(position, "c1", "profiling", granted)])
        assert gate.ask("c2") == Asked("c1", None if granted else "profiling")
    with pytest.raises(ApiError) as refused:
        gate.permitted("c2", "customer_id")
    assert (refused.value.status, refused.value.code) == (403, "consent_denied")


def test_what_predictions_and_features_do_not_need_may_be_denied(settings: Settings) -> None:
    open_identity(settings).apply([consent(1, "c1", "marketing", False), consent(2, "c1", "training", False)])
    assert ConsentGate(settings).ask("c1").denied is None


@pytest.mark.parametrize("use", ["predictions", "features"])
def test_each_use_of_a_prediction_is_denied_by_its_own_purpose(settings: Settings, use: str) -> None:
    uses = settings.consent.uses.model_copy(update={use: "personalisation"})
    settings = replace(settings, consent=settings.consent.model_copy(update={"uses": uses}))
    open_identity(settings).apply([consent(1, "c1", "personalisation", False)])
    assert ConsentGate(settings).ask("c1").denied == "personalisation"


def test_where_consent_cannot_be_read_nothing_is_served(settings: Settings) -> None:
    settings.workspace.identity.parent.mkdir(parents=True)
    settings.workspace.identity.write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(ApiError) as refused:
        ConsentGate(settings).permitted("c1", "customer_id")
    assert (refused.value.status, refused.value.code) == (503, "identity_unavailable")
